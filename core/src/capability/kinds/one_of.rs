//! `one_of`: one of some values, all of one type. `dept=one_of:sales,hr`, `n=one_of:[1,2]`.

use super::values::Values;
use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Kind, Shown};
use crate::capability::scalar::Scalar;
use crate::capability::tree::{Tree, within};
use crate::capability::words::{list, list_from_json};

/// One of 1 to `limits::ONE_OF_MAX` strings, integers or decimals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOf(Values);

impl OneOf {
    /// Returns the constraint for these values. None, too many, or mixed types are refused.
    pub fn new(values: impl IntoIterator<Item = Scalar>) -> Result<Self, BadScope> {
        Values::new(Self::NAME, values).map(OneOf)
    }
}

impl Kind for OneOf {
    const NAME: &'static str = "one_of";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        value.is_some_and(|value| self.0.contains(value))
    }

    fn values(&self) -> Option<Vec<Option<Json>>> {
        Some(self.0.iter().map(|scalar| Some(scalar.to_json())).collect())
    }

    fn family(&self) -> Option<Family> {
        self.0.family()
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        vec![within(view, self.0.set())]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(family, [Tree::In(set)]) => {
                Values::from_set(Self::NAME, *family, set).map(OneOf)
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(self.0.to_text())
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        OneOf::new(list(Self::NAME, text)?)
    }

    fn to_json(&self) -> Json {
        self.0.to_json()
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        OneOf::new(list_from_json(Self::NAME, value)?)
    }
}

impl<M> Compare<M> for OneOf {
    fn covers(&self, _: &M) -> bool {
        false
    }
}
