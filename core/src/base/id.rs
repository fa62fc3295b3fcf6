//! Names: trust domains, SPIFFE ids, helpers, principals, hops. SPEC section 3.
//!
//! Owns: the only normal form of each name. Does not own: who has a name.
//!
//! Invariants: every value is in normal form, so equal names have equal bytes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::base::limits;
use crate::base::text::{base64url_name, serde_as_text};

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// A trust domain is 1 to 255 of `[a-z0-9._-]` (SPIFFE-ID section 2.1).
    #[error("{0:?} is no trust domain: 1 to 255 of a-z 0-9 . _ -")]
    TrustDomain(String),
    /// A SPIFFE id is `spiffe://trust-domain/path`; Sublet requires at least one path segment.
    #[error(
        "{0:?} is no SPIFFE id: spiffe://trust-domain/segment/…, segments of A-Z a-z 0-9 . _ -, none of them . or .., 256 bytes at most"
    )]
    SpiffeId(String),
    /// A helper label is 1 to 63 of `[a-z0-9-]`; a helper path is labels joined by `/`.
    #[error(
        "{0:?} is no helper path: labels of 1 to 63 of a-z 0-9 -, joined by /, 512 bytes at most"
    )]
    Helper(String),
    /// A principal is `kind:name@realm` in lower case.
    #[error("{0:?} is no principal: kind:name@realm in lower case, as in user:alice@acme.example")]
    Principal(String),
    /// The text is not the expected number of bytes in base64url without padding.
    #[error("not {bytes} bytes in base64url without padding")]
    NotBase64Url {
        /// The expected number of bytes.
        bytes: usize,
    },
}

/// A SPIFFE trust domain: the namespace of agents, issuer and principals.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Returns the domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of the domain's broker: `spiffe://<domain>/sublet`.
    pub fn issuer(&self) -> SpiffeId {
        let text = format!("spiffe://{}/sublet", self.0).into();
        SpiffeId { text, domain_bytes: self.0.len() }
    }

    /// Returns the origin of the domain's ledger, as checkpoints and receipts state it:
    /// `<domain>/sublet`.
    pub fn ledger_origin(&self) -> String {
        format!("{}/sublet", self.0)
    }

    /// Returns whether a ledger of this origin belongs to the domain:
    /// [`TrustDomain::ledger_origin`], or a name below it in segments of `A-Z a-z 0-9 . _ -`, none
    /// empty, `.` or `..`.
    pub fn owns_ledger(&self, origin: &str) -> bool {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let is_segment =
            |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(ok);
        match origin.strip_prefix(&self.ledger_origin()) {
            Some("") => true,
            Some(below) => {
                below.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
            }
            None => false,
        }
    }

    /// Returns the audience of calls to the domain's broker: `sublet://<domain>`.
    pub fn broker_audience(&self) -> String {
        format!("sublet://{}", self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if (1..=255).contains(&text.len()) && text.bytes().all(ok) {
            Ok(TrustDomain(text.to_owned()))
        } else {
            Err(BadId::TrustDomain(text.chars().take(80).collect()))
        }
    }
}

/// A SPIFFE id with a path: an agent, or the broker itself.
///
/// ```
/// use sublet_core::base::id::{AgentId, Principal, TrustDomain};
///
/// let agent: AgentId = "spiffe://acme.example/agent/planner".parse()?;
/// assert_eq!((agent.trust_domain().as_str(), agent.path()), ("acme.example", "agent/planner"));
///
/// let domain: TrustDomain = "acme.example".parse()?;
/// assert_eq!(AgentId::parse_in(&domain, "agent/planner")?, agent);
/// assert_eq!(Principal::parse_in(&domain, "user:alice")?.as_str(), "user:alice@acme.example");
/// assert!("spiffe://acme.example".parse::<AgentId>().is_err()); // without a path
/// # Ok::<(), sublet_core::base::id::BadId>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    domain_bytes: usize,
}

