//! `any`: every value, and absence. The top of the lattice.
//!
//! `limit=any` allows the argument to have any value, or to be absent. It renders only as the name
//! in the list of known names.

use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Kind, Shown};
use crate::capability::words::no_value;

/// Every value, and absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Any;

impl Kind for Any {
    const NAME: &'static str = "any";

    fn admits(&self, _: Option<&Json>) -> bool {
        true
    }

    fn family(&self) -> Option<Family> {
        None // `render` writes it as its name alone.
    }

    fn tests<'a>(&'a self, _: &Term<'a>) -> Vec<Expression<'a>> {
        Vec::new()
    }

    fn lift(_: &Shown<'_>) -> Option<Self> {
        None // `render` writes and reads it: it is about names, not values.
    }

    fn to_text(&self) -> Option<String> {
        None
    }

    fn from_text(value: Option<&str>) -> Result<Self, BadScope> {
        no_value(Self::NAME, value).map(|()| Any)
    }

    fn to_json(&self) -> Json {
        Json::Bool(true)
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        match value {
            Json::Bool(true) => Ok(Any),
            _ => Err(BadScope(r#"any is written {"any": true}"#.into())),
        }
    }
}

impl<M> Compare<M> for Any {
    fn covers(&self, _: &M) -> bool {
        true
    }
}
