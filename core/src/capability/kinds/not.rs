//! `not`: a value with the same view that the part does not allow.
//! `path=all_of:[{"under":"/data"},{"not":{"under":"/data/secret"}}]`.
//!
//! A negation first requires its positive fact: `not` of a path admits safe paths only, and neither
//! absence nor a value of another type. Names are compared byte by byte; SPEC 4.6.3 says what this
//! requires of a file system.

use super::not_one_of::NotOneOf;
use super::one_of::OneOf;
use super::parts;
use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Op, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Kind, Member, Shown};
use crate::capability::tree::{Tree, join};

/// The values with the same view that the part does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Not<M>(Box<M>);

#[expect(private_bounds, reason = "`Constraint` is the one member that there is")]
impl<M: Member> Not<M> {
    /// Returns the negation of a constraint on one view. Use `not_one_of` instead of `not` of a
    /// list of values.
    pub fn new(part: M) -> Result<Self, BadScope> {
        let simpler = [
            (Self::NAME, "what stands inside the inner not"),
            (OneOf::NAME, NotOneOf::NAME),
            (NotOneOf::NAME, OneOf::NAME),
        ];
        match simpler.into_iter().find(|(kind, _)| *kind == part.kind()) {
            Some((kind, simpler)) => Err(BadScope(format!("not of {kind} is {simpler}"))),
            None if part.family().is_none() => {
                Err(BadScope("not takes a constraint on one view of the argument".into()))
            }
            None => Ok(Not(Box::new(part))),
        }
    }

    /// Returns the negated constraint.
    pub(crate) fn part(&self) -> &M {
        &self.0
    }
}

impl<M: Member> Kind for Not<M> {
    const NAME: &'static str = "not";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        self.family().is_some_and(|family| family.has(value)) && !self.0.admits(value)
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
                let part = M::lift_nested(*family, &tree.as_ref().clone().conjuncts())?;
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
        Not::new(M::from_json(value)?)
    }
}

impl<M: Member> Compare<M> for Not<M> {
    fn covers(&self, child: &M) -> bool {
        let typed = child.family().zip(self.family());
        // Another negation excludes what its own part covers.
        typed.is_some_and(|(child, own)| child.implies(own)) && self.0.excludes(child)
    }

    fn excludes(&self, other: &M) -> bool {
        self.0.covers(other)
    }
}
