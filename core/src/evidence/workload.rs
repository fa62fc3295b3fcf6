//! Who a workload is by somebody else's word: what its signed token showed, and which agent of ours
//! that is. docs/SPEC section 3.7; docs/decisions/0018.
//!
//! Owns: the claims of a token that was verified, the rules of profiles that map them to agents. Does
//! not own: verifying the token (the broker's `enroll`), what follows from it (`decide::Enroll`).
//!
//! Invariants: a rule maps two different workloads to one agent only when it names neither of what
//! tells them apart; a claim that cannot be part of a SPIFFE id is refused and never changed into one
//! that can.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, BadId, TrustDomain, UnixMillis};
use crate::base::json::Json;

/// Rules of one profile.
pub const RULES_MAX: usize = 64;

/// Claims that one rule demands.
const CLAIMS_MAX: usize = 32;

/// Bytes of a claim's value, and of a template.
const TEXT_BYTES_MAX: usize = 256;

/// What a workload's signed token showed, once its signature, time and audience hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// How: "jwt", "jwt_svid", "x509_svid", "federated".
    pub method: &'static str,
    /// By whose word: the issuer's URL, or `spiffe://` and a trust domain.
    pub issuer: String,
    /// What it says.
    pub claims: Json,
    /// SHA-256 over the token or certificate.
    pub id: [u8; 32],
    /// Whether it opens once: a bearer token. A certificate does not travel: its key was proven.
    pub once: bool,
    /// When it is over.
    pub expires_at: UnixMillis,
}

impl Attested {
    /// A claim that is a string: by its name, or by an RFC 6901 pointer where it lies deeper.
    pub fn claim(&self, name: &str) -> Option<&str> {
        let value = if name.starts_with('/') {
            name.split('/').skip(1).try_fold(&self.claims, |at, part| {
                member(at, &part.replace("~1", "/").replace("~0", "~"))
            })
        } else {
            member(&self.claims, name)
        };
        match value {
            Some(Json::Str(text)) => Some(text),
            _ => None,
        }
    }
}

impl Attested {
    /// A claim that is a whole number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match member(&self.claims, name) {
            Some(Json::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// Whether a claim is there and true.
    pub fn is_true(&self, name: &str) -> bool {
        matches!(member(&self.claims, name), Some(Json::Bool(true)))
    }
}

fn member<'a>(value: &'a Json, name: &str) -> Option<&'a Json> {
    match value {
        Json::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, v)| v),
        Json::List(items) => {
            let index: usize = name.parse().ok()?;
            // One spelling of an index: no leading zero, no sign.
            if index.to_string() == name { items.get(index) } else { None }
        }
        _ => None,
    }
}

/// Which workloads of an issuer are which agents, with the profile that it stands in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollRule {
    /// The issuer, as [`Attested::issuer`] names it.
    pub issuer: String,
    /// Claims that it must have, each exactly so.
    pub claims: BTreeMap<String, String>,
    /// The agent: a path with `{claim}` for whole segments, such as `agent/ci/{repository_id}`.
    pub agent: String,
    /// Whether an agent that is enrolled already may come in again with another key: a workload that
    /// keeps no key over its restarts.
    pub rekey: bool,
}

/// A rule that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("enrolment rule for {issuer:?}: {detail}")]
pub struct BadRule {
    issuer: String,
    detail: String,
}

