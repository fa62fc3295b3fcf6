//! `exactly`: one value of one type. `region=exactly:r`, `dry_run=exactly:true`.

use super::kind::{Constraint, Kind, value};
use super::{BadScope, Scalar, render};
use crate::datalog::{Predicate, Query};
use crate::json::Json;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exactly(pub Scalar);

impl Kind for Exactly {
    const NAME: &'static str = "exactly";

    fn check(&self) -> Result<(), BadScope> {
        self.0.check()
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        value == Some(&self.0.to_json())
    }

    fn values(&self) -> Option<Vec<Option<Json>>> {
        Some(vec![Some(self.0.to_json())])
    }

    fn covers(&self, _: &Constraint) -> bool {
        false
    }

    fn render(&self, argument: &render::Argument<'_>, query: &mut Query) {
        let terms: Vec<_> = std::iter::once(argument.name()).chain(self.0.term()).collect();
        query.body.push(Predicate::new(self.0.predicate(), terms));
    }

    fn lift(cursor: &mut render::Cursor<'_>) -> Option<(String, Self)> {
        let (predicate, name, term) = cursor.argument()?;
        Scalar::from_term(predicate, term).map(|scalar| (name.to_owned(), Exactly(scalar)))
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
