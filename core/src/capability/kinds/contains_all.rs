//! `contains_all`: a list that has at least these items. `tags=contains_all:reviewed,public`.
//!
//! The list must be of strings or of integers; a mixed or nested list has no view and is refused.

use super::values::{Values, list_family, of_list};
use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::scalar::Scalar;
use crate::capability::tree::{Tree, test};
use crate::capability::words::{list, list_from_json};

/// A list of strings, or of integers, that has all of these items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainsAll(Values);

impl ContainsAll {
    /// Returns the constraint for these items. None, too many, or mixed types are refused.
    pub fn new(values: impl IntoIterator<Item = Scalar>) -> Result<Self, BadScope> {
        let values = Values::new(Self::NAME, values)?;
        match list_family(&values) {
            Some(_) => Ok(ContainsAll(values)),
            None => Err(BadScope(format!("{} takes strings or integers", Self::NAME))),
        }
    }
}

impl Kind for ContainsAll {
    const NAME: &'static str = "contains_all";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        let Some(Json::List(items)) = value else { return false };
        list_family(&self.0).is_some_and(|family| family.has(value))
            && self.0.iter().all(|wanted| items.iter().any(|item| wanted.is(item)))
    }

    fn family(&self) -> Option<Family> {
        list_family(&self.0)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        vec![test(view, Binary::Contains, self.0.set())]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(family, [Tree::Test(Binary::Contains, set)]) => {
                of_list(Self::NAME, *family, set).map(ContainsAll)
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(self.0.to_text())
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        ContainsAll::new(list(Self::NAME, text)?)
    }

    fn to_json(&self) -> Json {
        self.0.to_json()
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        ContainsAll::new(list_from_json(Self::NAME, value)?)
    }
}

impl<M: Member + Holds<ContainsAll>> Compare<M> for ContainsAll {
    fn covers(&self, child: &M) -> bool {
        child.as_kind::<ContainsAll>().is_some_and(|child| self.0.is_within(&child.0))
    }
}
