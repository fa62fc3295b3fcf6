//! The typed views of an argument. SPEC 4.6.
//!
//! A constraint sees an argument through one view: its string, its integer, its safe path, and so
//! on. An argument without that view meets no constraint over it, not even a negated one. So a
//! value without a normal form is refused.

use super::path::{safe_path, slashed};
use super::{address, url_parts};
use crate::base::json::{INTEGER_MAX, Json};
use crate::base::limits;
use crate::biscuit::datalog::Term;

/// Millionths in one, the unit of decimals.
pub(crate) const MILLION: i64 = 1_000_000;

/// One typed view of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// A string, unchanged.
    Str,
    /// A string of at most [`limits::MATCHED_BYTES_MAX`] bytes, which a pattern can be matched
    /// against.
    Short,
    /// An integer.
    Int,
    /// A number that is no integer, in millionths.
    Dec,
    /// Any number in millionths, if they fit an i64.
    Num,
    /// A boolean.
    Bool,
    /// A safe absolute path with a slash at the end, so that containment is a prefix.
    Path,
    /// A plain URL with its port written out and a slash at the end of its path.
    Url,
    /// An IP address as `4` or `6` and its bits, so that a network is a prefix.
    Ip,
    /// The length of a string in bytes, or of a list in items.
    Len,
    /// The set of a list's strings.
    ListStr,
    /// The set of a list's integers.
    ListInt,
}

/// Every view, in the order in which facts are made.
pub(crate) const FAMILIES: [Family; 12] = [
    Family::Str,
    Family::Short,
    Family::Int,
    Family::Dec,
    Family::Num,
    Family::Bool,
    Family::Path,
    Family::Url,
    Family::Ip,
    Family::Len,
    Family::ListStr,
    Family::ListInt,
];

impl Family {
    /// Returns the predicate of its facts: `predicate(name, view)`.
    pub(crate) fn predicate(self) -> &'static str {
        match self {
            Family::Str => "arg_str",
            Family::Short => "arg_short",
            Family::Int => "arg_int",
            Family::Dec => "arg_dec",
            Family::Num => "arg_num",
            Family::Bool => "arg_bool",
            Family::Path => "arg_path",
            Family::Url => "arg_url",
            Family::Ip => "arg_ip",
            Family::Len => "arg_len",
            Family::ListStr => "arg_list_str",
            Family::ListInt => "arg_list_int",
        }
    }

    /// Returns the view with this predicate; `None` when there is none.
    pub(crate) fn of_predicate(predicate: &str) -> Option<Self> {
        FAMILIES.into_iter().find(|family| family.predicate() == predicate)
    }

    /// Returns the view of a value; `None` when the value has no such view.
    pub(crate) fn view(self, value: &Json) -> Option<Term<'_>> {
        match (self, value) {
            (Family::Str, Json::Str(text)) => Some(Term::text(text.as_str())),
            (Family::Short, Json::Str(text)) if text.len() <= limits::MATCHED_BYTES_MAX => {
                Some(Term::text(text.as_str()))
            }
            (Family::Int, Json::Int(number)) => Some(Term::Integer(*number)),
            (Family::Dec, Json::Dec(millionths)) => Some(Term::Integer(*millionths)),
            (Family::Num, value) => millionths(value).map(Term::Integer),
            (Family::Bool, Json::Bool(value)) => Some(Term::Bool(*value)),
            (Family::Path, Json::Str(text)) => safe_path(text).map(|p| Term::text(slashed(p))),
            (Family::Url, Json::Str(text)) => url_parts::normal(text).map(Term::text),
            (Family::Ip, Json::Str(text)) => address::bits(text).map(Term::text),
            (Family::Len, value) => length(value).map(Term::Integer),
            (Family::ListStr | Family::ListInt, Json::List(items)) => self.set(items),
            _ => None,
        }
    }

    /// Returns whether every value with this view has the other one too.
    pub(crate) fn implies(self, other: Family) -> bool {
        match other {
            Family::Str => {
                matches!(
                    self,
                    Family::Str | Family::Short | Family::Path | Family::Url | Family::Ip
                )
            }
            _ => self == other,
        }
    }

    /// Returns whether the value has this view.
    pub(crate) fn has(self, value: Option<&Json>) -> bool {
        value.is_some_and(|value| self.view(value).is_some())
    }

    fn set<'v>(self, items: &'v [Json]) -> Option<Term<'v>> {
        let item = |item: &'v Json| match (self, item) {
            (Family::ListStr, Json::Str(text)) => Some(Term::text(text.as_str())),
            (Family::ListInt, Json::Int(number)) => Some(Term::Integer(*number)),
            _ => None,
        };
        items.iter().map(item).collect::<Option<_>>().map(Term::Set)
    }
}

/// Returns a number in millionths; `None` when it does not fit, or is no number.
pub(crate) fn millionths(value: &Json) -> Option<i64> {
    match value {
        Json::Int(number) if number.unsigned_abs() <= INTEGER_MAX.unsigned_abs() => {
            number.checked_mul(MILLION)
        }
        Json::Dec(millionths) => Some(*millionths),
        _ => None,
    }
}

/// Returns the bytes of a string, or the items of a list; `None` for other values.
pub(crate) fn length(value: &Json) -> Option<i64> {
    match value {
        Json::Str(text) => i64::try_from(text.len()).ok(),
        Json::List(items) => i64::try_from(items.len()).ok(),
        _ => None,
    }
}
