//! `absent`: the argument must not be there. What a closed capability says of every other name;
//! written out only where a capability is open.
//!
//! `path=under:/data force=absent *=any`. Renders as `arg_names($names), !$names.contains("force")`:
//! a negation that first requires its positive fact, which every call has exactly once.

use super::kind::{Constraint, Kind, no_value};
use super::{BadScope, render};
use crate::datalog::{Binary, Op, Query, Term};
use crate::json::Json;

/// Absence alone.
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

    fn covers(&self, _: &Constraint) -> bool {
        false
    }

    fn render(&self, argument: &render::Argument<'_>, query: &mut Query) {
        query.expressions.push(vec![
            Op::Value(Term::Variable(render::NAMES.into())),
            Op::Value(argument.name()),
            Op::Binary(Binary::Contains),
            Op::Negate,
        ]);
    }

    fn lift(cursor: &mut render::Cursor<'_>) -> Option<(String, Self)> {
        match cursor.expression()? {
            [
                Op::Value(Term::Variable(_)),
                Op::Value(Term::String(name)),
                Op::Binary(Binary::Contains),
                Op::Negate,
            ] => Some((name.clone(), Absent)),
            _ => None,
        }
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
