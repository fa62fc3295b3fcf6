//! `range`: an integer between two bounds, both inside. `limit=range:1..1000`, `1..`, `..1000`.

use super::kind::{Constraint, Kind, value};
use super::{BadScope, Scalar, render};
use crate::datalog::{Binary, Op, Predicate, Query, Term};
use crate::json::Json;

/// An integer from `min` to `max`, both inside; at least one is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    min: Option<i64>,
    max: Option<i64>,
}

impl Range {
    /// From `min` to `max`; refused when both are missing or `min > max`.
    pub fn new(min: Option<i64>, max: Option<i64>) -> Result<Self, BadScope> {
        match (min, max) {
            (None, None) => Err(BadScope(
                "range needs a bound: range:1..1000, range:1.. or range:..1000".into(),
            )),
            (Some(min), Some(max)) if min > max => {
                Err(BadScope(format!("range:{min}..{max} is empty")))
            }
            _ => Ok(Range { min, max }),
        }
    }

    fn contains(&self, value: i64) -> bool {
        self.min.is_none_or(|min| min <= value) && self.max.is_none_or(|max| value <= max)
    }
}

impl Kind for Range {
    const NAME: &'static str = "range";

    fn check(&self) -> Result<(), BadScope> {
        self.min.into_iter().chain(self.max).try_for_each(|bound| Scalar::Int(bound).check())
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        matches!(value, Some(Json::Int(value)) if self.contains(*value))
    }

    fn covers(&self, child: &Constraint) -> bool {
        let Constraint::Range(child) = child else { return false };
        let low = self.min.is_none_or(|min| child.min.is_some_and(|c| min <= c));
        let high = self.max.is_none_or(|max| child.max.is_some_and(|c| c <= max));
        low && high
    }

    fn render(&self, argument: &render::Argument<'_>, query: &mut Query) {
        query.body.push(Predicate::new("arg_int", [argument.name(), argument.variable()]));
        let mut bound = |limit: Option<i64>, operator| {
            let ops = limit.map(|limit| {
                vec![
                    Op::Value(argument.variable()),
                    Op::Value(Term::Integer(limit)),
                    Op::Binary(operator),
                ]
            });
            query.expressions.extend(ops);
        };
        bound(self.min, Binary::GreaterOrEqual);
        bound(self.max, Binary::LessOrEqual);
    }

    fn lift(cursor: &mut render::Cursor<'_>) -> Option<(String, Self)> {
        let ("arg_int", name, Some(variable)) = cursor.argument()? else { return None };
        let mut bound = |operator| {
            let mut ahead = cursor.clone();
            match ahead.expression()? {
                [Op::Value(v), Op::Value(Term::Integer(limit)), Op::Binary(found)]
                    if v == variable && *found == operator =>
                {
                    *cursor = ahead;
                    Some(*limit)
                }
                _ => None,
            }
        };
        let (min, max) = (bound(Binary::GreaterOrEqual), bound(Binary::LessOrEqual));
        Some((name.to_owned(), Range::new(min, max).ok()?))
    }

    fn to_text(&self) -> Option<String> {
        let bound = |limit: Option<i64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
        Some(format!("{}..{}", bound(self.min), bound(self.max)))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        let text = value(Self::NAME, text)?;
        let bad = || BadScope(format!("{text:?} is no range of integers: 1..1000, 1.. or ..1000"));
        let (min, max) = text.split_once("..").ok_or_else(bad)?;
        let bound = |word: &str| match word {
            "" => Ok(None),
            word => word.parse().map(Some).map_err(|_| bad()),
        };
        Range::new(bound(min)?, bound(max)?)
    }

    fn to_json(&self) -> Json {
        let bound =
            |name: &str, limit: Option<i64>| limit.map(|limit| (name.to_owned(), Json::Int(limit)));
        Json::Object(
            [bound("max", self.max), bound("min", self.min)].into_iter().flatten().collect(),
        )
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        let bad = || {
            BadScope(r#"range takes {"min": integer, "max": integer}, one of them at least"#.into())
        };
        let Json::Object(members) = value else { return Err(bad()) };
        let (mut min, mut max) = (None, None);
        for member in members {
            match (member.0.as_str(), &member.1) {
                ("min", Json::Int(limit)) => min = Some(*limit),
                ("max", Json::Int(limit)) => max = Some(*limit),
                _ => return Err(bad()),
            }
        }
        Range::new(min, max)
    }
}