impl EnrollRule {
    /// Refuses a rule that could mean anybody, or nobody.
    pub fn check(&self) -> Result<(), BadRule> {
        let bad = |detail: String| Err(BadRule { issuer: self.issuer.clone(), detail });
        if self.issuer.is_empty() || self.issuer.len() > TEXT_BYTES_MAX {
            return bad("it names no issuer".to_owned());
        }
        if self.claims.is_empty() || self.claims.len() > CLAIMS_MAX {
            return bad(format!(
                "it demands 1 to {CLAIMS_MAX} claims, so as not to mean everybody"
            ));
        }
        let long = |text: &String| text.is_empty() || text.len() > TEXT_BYTES_MAX;
        if self.claims.iter().any(|(name, value)| long(name) || long(value)) {
            return bad(format!("a claim has 1 to {TEXT_BYTES_MAX} bytes"));
        }
        if long(&self.agent) {
            return bad(format!("the agent has 1 to {TEXT_BYTES_MAX} bytes"));
        }
        for segment in segments(&self.agent) {
            let good = match placeholder(segment) {
                Some(name) => !name.is_empty(),
                None => is_segment(segment),
            };
            if !good {
                return bad(format!("{segment:?} is no segment of a SPIFFE id, nor one {{claim}}"));
            }
        }
        Ok(())
    }

    /// Whether it means this workload.
    pub fn means(&self, shown: &Attested) -> bool {
        self.issuer == shown.issuer
            && self.claims.iter().all(|(name, value)| shown.claim(name) == Some(value))
    }

    /// Which agent the workload is; an error says which claim cannot be part of its name.
    pub fn agent(&self, shown: &Attested, domain: &TrustDomain) -> Result<AgentId, BadAgentName> {
        let mut path = String::new();
        for segment in segments(&self.agent) {
            let text = match placeholder(segment) {
                None => segment,
                Some(name) => {
                    let value = shown.claim(name);
                    let value = value.ok_or_else(|| BadAgentName::NoClaim(name.to_owned()))?;
                    if !is_segment(value) {
                        let (name, value) = (name.to_owned(), value.to_owned());
                        return Err(BadAgentName::Segment { name, value });
                    }
                    value
                }
            };
            path.push('/');
            path.push_str(text);
        }
        Ok(format!("spiffe://{domain}{path}").parse()?)
    }
}

/// Why a workload's claims name no agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAgentName {
    /// A claim that the rule uses is missing.
    #[error("the claim {0:?} is not there")]
    NoClaim(String),
    /// A claim cannot be part of a SPIFFE id.
    #[error("the claim {name:?} is {value:?}, which is no segment of a SPIFFE id")]
    Segment {
        /// The claim.
        name: String,
        /// What it says.
        value: String,
    },
    /// The whole is no SPIFFE id.
    #[error(transparent)]
    Id(#[from] BadId),
}

/// What lies between slashes; those in braces belong to a claim's pointer.
fn segments(template: &str) -> Vec<&str> {
    let mut inside = false;
    template
        .split(|c| {
            inside = c == '{' || (inside && c != '}');
            c == '/' && !inside
        })
        .collect()
}

/// The claim's name in `{name}`, which is a whole segment: of two claims in one it could not be told
/// where the first ends.
fn placeholder(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    (!name.contains(['{', '}'])).then_some(name)
}

