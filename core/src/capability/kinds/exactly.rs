//! `exactly`: one value of one type. `region=exactly:r`, `dry_run=exactly:true`.
//!
//! Renders as the fact itself, `arg_str("region", "r")`; inside `any_of` and `not` as `$v === "r"`.

use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::facts;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Kind, Shown};
use crate::capability::scalar::Scalar;
use crate::capability::tree::{Tree, test};
use crate::capability::words::value;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exactly(pub Scalar);

impl Kind for Exactly {
    const NAME: &'static str = "exactly";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        value.is_some_and(|value| self.0.is(value))
    }

    fn values(&self) -> Option<Vec<Option<Json>>> {
        Some(vec![Some(self.0.to_json())])
    }

    fn family(&self) -> Option<Family> {
        self.0.family()
    }

    fn fact(&self) -> Option<(&'static str, Option<Term<'_>>)> {
        let predicate = self.0.family().map_or(facts::NULL, Family::predicate);
        Some((predicate, self.0.term()))
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        self.0.term().into_iter().map(|term| test(view, Binary::Equal, term)).collect()
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Fact(facts::NULL, [_]) => Some(Exactly(Scalar::Null)),
            Shown::Fact(name, terms) => {
                let family = Family::of_predicate(name)?;
                Scalar::from_term(family, terms.get(1)?).map(Exactly)
            }
            Shown::Tests(family, [Tree::Test(Binary::Equal, literal)]) => {
                Scalar::from_term(*family, literal).map(Exactly)
            }
            Shown::Tests(..) => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        Scalar::from_text(value(Self::NAME, text)?).map(Exactly)
    }

    fn to_json(&self) -> Json {
        self.0.to_json()
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        Scalar::from_json(value).map(Exactly)
    }
}

impl<M> Compare<M> for Exactly {
    fn covers(&self, _: &M) -> bool {
        false
    }
}
