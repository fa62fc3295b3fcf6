//! `absent`: the argument must not be present. A closed capability implies it for every other name;
//! it is written out only in an open capability.
//!
//! `path=under:/data force=absent *=any`. Renders as `arg_names($names),
//! !$names.contains("force")`: a negation that first requires its positive fact, which every call
//! has exactly once.

use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Kind, Shown};
use crate::capability::words::no_value;

/// Absence only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent;

impl Kind for Absent {
    const NAME: &'static str = "absent";

    fn admits(&self, value: Option<&Json>) -> bool {
        value.is_none()
    }

    fn values(&self) -> Option<Vec<Option<Json>>> {
        Some(vec![None])
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
        no_value(Self::NAME, value).map(|()| Absent)
    }

    fn to_json(&self) -> Json {
        Json::Bool(true)
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        match value {
            Json::Bool(true) => Ok(Absent),
            _ => Err(BadScope(r#"absent is written {"absent": true}"#.into())),
        }
    }
}

impl<M> Compare<M> for Absent {
    fn covers(&self, _: &M) -> bool {
        false
    }
}
