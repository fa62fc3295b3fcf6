//! `one_of`: one of some values, all of one type. `dept=one_of:sales,hr`, `n=one_of:[1,2]`.

use std::collections::BTreeSet;

use super::kind::{Constraint, Kind, value};
use super::{BadScope, Scalar, render, text_form};
use crate::datalog::{Binary, Op, Predicate, Query, Term};
use crate::json::Json;
use crate::limits;

/// One of 1 to [`limits::ONE_OF_MAX`] strings, or integers, or decimals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOf(BTreeSet<Scalar>);

impl OneOf {
    /// One of these; refused when empty, too many, or of mixed types.
    pub fn new(values: impl IntoIterator<Item = Scalar>) -> Result<Self, BadScope> {
        let values: BTreeSet<Scalar> = values.into_iter().collect();
        let Some(first) = values.first() else {
            return Err(BadScope("one_of needs at least one value".into()));
        };
        if values.len() > limits::ONE_OF_MAX {
            return Err(BadScope(format!("one_of takes at most {} values", limits::ONE_OF_MAX)));
        }
        if matches!(first, Scalar::Null | Scalar::Bool(_))
            || values.iter().any(|v| v.predicate() != first.predicate())
        {
            return Err(BadScope(
                "one_of takes strings, or integers, or decimals, not a mixture".into(),
            ));
        }
        Ok(OneOf(values))
    }
}

impl Kind for OneOf {
    const NAME: &'static str = "one_of";

    fn check(&self) -> Result<(), BadScope> {
        self.0.iter().try_for_each(Scalar::check)
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        value.is_some_and(|value| {
            Scalar::from_json(value).is_ok_and(|scalar| self.0.contains(&scalar))
        })
    }

    fn values(&self) -> Option<Vec<Option<Json>>> {
        Some(self.0.iter().map(|scalar| Some(scalar.to_json())).collect())
    }

    fn covers(&self, _: &Constraint) -> bool {
        false
    }

    fn render(&self, argument: &render::Argument<'_>, query: &mut Query) {
        let predicate = self.0.first().map_or("arg_str", Scalar::predicate);
        let set: BTreeSet<Term> = self.0.iter().filter_map(Scalar::term).collect();
        query.body.push(Predicate::new(predicate, [argument.name(), argument.variable()]));
        query.expressions.push(vec![
            Op::Value(Term::Set(set)),
            Op::Value(argument.variable()),
            Op::Binary(Binary::Contains),
        ]);
    }

    fn lift(cursor: &mut render::Cursor<'_>) -> Option<(String, Self)> {
        let (predicate, name, _) = cursor.argument()?;
        let [Op::Value(Term::Set(set)), Op::Value(Term::Variable(_)), Op::Binary(Binary::Contains)] =
            cursor.expression()?
        else {
            return None;
        };
        let values = set
            .iter()
            .map(|term| Scalar::from_term(predicate, Some(term)))
            .collect::<Option<Vec<_>>>()?;
        Some((name.to_owned(), OneOf::new(values).ok()?))
    }

    fn to_text(&self) -> Option<String> {
        let words: Vec<String> = self.0.iter().map(Scalar::to_string).collect();
        Some(words.join(","))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        let text = value(Self::NAME, text)?;
        if text.starts_with('[') {
            let (json, _) = Json::parse_canonicalised(text.as_bytes())
                .map_err(|bad| BadScope(format!("{text:?} is no JSON array: {bad}")))?;
            return Self::from_json(&json);
        }
        let words = text_form::split(text, ',');
        OneOf::new(words.iter().map(|word| Scalar::from_text(word)).collect::<Result<Vec<_>, _>>()?)
    }

    fn to_json(&self) -> Json {
        Json::List(self.0.iter().map(Scalar::to_json).collect())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        let Json::List(items) = value else { return Err(BadScope("one_of takes a list".into())) };
        OneOf::new(items.iter().map(Scalar::from_json).collect::<Result<Vec<_>, _>>()?)
    }
}
