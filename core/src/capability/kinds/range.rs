//! `range`: an integer between two inclusive bounds. `limit=range:1..1000`, `1..`, `..1000`.

use super::bounds::Bounds;
use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::{Family, MILLION};
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::scalar::Scalar;
use crate::capability::words::value;

/// An integer from `min` to `max`, both inclusive. At least one bound is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range(Bounds);

impl Range {
    /// Returns the integers from `min` to `max`. Two missing bounds, or `min > max`, are refused.
    pub fn new(min: Option<i64>, max: Option<i64>) -> Result<Self, BadScope> {
        match (min, max) {
            (None, None) => Err(BadScope(
                "range needs a bound: range:1..1000, range:1.. or range:..1000".into(),
            )),
            (Some(low), Some(high)) if low > high => {
                Err(BadScope(format!("range:{}..{} is empty", show(min), show(max))))
            }
            _ => Ok(Range(Bounds { min, max })),
        }
    }

    /// Returns the intersection; `None` when it is empty.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        let (min, max) = self.0.meet(&other.0);
        Self::new(min, max).ok()
    }

    /// Returns the bounds in millionths; `None` when one is missing or does not fit, because larger
    /// integers have no view as a decimal.
    pub(super) fn in_millionths(&self) -> Option<Bounds> {
        let scaled = |limit: Option<i64>| limit?.checked_mul(MILLION);
        Some(Bounds { min: Some(scaled(self.0.min)?), max: Some(scaled(self.0.max)?) })
    }
}

fn show(limit: Option<i64>) -> String {
    limit.map(|limit| limit.to_string()).unwrap_or_default()
}

impl Kind for Range {
    const NAME: &'static str = "range";

    fn check(&self) -> Result<(), BadScope> {
        self.0.min.into_iter().chain(self.0.max).try_for_each(|bound| Scalar::Int(bound).check())
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        matches!(value, Some(Json::Int(value)) if self.0.contains(*value))
    }

    fn family(&self) -> Option<Family> {
        Some(Family::Int)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        self.0.tests(view)
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(Family::Int, tests) => {
                Bounds::lift(tests).and_then(|(min, max)| Range::new(min, max).ok())
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(format!("{}..{}", show(self.0.min), show(self.0.max)))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        let text = value(Self::NAME, text)?;
        let bad =
            || BadScope(format!("{text:?} is no range: range:1..1000, range:1.. or range:..1000"));
        let (min, max) = text.split_once("..").ok_or_else(bad)?;
        let bound = |word: &str| match word {
            "" => Ok(None),
            word => word.parse().ok().map(Some).ok_or_else(bad),
        };
        Range::new(bound(min)?, bound(max)?)
    }

    fn to_json(&self) -> Json {
        let bound =
            |name: &str, limit: Option<i64>| limit.map(|limit| (name.to_owned(), Json::Int(limit)));
        Json::Object(
            [bound("max", self.0.max), bound("min", self.0.min)].into_iter().flatten().collect(),
        )
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        let bad = || {
            BadScope(r#"range takes {"min": number, "max": number}, one of them at least"#.into())
        };
        let Json::Object(members) = value else { return Err(bad()) };
        let (mut min, mut max) = (None, None);
        for (name, limit) in members {
            let limit = integer(limit).ok_or_else(bad)?;
            match name.as_str() {
                "min" => min = Some(limit),
                "max" => max = Some(limit),
                _ => return Err(bad()),
            }
        }
        Range::new(min, max)
    }
}

impl<M: Member + Holds<Range>> Compare<M> for Range {
    fn covers(&self, child: &M) -> bool {
        child.as_kind::<Range>().is_some_and(|child| self.0.covers(&child.0))
    }

    fn excludes(&self, other: &M) -> bool {
        other.as_kind::<Range>().is_some_and(|other| self.0.excludes(&other.0))
    }
}

fn integer(value: &Json) -> Option<i64> {
    match value {
        Json::Int(number) => Some(*number),
        _ => None,
    }
}
