//! `not_one_of`: a value of the type of these, and none of these. `region=not_one_of:eu,us`.
//!
//! A negation first requires its positive fact: a value of another type is refused, and absence.

use super::values::Values;
use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Op, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::scalar::Scalar;
use crate::capability::tree::{Tree, within};
use crate::capability::words::{list, list_from_json};

/// A string, integer or decimal, of the type of these values, that is none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOneOf(Values);

impl NotOneOf {
    /// Returns the constraint for these values. None, too many, or mixed types are refused.
    pub fn new(values: impl IntoIterator<Item = Scalar>) -> Result<Self, BadScope> {
        Values::new(Self::NAME, values).map(NotOneOf)
    }

    /// Returns whether the other constraint admits none of these values.
    fn excluded_by(&self, other: &impl Member) -> bool {
        !self.0.iter().any(|scalar| other.admits(Some(&scalar.to_json())))
    }
}

impl Kind for NotOneOf {
    const NAME: &'static str = "not_one_of";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        let of_the_type = self.0.family().is_some_and(|family| family.has(value));
        of_the_type && value.is_some_and(|value| !self.0.contains(value))
    }

    fn family(&self) -> Option<Family> {
        self.0.family()
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        let mut test = within(view, self.0.set());
        test.push(Op::Negate);
        vec![test]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(family, [Tree::Not(inner)]) => match inner.as_ref() {
                Tree::In(set) => Values::from_set(Self::NAME, *family, set).map(NotOneOf),
                _ => None,
            },
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(self.0.to_text())
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        NotOneOf::new(list(Self::NAME, text)?)
    }

    fn to_json(&self) -> Json {
        self.0.to_json()
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        NotOneOf::new(list_from_json(Self::NAME, value)?)
    }
}

impl<M: Member + Holds<NotOneOf>> Compare<M> for NotOneOf {
    fn covers(&self, child: &M) -> bool {
        if let Some(child) = child.as_kind::<NotOneOf>() {
            return child.0.family() == self.0.family() && self.0.is_within(&child.0);
        }
        let typed = child.family().zip(self.0.family());
        typed.is_some_and(|(child, own)| child.implies(own)) && self.excluded_by(child)
    }
}
