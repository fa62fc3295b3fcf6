//! `decimal`: a number between two inclusive bounds, with up to six decimals.
//! `amount=decimal:0.5..100`.
//!
//! Integers are decimals too, because JSON writes 10.0 as 10. A number that does not fit an i64 of
//! millionths has no view as a decimal and is refused.

use super::bounds::Bounds;
use super::range::Range;
use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::{Family, MILLION, millionths};
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::scalar::Scalar;
use crate::capability::words::{json, value};

/// A number from `min` to `max` millionths, both inclusive. At least one bound is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal(Bounds);

impl Decimal {
    /// Returns the numbers from `min` to `max` millionths. Two missing bounds, or `min > max`, are
    /// refused.
    pub fn new(min: Option<i64>, max: Option<i64>) -> Result<Self, BadScope> {
        match (min, max) {
            (None, None) => Err(BadScope(
                "decimal needs a bound: decimal:0.5..100, decimal:0.. or decimal:..99.95".into(),
            )),
            (Some(low), Some(high)) if low > high => {
                Err(BadScope(format!("decimal:{}..{} is empty", show(min), show(max))))
            }
            _ => Ok(Decimal(Bounds { min, max })),
        }
    }

    /// Returns the intersection; `None` when it is empty.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        let (min, max) = self.0.meet(&other.0);
        Self::new(min, max).ok()
    }
}

fn show(limit: Option<i64>) -> String {
    let text = |limit| String::from_utf8_lossy(&number(limit).canonical()).into_owned();
    limit.map(text).unwrap_or_default()
}

/// Returns millionths as JSON writes them: a whole number as an integer.
fn number(millionths: i64) -> Json {
    if millionths % MILLION == 0 { Json::Int(millionths / MILLION) } else { Json::Dec(millionths) }
}

impl Kind for Decimal {
    const NAME: &'static str = "decimal";

    fn check(&self) -> Result<(), BadScope> {
        self.0
            .min
            .into_iter()
            .chain(self.0.max)
            .try_for_each(|bound| Scalar::from_json(&number(bound))?.check())
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        value.and_then(millionths).is_some_and(|value| self.0.contains(value))
    }

    fn family(&self) -> Option<Family> {
        Some(Family::Num)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        self.0.tests(view)
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(Family::Num, tests) => {
                Bounds::lift(tests).and_then(|(min, max)| Decimal::new(min, max).ok())
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(format!("{}..{}", show(self.0.min), show(self.0.max)))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        let text = value(Self::NAME, text)?;
        let bad = || {
            BadScope(format!(
                "{text:?} is no decimal: decimal:0.5..100, decimal:0.. or decimal:..99.95"
            ))
        };
        let (min, max) = text.split_once("..").ok_or_else(bad)?;
        let bound = |word: &str| match word {
            "" => Ok(None),
            word => json(word).ok().as_ref().and_then(millionths).map(Some).ok_or_else(bad),
        };
        Decimal::new(bound(min)?, bound(max)?)
    }

    fn to_json(&self) -> Json {
        let bound =
            |name: &str, limit: Option<i64>| limit.map(|limit| (name.to_owned(), number(limit)));
        Json::Object(
            [bound("max", self.0.max), bound("min", self.0.min)].into_iter().flatten().collect(),
        )
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        let bad = || {
            BadScope(r#"decimal takes {"min": number, "max": number}, one of them at least"#.into())
        };
        let Json::Object(members) = value else { return Err(bad()) };
        let (mut min, mut max) = (None, None);
        for (name, limit) in members {
            let limit = millionths(limit).ok_or_else(bad)?;
            match name.as_str() {
                "min" => min = Some(limit),
                "max" => max = Some(limit),
                _ => return Err(bad()),
            }
        }
        Decimal::new(min, max)
    }
}

impl<M: Member + Holds<Decimal> + Holds<Range>> Compare<M> for Decimal {
    fn covers(&self, child: &M) -> bool {
        if let Some(child) = child.as_kind::<Decimal>() {
            return self.0.covers(&child.0);
        }
        let integers = child.as_kind::<Range>().and_then(Range::in_millionths);
        integers.is_some_and(|child| self.0.covers(&child))
    }

    fn excludes(&self, other: &M) -> bool {
        other.as_kind::<Decimal>().is_some_and(|other| self.0.excludes(&other.0))
    }
}
