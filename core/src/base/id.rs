//! Names: trust domains, SPIFFE ids, helpers, principals, hops. SPEC section 3.
//!
//! Owns: the one normal form of each name. Does not own: who may bear it.
//!
//! Invariants: a name that exists is in normal form, so equal names are equal bytes.

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
    /// A SPIFFE id is `spiffe://trust-domain/path`, with at least one path segment here.
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
    /// A fixed number of bytes in base64url without padding.
    #[error("not {bytes} bytes in base64url without padding")]
    NotBase64Url {
        /// How many bytes the name has.
        bytes: usize,
    },
}

/// A SPIFFE trust domain: the namespace under which agents, issuer and principals live.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the broker of this domain: `spiffe://<domain>/sublet`.
    pub fn issuer(&self) -> SpiffeId {
        let text = format!("spiffe://{}/sublet", self.0).into();
        SpiffeId { text, domain_bytes: self.0.len() }
    }

    /// The name of this domain's ledger, as its heads and receipts say it: `<domain>/sublet`.
    pub fn ledger_origin(&self) -> String {
        format!("{}/sublet", self.0)
    }

    /// Whether a ledger of this name is this domain's: [`TrustDomain::ledger_origin`], or a name below it, in
    /// segments of `A-Z a-z 0-9 . _ -` of which none is empty, `.` or `..`.
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

    /// The audience of calls to the broker of this domain: `sublet://<domain>`.
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
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    domain_bytes: usize,
}

/// The SPIFFE id of an enrolled agent.
pub type AgentId = SpiffeId;

impl SpiffeId {
    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain it belongs to.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.domain().to_owned())
    }

    /// Whether it belongs to this trust domain.
    pub fn is_in(&self, domain: &TrustDomain) -> bool {
        self.domain() == domain.0
    }

    fn domain(&self) -> &str {
        self.text.get(9..9 + self.domain_bytes).unwrap_or_default()
    }

    /// The path behind the domain, without its leading slash: `agent/planner`.
    pub fn path(&self) -> &str {
        self.text.get(9 + self.domain_bytes + 1..).unwrap_or_default()
    }

    /// The id up to and with its last slash, and what is behind it.
    pub fn split(&self) -> (&str, &str) {
        let at = self.text.rfind('/').map_or(0, |slash| slash + 1);
        self.text.split_at_checked(at).unwrap_or((&self.text, ""))
    }

    /// A full SPIFFE id, or a path behind `domain`: what people type.
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
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path with one more label below it.
    pub fn child(parent: Option<&HelperPath>, label: &str) -> Result<HelperPath, BadId> {
        if label.contains('/') {
            return Err(BadId::Helper(label.chars().take(80).collect()));
        }
        match parent {
            None => label.parse(),
            Some(parent) => format!("{}/{label}", parent.0).parse(),
        }
    }

    /// The path without its last label; `None` at the top.
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

/// On whose behalf: `kind:name@realm`, where the realm is the trust domain.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The principal as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A full principal, or `kind:name` of the realm `domain`: what people type.
    pub fn parse_in(domain: &TrustDomain, text: &str) -> Result<Self, BadId> {
        if text.contains('@') { text.parse() } else { format!("{text}@{domain}").parse() }
    }

    /// What stands behind the `@`.
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

/// The id of a hop, a hash over the content of the chain up to it. SPEC 2.6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HopId(pub [u8; 32]);

/// A delegation is named by the id of its block 0.
pub type DelegationId = HopId;

base64url_name!(HopId, 32);

/// Sixteen random bytes that make a block or a proof unique.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce(pub [u8; 16]);

base64url_name!(Nonce, 16);

/// Milliseconds since the Unix epoch.
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
    /// Whole seconds since the epoch, rounded down: what Datalog's dates hold.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The instant of whole seconds; saturates at the ends of time.
    pub fn from_seconds(seconds: i64) -> Self {
        UnixMillis(seconds.saturating_mul(1000))
    }

    /// This instant and so many milliseconds; saturates at the ends of time.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        UnixMillis(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; saturates.
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