/// The SPIFFE id of an enrolled agent.
pub type AgentId = SpiffeId;

impl SpiffeId {
    /// Returns the whole id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the trust domain of the id.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.domain().to_owned())
    }

    /// Returns whether the id belongs to this trust domain.
    pub fn is_in(&self, domain: &TrustDomain) -> bool {
        self.domain() == domain.0
    }

    fn domain(&self) -> &str {
        self.text.get(9..9 + self.domain_bytes).unwrap_or_default()
    }

    /// Returns the path without its leading slash: `agent/planner`.
    pub fn path(&self) -> &str {
        self.text.get(9 + self.domain_bytes + 1..).unwrap_or_default()
    }

    /// Splits the id after its last slash.
    pub fn split(&self) -> (&str, &str) {
        let at = self.text.rfind('/').map_or(0, |slash| slash + 1);
        self.text.split_at_checked(at).unwrap_or((&self.text, ""))
    }

    /// Parses a full SPIFFE id, or a path in `domain`, as people type it.
    pub fn parse_in(domain: &TrustDomain, text: &str) -> Result<Self, BadId> {
        if text.contains("://") {
            text.parse()
        } else {
            format!("spiffe://{}/{}", domain.as_str(), text.trim_start_matches('/')).parse()
        }
    }
}

impl FromStr for SpiffeId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId::SpiffeId(text.chars().take(300).collect());
        if text.len() > limits::SPIFFE_ID_BYTES_MAX {
            return Err(bad());
        }
        let rest = text.strip_prefix("spiffe://").ok_or_else(bad)?;
        let (domain, path) = rest.split_once('/').ok_or_else(bad)?;
        let _: TrustDomain = domain.parse().map_err(|_| bad())?;
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.bytes().all(ok);
        if path.split('/').all(segment) {
            Ok(SpiffeId { text: text.into(), domain_bytes: domain.len() })
        } else {
            Err(bad())
        }
    }
}

/// The path of a helper below its agent: `researcher-7f3/scout`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HelperPath(String);

impl HelperPath {
    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path with one more label. `None` as the parent means the agent itself.
    pub fn child(parent: Option<&HelperPath>, label: &str) -> Result<HelperPath, BadId> {
        if label.contains('/') {
            return Err(BadId::Helper(label.chars().take(80).collect()));
        }
        match parent {
            None => label.parse(),
            Some(parent) => format!("{}/{label}", parent.0).parse(),
        }
    }

    /// Returns the path without its last label; `None` for a path of one label.
    pub fn parent(&self) -> Option<HelperPath> {
        self.0.rsplit_once('/').map(|(parent, _)| HelperPath(parent.to_owned()))
    }
}

impl FromStr for HelperPath {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let label = |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(ok);
        if text.split('/').all(label) && text.len() <= limits::HELPER_PATH_BYTES_MAX {
            Ok(HelperPath(text.to_owned()))
        } else {
            Err(BadId::Helper(text.chars().take(80).collect()))
        }
    }
}

/// The person or job whose authority is used: `kind:name@realm`, where the realm is the trust
/// domain.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(Arc<str>);

impl Principal {
    /// Returns the principal as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a full principal, or `kind:name` in the realm `domain`, as people type it.
    pub fn parse_in(domain: &TrustDomain, text: &str) -> Result<Self, BadId> {
        if text.contains('@') { text.parse() } else { format!("{text}@{domain}").parse() }
    }

    /// Returns the realm: the text after the `@`.
    pub fn realm(&self) -> &str {
        self.0.rsplit_once('@').map(|(_, realm)| realm).unwrap_or_default()
    }
}

