//! A call: which tool, which action, with which arguments. SPEC sections 4 and 5.
//!
//! Owns: flattening arguments to named leaves, and the Datalog facts under which a call is
//! presented to a stock Biscuit library. Does not own: whether it is allowed.
//!
//! Invariants: what is checked and what is hashed come from the same bytes; one leaf a name, one
//! fact for each predicate and name.

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::sha256;
use crate::datalog::{Predicate, Term};
use crate::id::UnixMillis;
use crate::json::{BadJson, Json};
use crate::limits;

/// Why arguments are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadArguments {
    /// Not JSON in our strict reading of it.
    #[error("the arguments are not acceptable JSON: {0}")]
    Json(#[from] BadJson),
    /// JSON, but not an object.
    #[error("the arguments are not a JSON object")]
    NotAnObject,
    /// More leaves than [`limits::ARGUMENTS_MAX`].
    #[error("more than {} arguments", limits::ARGUMENTS_MAX)]
    TooMany,
    /// A larger message than [`limits::CALL_BYTES_MAX`].
    #[error("the arguments are larger than {} bytes", limits::CALL_BYTES_MAX)]
    TooLarge,
}

impl BadArguments {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadArguments::Json(bad) => bad.code(),
            BadArguments::NotAnObject => "arguments_not_an_object",
            BadArguments::TooMany => "too_many_arguments",
            BadArguments::TooLarge => "arguments_too_large",
        }
    }
}

/// The arguments of one call: named leaves, and the digest that a call proof binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    leaves: BTreeMap<String, Json>,
    digest: [u8; 32],
}

impl Arguments {
    /// From JSON: bound as its RFC 8785 bytes.
    pub fn from_json(text: &[u8]) -> Result<Self, BadArguments> {
        let (json, canonical) = Json::parse_canonicalised(text)?;
        Ok(Arguments { leaves: leaves(&json)?, digest: sha256(&canonical) })
    }

    /// From a binary message (gRPC): bound as its raw bytes; `fields` is what the tool read out
    /// of those same bytes, as JSON.
    pub fn from_message(message: &[u8], fields: &Json) -> Result<Self, BadArguments> {
        if message.len() > limits::CALL_BYTES_MAX {
            return Err(BadArguments::TooLarge);
        }
        Ok(Arguments { leaves: leaves(fields)?, digest: sha256(message) })
    }

    /// From a message of which the digest was taken as it arrived.
    pub fn from_digest(digest: [u8; 32], fields: &Json) -> Result<Self, BadArguments> {
        Ok(Arguments { leaves: leaves(fields)?, digest })
    }

    /// The value under a name; `None` when absent.
    pub fn leaf(&self, name: &str) -> Option<&Json> {
        self.leaves.get(name)
    }

