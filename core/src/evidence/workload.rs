//! Workload identities: the verified claims of a platform's token, and which agent the workload is.
//! docs/SPEC section 3.7; docs/decisions/0018.
//!
//! Owns: the claims of a verified token, the rules of profiles that map them to agents. Does not
//! own: verifying the token (the broker's `enroll`), what follows from it (`decide::Enroll`).
//!
//! Invariants: a rule maps two different workloads to one agent only if it names none of the claims
//! that tell them apart; a claim that cannot be part of a SPIFFE id is refused and never changed
//! into one that can.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, BadId, TrustDomain, UnixMillis};
use crate::base::json::Json;

/// The most rules of one profile.
pub const RULES_MAX: usize = 64;

/// The most claims that one rule requires.
const CLAIMS_MAX: usize = 32;

/// The longest value of a claim, and the longest template, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The verified statement of a workload's token: signature, time and audience hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The method: `jwt`, `jwt_svid`, `x509_svid` or `federated`.
    pub method: &'static str,
    /// The issuer: its URL, or `spiffe://` and a trust domain.
    pub issuer: String,
    /// The claims.
    pub claims: Json,
    /// SHA-256 over the token or certificate.
    pub id: [u8; 32],
    /// Whether it enrolls only once, as a bearer token must. A certificate may be used again,
    /// because its key was proven.
    pub once: bool,
    /// When the token or certificate expires.
    pub expires_at: UnixMillis,
}

impl Attested {
    /// Returns a claim that is a string, by its name or by an RFC 6901 pointer; `None` when it is
    /// missing or no string.
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
    /// Returns a claim that is a whole number; `None` when it is missing or no whole number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match member(&self.claims, name) {
            Some(Json::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// Returns whether a claim is present and true.
    pub fn is_true(&self, name: &str) -> bool {
        matches!(member(&self.claims, name), Some(Json::Bool(true)))
    }
}

fn member<'a>(value: &'a Json, name: &str) -> Option<&'a Json> {
    match value {
        Json::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, v)| v),
        Json::List(items) => {
            let index: usize = name.parse().ok()?;
            // An index has one spelling: no leading zero, no sign.
            if index.to_string() == name { items.get(index) } else { None }
        }
        _ => None,
    }
}

/// A rule of a profile: which workloads of an issuer are which agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollRule {
    /// The issuer, as in [`Attested::issuer`].
    pub issuer: String,
    /// The claims that the workload must have, with their exact values.
    pub claims: BTreeMap<String, String>,
    /// The agent: a path with `{claim}` for whole segments, such as `agent/ci/{repository_id}`.
    pub agent: String,
    /// Whether an enrolled agent may enroll again with another key. This is for a workload that
    /// does not keep its key over a restart.
    pub rekey: bool,
}

/// Why a rule is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("enrolment rule for {issuer:?}: {detail}")]
pub struct BadRule {
    issuer: String,
    detail: String,
}

impl EnrollRule {
    /// Refuses a rule that would match every workload of its issuer, or none.
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

    /// Returns whether the rule matches this workload.
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

/// Returns the claim's name in `{name}`; `None` for other segments. It must be a whole segment, so
/// that two claims cannot run together.
fn placeholder(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    (!name.contains(['{', '}'])).then_some(name)
}

/// Returns whether a text is a path segment of a SPIFFE id (SPIFFE-ID section 2.2): letters,
/// digits, `-`, `.`, `_`.
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
