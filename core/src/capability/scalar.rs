//! A single value in a constraint, of one type. Types never mix: 1, 1.5, "1" and true are four
//! values under four predicates.

use std::fmt;

use super::bad_scope::BadScope;
use super::family::Family;
use crate::base::json::{BadJson, INTEGER_MAX, Json};
use crate::base::limits;
use crate::biscuit::datalog::Term;

/// A value that a constraint can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// An integer within ±(2^53-1).
    Int(i64),
    /// A decimal in millionths.
    Dec(i64),
    /// A string of at most [`limits::TEXT_BYTES_MAX`] bytes.
    Str(String),
}

impl Scalar {
    /// Returns the view of a value of this type; `None` for null.
    pub(super) fn family(&self) -> Option<Family> {
        match self {
            Scalar::Null => None,
            Scalar::Bool(_) => Some(Family::Bool),
            Scalar::Int(_) => Some(Family::Int),
            Scalar::Dec(_) => Some(Family::Dec),
            Scalar::Str(_) => Some(Family::Str),
        }
    }

    /// Returns the value as a term; `None` for null.
    pub(super) fn term(&self) -> Option<Term<'_>> {
        match self {
            Scalar::Null => None,
            Scalar::Bool(value) => Some(Term::Bool(*value)),
            Scalar::Int(value) | Scalar::Dec(value) => Some(Term::Integer(*value)),
            Scalar::Str(value) => Some(Term::text(value.as_str())),
        }
    }

    /// Returns the value of a term under a view; `None` when the term has another type.
    pub(super) fn from_term(family: Family, term: &Term<'_>) -> Option<Scalar> {
        match (family, term) {
            (Family::Bool, Term::Bool(value)) => Some(Scalar::Bool(*value)),
            (Family::Int, Term::Integer(value)) => Some(Scalar::Int(*value)),
            (Family::Dec, Term::Integer(value)) => Some(Scalar::Dec(*value)),
            (Family::Str, Term::String(value)) => Some(Scalar::Str(value.clone().into_owned())),
            _ => None,
        }
    }

    /// Returns whether a JSON value is this value, of this type.
    pub(super) fn is(&self, json: &Json) -> bool {
        match (self, json) {
            (Scalar::Null, Json::Null) => true,
            (Scalar::Bool(own), Json::Bool(value)) => own == value,
            (Scalar::Int(own), Json::Int(value)) | (Scalar::Dec(own), Json::Dec(value)) => {
                own == value
            }
            (Scalar::Str(own), Json::Str(value)) => own == value,
            _ => false,
        }
    }

    /// Refuses a value that JSON cannot hold, or that JSON writes as another one: 2^60, or 5.0.
    pub(super) fn check(&self) -> Result<(), BadScope> {
        let fine = match self {
            Scalar::Null | Scalar::Bool(_) => true,
            Scalar::Int(value) => value.unsigned_abs() <= INTEGER_MAX.unsigned_abs(),
            Scalar::Dec(_) => Json::parse(&self.to_json().canonical()) == Ok(self.to_json()),
            Scalar::Str(value) => return text(value).map(|_| ()),
        };
        let bad = || {
            BadScope(format!(
                "{self:?} is no value of JSON: integers within ±(2^53-1), decimals of 15 digits"
            ))
        };
        if fine { Ok(()) } else { Err(bad()) }
    }

    pub(super) fn to_json(&self) -> Json {
        match self {
            Scalar::Null => Json::Null,
            Scalar::Bool(value) => Json::Bool(*value),
            Scalar::Int(value) => Json::Int(*value),
            Scalar::Dec(value) => Json::Dec(*value),
            Scalar::Str(value) => Json::Str(value.clone()),
        }
    }

    pub(super) fn from_json(value: &Json) -> Result<Scalar, BadScope> {
        match value {
            Json::Null => Ok(Scalar::Null),
            Json::Bool(value) => Ok(Scalar::Bool(*value)),
            Json::Int(value) => Ok(Scalar::Int(*value)),
            Json::Dec(value) => Ok(Scalar::Dec(*value)),
            Json::Str(value) => text(value).map(Scalar::Str),
            Json::List(_) | Json::Object(_) => {
                Err(BadScope("a constraint names single values, not lists or objects".into()))
            }
        }
    }

    /// Parses a word: JSON if it reads as JSON, otherwise a string.
    pub(super) fn from_text(word: &str) -> Result<Scalar, BadScope> {
        match Json::parse_canonicalised(word.as_bytes()) {
            Ok((json, _)) => Scalar::from_json(&json),
            // A number that is out of range is not read as a string of digits.
            Err(bad @ (BadJson::IntegerOutOfRange | BadJson::DecimalOutOfRange)) => {
                Err(BadScope(format!("{word}: {bad}")))
            }
            Err(bad) if word.starts_with(['"', '[', '{']) => {
                Err(BadScope(format!("{word:?} is no JSON value: {bad}")))
            }
            Err(_) => text(word).map(Scalar::Str),
        }
    }
}

/// Checks the length of a text that goes into a block.
pub(super) fn text(value: &str) -> Result<String, BadScope> {
    if value.len() > limits::TEXT_BYTES_MAX {
        return Err(BadScope(format!("a value is over {} bytes", limits::TEXT_BYTES_MAX)));
    }
    Ok(value.to_owned())
}

/// Returns a text as SCOPE text writes it: bare if it reads back as this string, otherwise quoted.
pub(super) fn bare_or_quoted(value: &str) -> String {
    match Scalar::from_text(value) {
        Ok(Scalar::Str(same)) if same == value => plain_or_quoted(value),
        _ => quoted(value),
    }
}

/// Returns a name as SCOPE text writes it: bare if it has only plain characters, otherwise quoted.
pub(super) fn plain_or_quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:@+~".contains(c);
    if !name.is_empty() && name.chars().all(plain) { name.to_owned() } else { quoted(name) }
}

pub(super) fn quoted(value: &str) -> String {
    String::from_utf8_lossy(&Json::Str(value.to_owned()).canonical()).into_owned()
}

/// Parses a string value: quoted as JSON, or bare.
pub(super) fn string_from_text(word: &str) -> Result<String, BadScope> {
    if word.starts_with('"') {
        match Scalar::from_text(word)? {
            Scalar::Str(value) => Ok(value),
            _ => Err(BadScope(format!("{word:?} is no string"))),
        }
    } else {
        text(word)
    }
}

/// Parses a string in the JSON form.
pub(super) fn string_from_json(kind: &str, value: &Json) -> Result<String, BadScope> {
    match value {
        Json::Str(value) => text(value),
        _ => Err(BadScope(format!("{kind} takes a string"))),
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Str(value) => f.write_str(&bare_or_quoted(value)),
            other => f.write_str(&String::from_utf8_lossy(&other.to_json().canonical())),
        }
    }
}