    /// Names and values, by name.
    pub fn leaves(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.leaves.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// SHA-256 over the canonical or raw bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The tool, as a URI.
    pub audience: String,
    /// The method or tool name, dotted.
    pub action: String,
    /// The arguments.
    pub arguments: Arguments,
}

fn leaves(json: &Json) -> Result<BTreeMap<String, Json>, BadArguments> {
    let Json::Object(members) = json else { return Err(BadArguments::NotAnObject) };
    let mut found = BTreeMap::new();
    for (key, value) in members {
        flatten(&escape(key), value, &mut found)?;
    }
    Ok(found)
}

/// Names are RFC 6901 pointers without the leading slash. The depth is bounded by the JSON reader.
fn flatten(
    name: &str,
    value: &Json,
    found: &mut BTreeMap<String, Json>,
) -> Result<(), BadArguments> {
    match value {
        Json::Object(members) if !members.is_empty() => members
            .iter()
            .try_for_each(|(key, value)| flatten(&format!("{name}/{}", escape(key)), value, found)),
        leaf => {
            found.insert(name.to_owned(), leaf.clone());
            if found.len() > limits::ARGUMENTS_MAX { Err(BadArguments::TooMany) } else { Ok(()) }
        }
    }
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The path of a string, when it is safe and absolute in exactly one reading: no empty, `.` or
/// `..` segment, no trailing slash, no NUL or control character, no `%`, no `\`, ASCII or
/// alphanumeric Unicode only (so that no look-alike of a slash or dot is taken for a name).
pub fn safe_path(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('/')?;
    let fine = |c: char| {
        (c.is_ascii_graphic() && !matches!(c, '%' | '\\')) || c == ' ' || c.is_alphanumeric()
    };
    let segment =
        |s: &str| !s.is_empty() && s != "." && s != ".." && s.chars().all(fine) && s.trim() == s;
    (rest.is_empty() || rest.split('/').all(segment)).then_some(text)
}

/// The facts under which a stock Biscuit authorizer sees a call. SPEC 4.6.
///
/// `time/1` is `now` floored to seconds with no leeway; `hops/1` counts blocks after block 0;
/// `unrecorded/1` counts hops that no receipt covers.
pub fn facts(call: &Call, now: UnixMillis, hops: u32, unrecorded: u32) -> Vec<Predicate> {
    let text = |value: &str| Term::String(value.to_owned());
    let mut facts = vec![
        Predicate::new("audience", [text(&call.audience)]),
        Predicate::new("action", [text(&call.action)]),
        Predicate::new("time", [Term::Date(u64::try_from(now.seconds()).unwrap_or(0))]),
        Predicate::new("hops", [Term::Integer(i64::from(hops))]),
        Predicate::new("unrecorded", [Term::Integer(i64::from(unrecorded))]),
    ];
    let names: BTreeSet<Term> = call.arguments.leaves.keys().map(|name| text(name)).collect();
    facts.push(Predicate::new("arg_names", [Term::Set(names)]));
    for (name, value) in &call.arguments.leaves {
        argument_facts(name, value, &mut facts);
    }
    facts
}

fn argument_facts(name: &str, value: &Json, facts: &mut Vec<Predicate>) {
    let name = Term::String(name.to_owned());
    let mut add =
        |predicate: &str, term: Term| facts.push(Predicate::new(predicate, [name.clone(), term]));
    match value {
        Json::Null => facts.push(Predicate::new("arg_null", [name])),
        Json::Bool(value) => add("arg_bool", Term::Bool(*value)),
        Json::Int(value) => add("arg_int", Term::Integer(*value)),
        Json::Dec(millionths) => add("arg_dec", Term::Integer(*millionths)),
        Json::Str(value) => {
            add("arg_str", Term::String(value.clone()));
            if let Some(path) = safe_path(value) {
                add("arg_path", Term::String(path.to_owned()));
            }
        }
        Json::List(items) if items.is_empty() => {
            facts.push(Predicate::new("arg_list_empty", [name]))
        }
        Json::List(_) | Json::Object(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let arguments = Arguments::from_json(text.as_bytes()).unwrap();
        arguments.leaves().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn nested_and_flat_names_never_meet() {
        assert_eq!(names(r#"{"a":{"b":1}}"#), ["a/b"]);
        assert_eq!(names(r#"{"a/b":1}"#), ["a~1b"]);
        assert_eq!(names(r#"{"a~1b":1}"#), ["a~01b"]);
        assert_eq!(names(r#"{"a":{},"b":[],"c":{"":1}}"#), ["a", "b", "c/"]);
    }

    #[test]
    fn arguments_must_be_an_object() {
        assert_eq!(Arguments::from_json(b"[1]"), Err(BadArguments::NotAnObject));
    }

    #[test]
    fn only_safe_paths_have_a_path() {
        for good in ["/", "/data", "/data/q3 report.txt", "/données/ü"] {
            assert_eq!(safe_path(good), Some(good));
        }
        let bad = [
            "",
            "data",
            "/data/",
            "//data",
            "/data/../etc",
            "/data/./x",
            "/data/%2e%2e",
            "/data\\x",
            "/a\0b",
            "/a\nb",
            "/data/\u{2024}\u{2024}/x",
            "/data\u{2215}x",
            "/data/ x",
            "/data/.\u{200b}./x",
        ];
        for bad in bad {
            assert_eq!(safe_path(bad), None, "{bad:?}");
        }
    }
}