impl FromStr for Principal {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId::Principal(text.chars().take(200).collect());
        let (kind, rest) = text.split_once(':').ok_or_else(bad)?;
        let (name, realm) = rest.split_once('@').ok_or_else(bad)?;
        let _: TrustDomain = realm.parse().map_err(|_| bad())?;
        let name_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._+-".contains(&b);
        let kind_ok =
            (1..=16).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase());
        if kind_ok && (1..=128).contains(&name.len()) && name.bytes().all(name_ok) {
            Ok(Principal(text.into()))
        } else {
            Err(bad())
        }
    }
}

macro_rules! shown_as_text {
    ($($name:ident => $field:tt),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.$field) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.$field) }
        }
        serde_as_text!($name);
    )*};
}
shown_as_text!(TrustDomain => 0, SpiffeId => text, HelperPath => 0, Principal => 0);

/// The id of a hop: a hash over the content of the chain up to it. SPEC 2.6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HopId(pub [u8; 32]);

/// The id of a delegation: the id of its block 0.
pub type DelegationId = HopId;

base64url_name!(HopId, 32);

/// Sixteen random bytes that make a block or a proof unique.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce(pub [u8; 16]);

base64url_name!(Nonce, 16);

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Debug,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Returns whole seconds since 1970, rounded down, as Datalog's dates hold them.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the time of whole seconds since 1970. Saturates at the limits of `i64`.
    pub fn from_seconds(seconds: i64) -> Self {
        UnixMillis(seconds.saturating_mul(1000))
    }

    /// Returns this time plus `ms` milliseconds. Saturates at the limits of `i64`.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        UnixMillis(self.0.saturating_add(ms))
    }

    /// Returns the milliseconds from `earlier` to this time. Saturates at the limits of `i64`.
    pub fn since(self, earlier: UnixMillis) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 3.4.
    #[test]
    fn spiffe_ids_have_one_form() {
        let id: SpiffeId = "spiffe://acme.example/agent/planner".parse().unwrap();
        assert_eq!(id.trust_domain().as_str(), "acme.example");
        assert_eq!(id.path(), "agent/planner");
        for bad in [
            "spiffe://acme.example",
            "spiffe://ACME/agent",
            "spiffe://a/x//y",
            "spiffe://a/..",
            "spiffe://a/x/",
            "http://a/x",
            "spiffe://a/%41",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
    }

    // SPEC 3.4.
    #[test]
    fn principals_have_one_form() {
        assert_eq!("user:alice@acme.example".parse::<Principal>().unwrap().realm(), "acme.example");
        for bad in
            ["alice", "user:Alice@acme.example", "user:@acme.example", "user:a@b@c", "USER:a@b"]
        {
            assert!(bad.parse::<Principal>().is_err(), "{bad}");
        }
    }

    // SPEC 3.4.
    #[test]
    fn helper_paths_grow_by_one_label() {
        let top = HelperPath::child(None, "scout").unwrap();
        let below = HelperPath::child(Some(&top), "x-1").unwrap();
        assert_eq!(below.as_str(), "scout/x-1");
        assert_eq!(below.parent(), Some(top));
        assert!(HelperPath::child(None, "a/b").is_err());
        assert!(HelperPath::child(None, "UP").is_err());
    }

    #[test]
    fn a_spiffe_id_may_be_as_long_as_its_bound() {
        let of = |bytes: usize| format!("spiffe://a/{}", "x".repeat(bytes - "spiffe://a/".len()));
        assert!(of(limits::SPIFFE_ID_BYTES_MAX).parse::<SpiffeId>().is_ok());
        assert!(of(limits::SPIFFE_ID_BYTES_MAX + 1).parse::<SpiffeId>().is_err());
    }

    #[test]
    fn a_trust_domain_names_its_broker() {
        let domain: TrustDomain = "acme.example".parse().unwrap();
        assert_eq!(domain.broker_audience(), "sublet://acme.example");
        assert_eq!(domain.issuer().as_str(), "spiffe://acme.example/sublet");
        assert_eq!(domain.ledger_origin(), "acme.example/sublet");
    }
}
