//! A call: which tool, which action, with which arguments. SPEC sections 4 and 5.
//!
//! Owns: flattening arguments to named leaves, and the Datalog facts of a call for a Biscuit
//! library. Does not own: whether the call is permitted.
//!
//! Invariants: the checked and the hashed arguments come from the same bytes; each leaf has one
//! name, and there is one fact for each predicate and name.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::bytes::sha256;
use crate::base::id::{AgentId, UnixMillis};
use crate::base::json::{BadJson, Json};
use crate::base::limits;
use crate::biscuit::datalog::{Predicate, Term};
use crate::capability::facts::{CALL, HOPS, NAMES, NULL, UNDER, delegate_of};
use crate::capability::family::FAMILIES;
use crate::capability::path::ancestors;
pub use crate::capability::path::safe_path;
use crate::capability::{Action, Audience};

/// Why arguments are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadArguments {
    /// The bytes are not JSON that [`Json::parse`] accepts.
    #[error("the arguments are not acceptable JSON: {0}")]
    Json(#[from] BadJson),
    /// The JSON is not an object.
    #[error("the arguments are not a JSON object")]
    NotAnObject,
    /// There are more leaves than [`limits::ARGUMENTS_MAX`].
    #[error("more than {} arguments", limits::ARGUMENTS_MAX)]
    TooMany,
    /// The message is larger than [`limits::CALL_BYTES_MAX`].
    #[error("the arguments are larger than {} bytes", limits::CALL_BYTES_MAX)]
    TooLarge,
}

impl BadArguments {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadArguments::Json(bad) => bad.code(),
            BadArguments::NotAnObject => "arguments_not_an_object",
            BadArguments::TooMany => "too_many_arguments",
            BadArguments::TooLarge => "arguments_too_large",
        }
    }
}

/// The arguments of one call: named leaves, and the digest that a call proof covers.
///
/// ```
/// use sublet_core::base::json::Json;
/// use sublet_core::evidence::call::Arguments;
///
/// let arguments = Arguments::from_json(br#"{"path":"/data/a.csv","page":{"size":10}}"#)?;
/// assert_eq!(arguments.leaf("page/size"), Some(&Json::Int(10)));
/// assert_eq!(arguments.leaf("page"), None); // an object with members is no leaf
///
/// // The digest is over the canonical form, so spelling does not matter.
/// let again = Arguments::from_json(br#"{ "page": {"size": 10}, "path": "/data/a.csv" }"#)?;
/// assert_eq!(arguments.digest(), again.digest());
/// # Ok::<(), sublet_core::evidence::call::BadArguments>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    leaves: BTreeMap<String, Json>,
    digest: [u8; 32],
    /// The canonical bytes, if the digest is over them.
    canonical: Option<Vec<u8>>,
}

impl Arguments {
    /// Parses arguments in JSON. The digest is over their RFC 8785 bytes.
    pub fn from_json(text: &[u8]) -> Result<Self, BadArguments> {
        let (json, canonical) = Json::parse_canonicalised(text)?;
        let (leaves, digest) = (leaves(&json)?, sha256(&canonical));
        Ok(Arguments { leaves, digest, canonical: Some(canonical) })
    }

    /// Returns the arguments of a binary message, such as gRPC. The digest is over the message's
    /// bytes; `fields` is a JSON object that the tool read from them.
    pub fn from_message(message: &[u8], fields: &Json) -> Result<Self, BadArguments> {
        if message.len() > limits::CALL_BYTES_MAX {
            return Err(BadArguments::TooLarge);
        }
        Self::from_digest(sha256(message), fields)
    }

    /// Returns the arguments of a message whose digest was computed before.
    pub fn from_digest(digest: [u8; 32], fields: &Json) -> Result<Self, BadArguments> {
        Ok(Arguments { leaves: leaves(fields)?, digest, canonical: None })
    }

