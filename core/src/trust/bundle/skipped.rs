//! Which keys of a bundle are read, and which are skipped. SPEC 2.11.12 to 2.11.14.
//!
//! Owns: the form of the list of keys, [`SkippedKey`]. Does not own: what follows from a key
//! (`bundle`).
//!
//! Invariants: a key is skipped only if its use or its algorithm is unknown here; a skipped key is
//! compared (numbers, keys and uses do not pass to others, a taint stays) and accepted for nothing
//! else.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::{KeyId, KeyState, KeyUse, TrustedKey};
use super::refusal::BadBundle;
use crate::base::id::{TrustDomain, UnixMillis};
use crate::base::key::{Algorithm, PublicKey};

/// Names that are reserved for uses of later versions: keys that sign releases, leases, and SVIDs.
/// This version makes no such key, and skips one that it reads.
pub const RESERVED_USES: [&str; 3] = ["release", "lease", "svid"];

/// The signed content as JSON. It is written only if no key is skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Content {
    pub(super) trust_domain: TrustDomain,
    pub(super) version: u64,
    pub(super) issued: UnixMillis,
    pub(super) expires: UnixMillis,
    pub(super) keys: Vec<TrustedKey>,
    #[serde(skip)]
    pub(super) skipped: Vec<SkippedKey>,
}

/// A key whose use or algorithm this version does not know. It signs nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedKey {
    /// The name of its use.
    #[serde(rename = "use")]
    pub use_: String,
    /// The key's number.
    pub id: KeyId,
    /// The name of its algorithm.
    pub alg: String,
    /// The key, as it is written in the bundle.
    pub public: String,
    /// The time from which on it may sign.
    pub not_before: UnixMillis,
    /// The time from which on it may not sign.
    pub not_after: UnixMillis,
    /// The state of the key.
    pub state: KeyState,
    /// All members of the key in the bundle.
    #[serde(skip)]
    whole: Value,
}

/// The members that every key must have. A skipped key may have others.
#[derive(Deserialize)]
struct Least {
    #[serde(rename = "use")]
    use_: String,
    id: KeyId,
    alg: String,
    public: String,
    not_before: UnixMillis,
    not_after: UnixMillis,
    state: KeyState,
}

/// The members of a bundle without its signature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    trust_domain: TrustDomain,
    version: u64,
    issued: UnixMillis,
    expires: UnixMillis,
    keys: Vec<Value>,
}

impl Form {
    /// Separates the known keys from the skipped ones.
    pub(super) fn read(self) -> Result<Content, BadBundle> {
        let Form { trust_domain, version, issued, expires, keys: all } = self;
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for whole in all {
            let least: Least = of_json(&whole)?;
            let known_use = KeyUse::from_name(&least.use_).is_some();
            if known_use && Algorithm::from_name(&least.alg).is_some() {
                keys.push(of_json::<TrustedKey>(&whole)?);
            } else {
                skipped.push(least.skip(whole)?);
            }
        }
        Ok(Content { trust_domain, version, issued, expires, keys, skipped })
    }
}

fn of_json<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, BadBundle> {
    T::deserialize(value).map_err(|error| BadBundle::Form(error.to_string()))
}

impl Least {
    /// Refuses a key whose `alg` is not that of `public`. A key of a known algorithm has one text
    /// form, so no key can be listed twice in two forms.
    fn skip(self, whole: Value) -> Result<SkippedKey, BadBundle> {
        let Least { use_, id, alg, public, not_before, not_after, state } = self;
        let known = public.parse::<PublicKey>().ok().map(|key| key.algorithm());
        if known != Algorithm::from_name(&alg) {
            return Err(BadBundle::Keys(id));
        }
        Ok(SkippedKey { use_, id, alg, public, not_before, not_after, state, whole })
    }
}

/// The members of a listed key that are compared with every other key.
pub(super) struct Listed<'a> {
    pub(super) id: KeyId,
    pub(super) public: String,
    pub(super) use_: &'a str,
    pub(super) state: KeyState,
}

impl<'a> From<&'a TrustedKey> for Listed<'a> {
    fn from(key: &'a TrustedKey) -> Self {
        let TrustedKey { use_, id, public, state, .. } = key;
        Listed { id: *id, public: public.to_string(), use_: use_.name(), state: *state }
    }
}

impl<'a> From<&'a SkippedKey> for Listed<'a> {
    fn from(key: &'a SkippedKey) -> Self {
        let SkippedKey { use_, id, public, state, .. } = key;
        Listed { id: *id, public: public.clone(), use_, state: *state }
    }
}
