//! `any`: every value, and absence. The top of the lattice.
//!
//! `limit=any` lets the argument be whatever it is, or not be there. It renders as nothing but the
//! name in the list of known names.

use super::kind::{Constraint, Kind, no_value};
use super::{BadScope, render};
use crate::datalog::Query;
use crate::json::Json;

/// Every value, and absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Any;

impl Kind for Any {
    const NAME: &'static str = "any";

    fn admits(&self, _: Option<&Json>) -> bool {
        true
    }

    fn covers(&self, _: &Constraint) -> bool {
        true
    }

    fn render(&self, _: &render::Argument<'_>, _: &mut Query) {}

    fn lift(_: &mut render::Cursor<'_>) -> Option<(String, Self)> {
        None
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
