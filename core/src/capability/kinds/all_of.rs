//! `all_of`: every one of some constraints.
//! `path=all_of:[{"under":"/data"},{"not":{"under":"/data/secret"}}]`.
//!
//! The parts may look at different views of the argument; inside `any_of` and `not` they look at
//! one. Renders as the parts one after the other.

use super::parts::{self, Parts};
use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Kind, Member, Shown};
use crate::capability::tree::Tree;

/// The values that every part allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllOf<M>(Parts<M>);

#[expect(private_bounds, reason = "`Constraint` is the one member that there is")]
impl<M: Member> AllOf<M> {
    /// Returns the conjunction of at least two constraints, none of them of this kind.
    pub fn new(parts: Vec<M>) -> Result<Self, BadScope> {
        Parts::new(Self::NAME, parts).map(AllOf)
    }

    /// Returns the parts, which must all hold.
    pub(crate) fn parts(&self) -> &[M] {
        self.0.as_slice()
    }
}

impl<M: Member> Kind for AllOf<M> {
    const NAME: &'static str = "all_of";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        self.parts().iter().all(|part| part.admits(value))
    }

    fn family(&self) -> Option<Family> {
        let first = self.parts().first()?.family()?;
        self.parts().iter().all(|part| part.family() == Some(first)).then_some(first)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        self.0.joined(view, Binary::And)
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        let Shown::Tests(family, tests) = shown else { return None };
        let (mut parts, mut rest) = (Vec::new(), *tests);
        while !rest.is_empty() {
            // A range is two tests; every other constraint is one.
            let range = rest.split_at_checked(2).and_then(|(two, behind)| {
                matches!(
                    two,
                    [Tree::Test(Binary::GreaterOrEqual, _), Tree::Test(Binary::LessOrEqual, _)]
                )
                .then_some((two, behind))
            });
            let (tests, behind) = range.or_else(|| rest.split_at_checked(1))?;
            if parts.is_empty() && behind.is_empty() {
                return None; // One constraint alone: each part is smaller than the whole.
            }
            parts.push(M::lift_nested(*family, tests)?);
            rest = behind;
        }
        AllOf::new(parts).ok()
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
        Parts::from_json(Self::NAME, value).map(AllOf)
    }
}

impl<M: Member> Compare<M> for AllOf<M> {
    fn covers(&self, _: &M) -> bool {
        false // `Member::covers` asks the parts.
    }
}
