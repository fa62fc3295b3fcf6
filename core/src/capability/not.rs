//! `not`: a value with the same view, and not among these.
//! `path=all_of:[{"under":"/data"},{"not":{"under":"/data/secret"}}]`.
//!
//! A negation first requires its positive fact: `not` under a path admits safe paths only, and
//! neither absence nor a value of another type. It compares names byte by byte: what it presumes of
//! a file system, SPEC 4.6.3 says.

use super::BadScope;
use super::family::Family;
use super::kind::{Constraint, Kind, Shown};
use super::parts;
use super::tree::{Tree, join};
use crate::datalog::{Binary, Expression, Op, Term};
use crate::json::Json;

/// Values with the same view that the part does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Not(Box<Constraint>);

impl Not {
    /// Of a constraint on one view. `not_one_of` says what `not` of a list would.
    pub fn new(part: Constraint) -> Result<Self, BadScope> {
        let simpler = match &part {
            Constraint::Not(_) => Some("what stands inside the inner not"),
            Constraint::OneOf(_) => Some("not_one_of"),
            Constraint::NotOneOf(_) => Some("one_of"),
            _ => None,
        };
        match simpler {
            Some(simpler) => Err(BadScope(format!("not of {} is {simpler}", part.kind()))),
            None if part.family().is_none() => {
                Err(BadScope("not takes a constraint on one view of the argument".into()))
            }
            None => Ok(Not(Box::new(part))),
        }
    }

    pub(super) fn part(&self) -> &Constraint {
        &self.0
    }
}

impl Kind for Not {
    const NAME: &'static str = "not";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        self.family().is_some_and(|family| family.has(value)) && !self.0.admits(value)
    }

    fn covers(&self, child: &Constraint) -> bool {
        let typed = child.family().zip(self.family());
        if !typed.is_some_and(|(child, own)| child.implies(own)) {
            return false;
        }
        match child {
            Constraint::Not(other) if other.family() == self.family() => other.0.covers(&self.0),
            _ => self.0.excludes(child),
        }
    }

    fn excludes(&self, other: &Constraint) -> bool {
        self.0.covers(other)
    }

    fn family(&self) -> Option<Family> {
        self.0.family()
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        let mut test = join(self.0.tests(view), Binary::And);
        test.push(Op::Negate);
        vec![test]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(family, [Tree::Not(tree)]) => {
                let part = Constraint::lift_nested(*family, &tree.as_ref().clone().conjuncts())?;
                Not::new(part).ok()
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(parts::to_text(&self.to_json()))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        Self::from_json(&parts::from_text(Self::NAME, text)?)
    }

    fn to_json(&self) -> Json {
        self.0.to_json()
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        Not::new(Constraint::from_json(value)?)
    }
}
