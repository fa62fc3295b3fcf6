//! `prefix`: a string that begins so. `name=prefix:q3-`. For paths use `under`, which knows `..`.

use super::kind::{Constraint, Kind, value};
use super::scalar::{bare_or_quoted, string_from_json, string_from_text, text};
use super::{BadScope, render};
use crate::datalog::{Binary, Op, Predicate, Query, Term};
use crate::json::Json;

/// A string that begins so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(pub String);

impl Kind for Prefix {
    const NAME: &'static str = "prefix";

    fn check(&self) -> Result<(), BadScope> {
        text(&self.0).map(|_| ())
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        matches!(value, Some(Json::Str(text)) if text.starts_with(&self.0))
    }

    fn covers(&self, child: &Constraint) -> bool {
        match child {
            Constraint::Prefix(child) => child.0.starts_with(&self.0),
            // All that `under` admits begins with its base, since only normal paths are admitted.
            Constraint::Under(child) => child.base().starts_with(&self.0),
            _ => false,
        }
    }

    fn render(&self, argument: &render::Argument<'_>, query: &mut Query) {
        query.body.push(Predicate::new("arg_str", [argument.name(), argument.variable()]));
        query.expressions.push(vec![
            Op::Value(argument.variable()),
            Op::Value(Term::String(self.0.clone())),
            Op::Binary(Binary::Prefix),
        ]);
    }

    fn lift(cursor: &mut render::Cursor<'_>) -> Option<(String, Self)> {
        let ("arg_str", name, _) = cursor.argument()? else { return None };
        match cursor.expression()? {
            [
                Op::Value(Term::Variable(_)),
                Op::Value(Term::String(text)),
                Op::Binary(Binary::Prefix),
            ] => Some((name.to_owned(), Prefix(text.clone()))),
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(bare_or_quoted(&self.0))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        string_from_text(value(Self::NAME, text)?).map(Prefix)
    }

    fn to_json(&self) -> Json {
        Json::Str(self.0.clone())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        string_from_json(Self::NAME, value).map(Prefix)
    }
}