/// A path segment of a SPIFFE id (SPIFFE-ID section 2.2): letters, digits, `-`, `.`, `_`.
fn is_segment(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !matches!(text, "" | "." | "..") && text.len() <= TEXT_BYTES_MAX && text.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(claims: &str) -> Attested {
        Attested {
            method: "jwt",
            issuer: "https://ci.example".into(),
            claims: Json::parse(claims.as_bytes()).unwrap(),
            id: [0; 32],
            once: true,
            expires_at: UnixMillis(0),
        }
    }

    fn rule(agent: &str, claims: &[(&str, &str)]) -> EnrollRule {
        let claims = claims.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        EnrollRule {
            issuer: "https://ci.example".into(),
            claims,
            agent: agent.into(),
            rekey: false,
        }
    }

    const POD: &str = r#"{"sub":"s","n":7,"list":["a","b"],
        "kubernetes.io":{"namespace":"web","serviceaccount":{"name":"app"},"a/b":"x","t~t":"y"}}"#;

    #[test]
    fn a_claim_is_a_string_by_name_or_pointer() {
        let pod = shown(POD);
        for (name, value) in [
            ("sub", Some("s")),
            ("/kubernetes.io/namespace", Some("web")),
            ("/kubernetes.io/serviceaccount/name", Some("app")),
            ("/kubernetes.io/a~1b", Some("x")),
            ("/kubernetes.io/t~0t", Some("y")),
            ("/list/1", Some("b")),
            ("/list/01", None),
            ("/list/2", None),
            ("n", None),
            ("kubernetes.io", None),
            ("", None),
            ("/", None),
        ] {
            assert_eq!(pod.claim(name), value, "{name:?}");
        }
    }

    #[test]
    fn a_rule_means_what_has_all_of_its_claims() {
        let pod = shown(POD);
        assert!(rule("a", &[("sub", "s"), ("/kubernetes.io/namespace", "web")]).means(&pod));
        for claims in [&[("sub", "S")][..], &[("sub", "s"), ("aud", "x")], &[("n", "7")]] {
            assert!(!rule("a", claims).means(&pod), "{claims:?}");
        }
        let other = Attested { issuer: "https://ci.example/".into(), ..pod };
        assert!(!rule("a", &[("sub", "s")]).means(&other), "an issuer is its very text");
    }

    #[test]
    fn a_claim_is_a_whole_segment_or_refused() {
        let domain: TrustDomain = "acme.example".parse().unwrap();
        let agent = |template: &str, sub: &str| {
            let shown = shown(&format!(r#"{{"sub":{sub:?},"k":{{"ns":"web"}}}}"#));
            rule(template, &[("sub", sub)]).agent(&shown, &domain).map(|id| id.to_string())
        };
        assert_eq!(
            agent("agent/{sub}/{/k/ns}", "ci").unwrap(),
            "spiffe://acme.example/agent/ci/web"
        );
        for sub in ["a/b", "..", ".", "", "a b", "ä", "a%2fb", "a:b", &"x".repeat(300)] {
            assert!(agent("agent/{sub}", sub).is_err(), "{sub:?}");
        }
        assert!(agent("agent/{nothing}", "ci").unwrap_err().to_string().contains("not there"));
    }

    #[test]
    fn a_rule_that_could_mean_anybody_is_none() {
        let good = rule("agent/{sub}", &[("sub", "s")]);
        good.check().unwrap();
        for agent in
            ["", "agent//x", "agent/{}", "agent/x{sub}", "agent/{a}{b}", "agent/{sub", "/x", "a/.."]
        {
            assert!(rule(agent, &[("sub", "s")]).check().is_err(), "{agent:?}");
        }
        assert!(rule("a", &[]).check().unwrap_err().to_string().contains("everybody"));
        assert!(EnrollRule { issuer: String::new(), ..good }.check().is_err());
    }

    #[test]
    fn a_rule_has_its_bounds_and_each_alone() {
        let text = |bytes: usize| "x".repeat(bytes);
        let max = TEXT_BYTES_MAX;
        let good = || rule("agent/a", &[("sub", "s")]);
        assert_eq!(good().check(), Ok(()));
        let issuer = |bytes| EnrollRule { issuer: text(bytes), ..good() }.check().is_ok();
        assert!(!issuer(0) && issuer(1) && issuer(max) && !issuer(max + 1));
        let claims = |count: usize| {
            let claims = (0..count).map(|at| (format!("c{at}"), "v".to_owned())).collect();
            EnrollRule { claims, ..good() }.check().is_ok()
        };
        assert!(!claims(0) && claims(1) && claims(CLAIMS_MAX) && !claims(CLAIMS_MAX + 1));
        let claim = |name: usize, value: usize| {
            rule("agent/a", &[(text(name).as_str(), text(value).as_str())]).check().is_ok()
        };
        assert!(claim(max, max) && claim(1, 1));
        assert!(!claim(0, 1) && !claim(1, 0) && !claim(max + 1, 1) && !claim(1, max + 1));
        let agent = |bytes: usize| rule(&text(bytes), &[("sub", "s")]).check().is_ok();
        assert!(!agent(0) && agent(1) && agent(max) && !agent(max + 1));
    }
}
