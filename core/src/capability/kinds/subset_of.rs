//! `subset_of`: a list that has only these items. `tags=subset_of:draft,public`.
//!
//! The empty list is a subset. A mixed or nested list has no view and is refused.

use super::values::{Values, list_family, of_list};
use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::scalar::Scalar;
use crate::capability::tree::{Tree, within};
use crate::capability::words::{list, list_from_json};

/// A list of strings, or of integers, that has only these items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubsetOf(Values);

impl SubsetOf {
    /// Returns the constraint for these items. None, too many, or mixed types are refused.
    pub fn new(values: impl IntoIterator<Item = Scalar>) -> Result<Self, BadScope> {
        let values = Values::new(Self::NAME, values)?;
        match list_family(&values) {
            Some(_) => Ok(SubsetOf(values)),
            None => Err(BadScope(format!("{} takes strings or integers", Self::NAME))),
        }
    }
}

impl Kind for SubsetOf {
    const NAME: &'static str = "subset_of";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        let Some(Json::List(items)) = value else { return false };
        list_family(&self.0).is_some_and(|family| family.has(value))
            && items.iter().all(|item| self.0.contains(item))
    }

    fn family(&self) -> Option<Family> {
        list_family(&self.0)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        vec![within(view, self.0.set())]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(family, [Tree::In(set)]) => {
                of_list(Self::NAME, *family, set).map(SubsetOf)
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(self.0.to_text())
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        SubsetOf::new(list(Self::NAME, text)?)
    }

    fn to_json(&self) -> Json {
        self.0.to_json()
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        SubsetOf::new(list_from_json(Self::NAME, value)?)
    }
}

impl<M: Member + Holds<SubsetOf>> Compare<M> for SubsetOf {
    fn covers(&self, child: &M) -> bool {
        child.as_kind::<SubsetOf>().is_some_and(|child| child.0.is_within(&self.0))
    }
}