    /// Returns the evidence of the arguments: the canonical bytes that the digest is over. For a
    /// binary message it is the names and values that the tool read, as JSON.
    pub fn evidence(&self) -> Vec<u8> {
        let read = || {
            let members = self.leaves.iter().map(|(name, value)| (name.clone(), value.clone()));
            Json::object(members.collect()).map(|json| json.canonical()).unwrap_or_default()
        };
        self.canonical.clone().unwrap_or_else(read)
    }

    /// Restores arguments from the result of [`Arguments::evidence`] and the digest that the proof
    /// covers.
    pub fn from_evidence(kept: &[u8], digest: [u8; 32]) -> Result<Self, BadArguments> {
        if sha256(kept) == digest {
            return Self::from_json(kept);
        }
        let Json::Object(members) = Json::parse(kept)? else {
            return Err(BadArguments::NotAnObject);
        };
        let leaves: BTreeMap<String, Json> = members.into_iter().collect();
        if leaves.len() > limits::ARGUMENTS_MAX {
            return Err(BadArguments::TooMany);
        }
        Ok(Arguments { leaves, digest, canonical: None })
    }

    /// Returns the value of a leaf; `None` when there is no leaf of this name.
    pub fn leaf(&self, name: &str) -> Option<&Json> {
        self.leaves.get(name)
    }

    /// Returns names and values, sorted by name.
    pub fn leaves(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.leaves.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the SHA-256 over the canonical or raw bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// One call: an audience, an action and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The audience: the tool's URI.
    pub audience: String,
    /// The action: the dotted name of a method or tool.
    pub action: String,
    /// The arguments.
    pub arguments: Arguments,
}

/// An audience or action that is not exact. No decision is made on such a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call's {part} {named:?} does not name one exactly: {expected}")]
pub struct NotExact {
    /// Which of the two: `audience` or `action`.
    pub part: &'static str,
    /// The name, cut to 80 characters.
    pub named: String,
    /// The form that is expected.
    pub expected: &'static str,
}

impl NotExact {
    fn new(part: &'static str, named: &str, expected: &'static str) -> Self {
        NotExact { part, named: named.chars().take(NAMED_CHARS_MAX).collect(), expected }
    }
}

/// How many characters of a refused name an error repeats.
const NAMED_CHARS_MAX: usize = 80;

impl Call {
    /// Refuses a call whose audience or action is not exact: [`check_exact`].
    pub fn check_exact(&self) -> Result<(), NotExact> {
        check_exact(&self.audience, &self.action)
    }
}

/// Refuses an audience or an action that is not exact (SPEC 4.8.1). Every decision about a call
/// begins with this check. A call with the name of a prefix would be within that prefix, but it
/// names no tool and no method.
pub fn check_exact(audience: &str, action: &str) -> Result<(), NotExact> {
    if !Audience::is_exact(audience) {
        let expected = "a URI such as tool://files, which does not end in /";
        return Err(NotExact::new("audience", audience, expected));
    }
    if !Action::is_exact(action) {
        let expected = "a dotted name such as fs.read, which does not end in .";
        return Err(NotExact::new("action", action, expected));
    }
    Ok(())
}

fn leaves(json: &Json) -> Result<BTreeMap<String, Json>, BadArguments> {
    let Json::Object(members) = json else { return Err(BadArguments::NotAnObject) };
    let mut found = BTreeMap::new();
    for (key, value) in members {
        flatten(&escape(key), value, &mut found)?;
    }
    Ok(found)
}

/// Adds the leaves of a value. A name is an RFC 6901 pointer without the leading slash. The JSON
/// reader limits the depth.
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

/// The facts about a chain for a Biscuit authorizer.
#[derive(Clone, Debug)]
pub struct ChainFacts<'a> {
    /// How many hops follow block 0.
    pub hops: u32,
    /// How many hops no receipt covers.
    pub unrecorded: u32,
    /// The agents in the chain other than the agent of the last block.
    pub delegate_of: BTreeSet<&'a AgentId>,
}

