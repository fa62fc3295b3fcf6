//! `max_length`: a string of at most this many bytes, or a list of at most this many items.
//! `comment=max_length:200`.

use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::{Family, length};
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::tree::{Tree, test};
use crate::capability::words::value;

/// A string of at most this many bytes in UTF-8, or a list of at most this many items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLength(pub u32);

impl Kind for MaxLength {
    const NAME: &'static str = "max_length";

    fn admits(&self, value: Option<&Json>) -> bool {
        value.and_then(length).is_some_and(|length| length <= i64::from(self.0))
    }

    fn family(&self) -> Option<Family> {
        Some(Family::Len)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        vec![test(view, Binary::LessOrEqual, Term::Integer(i64::from(self.0)))]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(Family::Len, [Tree::Test(Binary::LessOrEqual, Term::Integer(limit))]) => {
                u32::try_from(*limit).ok().map(MaxLength)
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        let text = value(Self::NAME, text)?;
        let bad = |_| BadScope(format!("{text:?} is no length: max_length:200"));
        text.parse().map(MaxLength).map_err(bad)
    }

    fn to_json(&self) -> Json {
        Json::Int(i64::from(self.0))
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        let limit = match value {
            Json::Int(limit) => u32::try_from(*limit).ok(),
            _ => None,
        };
        limit.map(MaxLength).ok_or_else(|| BadScope("max_length takes a number of bytes".into()))
    }
}

impl<M: Member + Holds<MaxLength>> Compare<M> for MaxLength {
    fn covers(&self, child: &M) -> bool {
        child.as_kind::<MaxLength>().is_some_and(|child| child.0 <= self.0)
    }
}
