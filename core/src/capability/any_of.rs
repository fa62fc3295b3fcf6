//! `any_of`: one of some constraints at least, all on the same view of the argument.
//! `path=any_of:[{"under":"/data"},{"under":"/tmp"}]`.
//!
//! Constraints on several views (a string or an integer) are two capabilities.

use super::BadScope;
use super::family::Family;
use super::kind::{Constraint, Kind, Shown, json, value};
use super::tree::{Tree, join};
use crate::datalog::{Binary, Expression, Term};
use crate::json::Json;

/// Values that some part allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyOf(Vec<Constraint>);

impl AnyOf {
    /// Of two constraints or more, none of them of this very kind.
    pub fn new(parts: Vec<Constraint>) -> Result<Self, BadScope> {
        let inside = parts.iter().any(|part| matches!(part, Constraint::AnyOf(_)));
        if parts.len() < 2 || inside {
            return Err(BadScope(
                "any_of takes two constraints or more, none of them any_of".into(),
            ));
        }
        if !parts.iter().all(Constraint::needs_a_value) {
            return Err(BadScope("any_of takes constraints on a value, not any or absent".into()));
        }
        let first = parts.first().and_then(Constraint::family);
        if first.is_none() || parts.iter().any(|part| part.family() != first) {
            return Err(BadScope(
                "any_of takes constraints on one view: strings, or integers, or paths…; others are capabilities of their own".into(),
            ));
        }
        Ok(AnyOf(parts))
    }

    pub(super) fn parts(&self) -> &[Constraint] {
        &self.0
    }
}

impl Kind for AnyOf {
    const NAME: &'static str = "any_of";

    fn check(&self) -> Result<(), BadScope> {
        self.0.iter().try_for_each(Constraint::check)
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        self.0.iter().any(|part| part.admits(value))
    }

    fn covers(&self, _: &Constraint) -> bool {
        false // `Constraint::covers` asks the parts.
    }

    fn family(&self) -> Option<Family> {
        self.0.first().and_then(Constraint::family)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        let parts = self.0.iter().map(|part| join(part.tests(view), Binary::And));
        vec![join(parts, Binary::Or)]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(family, [tree @ Tree::Or(..)]) => {
                let parts = tree.clone().disjuncts();
                let parts = parts
                    .into_iter()
                    .map(|part| Constraint::lift_nested(*family, &part.conjuncts()));
                AnyOf::new(parts.collect::<Option<_>>()?).ok()
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(String::from_utf8_lossy(&self.to_json().canonical()).into_owned())
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        Self::from_json(&json(value(Self::NAME, text)?)?)
    }

    fn to_json(&self) -> Json {
        Json::List(self.0.iter().map(Constraint::to_json).collect())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        let Json::List(parts) = value else {
            return Err(BadScope("any_of takes a list of constraints".into()));
        };
        AnyOf::new(parts.iter().map(Constraint::from_json).collect::<Result<_, _>>()?)
    }
}