/// Returns the facts of a call for a Biscuit authorizer. SPEC 4.6.
///
/// `time/1` is `now` in whole seconds, without leeway. `hops(n)` says that at most n blocks follow
/// block 0, for every n for which that holds. `unrecorded(n)` says the same about hops without a
/// receipt. `delegate_of(directory, name)` says that the caller is neither this agent nor its
/// helper.
pub fn facts<'a>(call: &'a Call, now: UnixMillis, chain: &ChainFacts<'a>) -> Vec<Predicate<'a>> {
    // There are at most ARGUMENTS_MAX leaves.
    let count = i64::try_from(call.arguments.leaves.len()).unwrap_or(i64::MAX);
    let who = [Term::text(&call.audience), Term::text(&call.action), Term::Integer(count)];
    let names = call.arguments.leaves.keys().map(Term::text).collect();
    let mut facts = vec![
        Predicate::new(CALL, who),
        Predicate::new("time", [Term::Date(u64::try_from(now.seconds()).unwrap_or(0))]),
        Predicate::new(NAMES, [Term::Set(names)]),
    ];
    let at_most = |name, from| {
        (from..=limits::HOPS_MAX).map(move |n| Predicate::new(name, [Term::Integer(i64::from(n))]))
    };
    facts.extend(at_most(HOPS, chain.hops));
    facts.extend(at_most("unrecorded", chain.unrecorded));
    facts.extend(chain.delegate_of.iter().map(|agent| delegate_of(agent.split())));
    for (name, value) in &call.arguments.leaves {
        argument_facts(name, value, &mut facts);
    }
    facts
}

fn argument_facts<'a>(name: &'a str, value: &'a Json, facts: &mut Vec<Predicate<'a>>) {
    if *value == Json::Null {
        facts.push(Predicate::new(NULL, [Term::text(name)]));
    }
    for family in FAMILIES {
        let view = family.view(value).map(|view| [Term::text(name), view]);
        facts.extend(view.map(|terms| Predicate::new(family.predicate(), terms)));
    }
    let Json::Str(text) = value else { return };
    for above in safe_path(text).into_iter().flat_map(ancestors) {
        facts.push(Predicate::new(UNDER, [Term::text(name), Term::text(above)]));
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
    fn what_is_kept_of_arguments_is_read_as_the_same_arguments() {
        let json = Arguments::from_json(br#"{"b": [1], "a": {"c": "x"}}"#).unwrap();
        assert_eq!(json.evidence(), br#"{"a":{"c":"x"},"b":[1]}"#);
        assert_eq!(Arguments::from_evidence(&json.evidence(), json.digest()), Ok(json));
        let fields = Json::parse(br#"{"a": {"c": "x"}}"#).unwrap();
        let message = Arguments::from_message(b"\x0a\x01x", &fields).unwrap();
        assert_eq!(message.evidence(), br#"{"a/c":"x"}"#);
        assert_eq!(Arguments::from_evidence(&message.evidence(), message.digest()), Ok(message));
    }

    #[test]
    fn evidence_has_the_bounds_of_arguments() {
        let evidence = |count: usize| {
            let members: Vec<String> = (0..count).map(|at| format!("\"{at}\":1")).collect();
            Arguments::from_evidence(format!("{{{}}}", members.join(",")).as_bytes(), [0; 32])
        };
        let max = limits::ARGUMENTS_MAX;
        assert_eq!(evidence(1).unwrap().leaves().count(), 1);
        assert_eq!(evidence(max).unwrap().leaves().count(), max);
        assert_eq!(evidence(max + 1), Err(BadArguments::TooMany));
        assert_eq!(Arguments::from_evidence(b"[]", [0; 32]), Err(BadArguments::NotAnObject));
    }

    #[test]
    fn a_message_may_be_as_large_as_its_bound() {
        let fields = Json::parse(b"{}").unwrap();
        let message = vec![0; limits::CALL_BYTES_MAX + 1];
        assert!(Arguments::from_message(&message[1..], &fields).is_ok());
        assert_eq!(Arguments::from_message(&message, &fields), Err(BadArguments::TooLarge));
    }
}
