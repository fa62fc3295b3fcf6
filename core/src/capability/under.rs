//! `under`: a path that is the base or lies below it. `path=under:/data`.
//!
//! Only a path that is absolute and safe in exactly one reading is admitted (`call::safe_path`):
//! no `..`, no `%`, no `\`, no empty segment. What has no such reading is refused, whatever it
//! would resolve to.

use super::kind::{Constraint, Kind, value};
use super::scalar::{bare_or_quoted, string_from_json, string_from_text, text};
use super::{BadScope, render};
use crate::call::safe_path;
use crate::datalog::{Binary, Op, Predicate, Query, Term};
use crate::json::Json;

/// A safe absolute path that is the base or lies below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Under(String);

impl Under {
    /// Below this base, itself a safe absolute path without a trailing slash.
    pub fn new(base: &str) -> Result<Self, BadScope> {
        match safe_path(base) {
            Some(base) => Ok(Under(base.to_owned())),
            None => Err(BadScope(format!(
                "{base:?} is no base for under: an absolute path without a trailing slash, and without empty, . or .. segments, % or \\"
            ))),
        }
    }

    /// The base.
    pub fn base(&self) -> &str {
        &self.0
    }

    fn below(&self) -> String {
        if self.0 == "/" { "/".to_owned() } else { format!("{}/", self.0) }
    }

    fn contains(&self, path: &str) -> bool {
        path == self.0 || path.starts_with(&self.below())
    }
}

impl Kind for Under {
    const NAME: &'static str = "under";

    fn check(&self) -> Result<(), BadScope> {
        text(&self.0).map(|_| ())
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        let Some(Json::Str(text)) = value else { return false };
        safe_path(text).is_some_and(|path| self.contains(path))
    }

    fn covers(&self, child: &Constraint) -> bool {
        matches!(child, Constraint::Under(child) if self.contains(&child.0))
    }

    fn render(&self, argument: &render::Argument<'_>, query: &mut Query) {
        query.body.push(Predicate::new("arg_path", [argument.name(), argument.variable()]));
        let variable = || Op::Value(argument.variable());
        query.expressions.push(vec![
            variable(),
            Op::Value(Term::String(self.0.clone())),
            Op::Binary(Binary::Equal),
            variable(),
            Op::Value(Term::String(self.below())),
            Op::Binary(Binary::Prefix),
            Op::Binary(Binary::Or),
        ]);
    }

    fn lift(cursor: &mut render::Cursor<'_>) -> Option<(String, Self)> {
        let ("arg_path", name, _) = cursor.argument()? else { return None };
        match cursor.expression()? {
            [Op::Value(Term::Variable(_)), Op::Value(Term::String(base)), ..] => {
                Some((name.to_owned(), Under::new(base).ok()?))
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(bare_or_quoted(&self.0))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        Under::new(&string_from_text(value(Self::NAME, text)?)?)
    }

    fn to_json(&self) -> Json {
        Json::Str(self.0.clone())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        Under::new(&string_from_json(Self::NAME, value)?)
    }
}
