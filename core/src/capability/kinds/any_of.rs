//! `any_of`: one of some constraints at least, all on the same view of the argument.
//! `path=any_of:[{"under":"/data"},{"under":"/tmp"}]`.
//!
//! Constraints on several views (a string or an integer) are two capabilities.

use super::parts::{self, Parts};
use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Kind, Member, Shown};
use crate::capability::tree::Tree;

/// The values that at least one part allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyOf<M>(Parts<M>);

#[expect(private_bounds, reason = "`Constraint` is the one member that there is")]
impl<M: Member> AnyOf<M> {
    /// Returns the disjunction of at least two constraints on one view, none of them of this kind.
    pub fn new(parts: Vec<M>) -> Result<Self, BadScope> {
        let parts = Parts::new(Self::NAME, parts)?;
        AnyOf::on_one_view(parts)
    }

    fn on_one_view(parts: Parts<M>) -> Result<Self, BadScope> {
        let first = parts.as_slice().first().and_then(M::family);
        if first.is_none() || parts.as_slice().iter().any(|part| part.family() != first) {
            return Err(BadScope(
                "any_of takes constraints on one view: strings, or integers, or paths…; others are capabilities of their own".into(),
            ));
        }
        Ok(AnyOf(parts))
    }

    /// Returns the parts, of which at least one must hold.
    pub(crate) fn parts(&self) -> &[M] {
        self.0.as_slice()
    }
}

impl<M: Member> Kind for AnyOf<M> {
    const NAME: &'static str = "any_of";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        self.parts().iter().any(|part| part.admits(value))
    }

    fn family(&self) -> Option<Family> {
        self.parts().first().and_then(M::family)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        self.0.joined(view, Binary::Or)
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(family, [tree @ Tree::Or(..)]) => {
                let parts = tree.clone().disjuncts();
                let parts =
                    parts.into_iter().map(|part| M::lift_nested(*family, &part.conjuncts()));
                AnyOf::new(parts.collect::<Option<_>>()?).ok()
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
        Parts::from_json(Self::NAME, value).and_then(AnyOf::on_one_view)
    }
}

impl<M: Member> Compare<M> for AnyOf<M> {
    fn covers(&self, _: &M) -> bool {
        false // `Member::covers` asks the parts.
    }
}
