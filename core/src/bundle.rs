//! The trust bundle: which public keys a trust domain's broker signs with, and for what. SPEC 2.11.
//!
//! Owns: `trust.json`, its signature, its succession, and which key may have signed what when.
//! Does not own: how a first bundle reaches a tool (an operator's file).
//!
//! Invariants: signed by a bundle key that it lists; a key has one use; a later version replaces
//! an earlier one only when the earlier one's bundle key signed it, and never the reverse.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::bytes::domain;
use crate::id::{TrustDomain, UnixMillis};
use crate::json::{BadJson, Json};
use crate::key::PublicKey;
use crate::sign::{Signer, SignerFault};
use crate::text::{base64url, from_base64url};

/// A bundle's bytes: some 200 a key, room for hundreds of keys.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024;

/// A key's number, unique in its bundle. Selects a key and is trusted for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a key signs. A key has one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// Block 0 of delegations.
    Delegation,
    /// Identity tokens.
    Identity,
    /// Receipts.
    Receipt,
    /// Checkpoints of the ledger.
    Ledger,
    /// Heads of the revocation feed.
    Feed,
    /// Trust bundles.
    Bundle,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published ahead; has signed nothing yet.
    Prepared,
    /// Signs.
    Active,
    /// Signs no more; what it signed in its time holds.
    Retired,
    /// Compromised: nothing that it signed holds.
    Tainted,
}

/// One key of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// What it signs.
    #[serde(rename = "use")]
    pub use_: KeyUse,
    /// Its number.
    pub id: KeyId,
    /// Its algorithm; must be that of `public`.
    pub alg: String,
    /// The key.
    pub public: PublicKey,
    /// From when it may sign.
    pub not_before: UnixMillis,
    /// From when it may sign no more.
    pub not_after: UnixMillis,
    /// Where it is in its life.
    pub state: KeyState,
}

/// The keys of one trust domain's broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    version: u64,
    issued: UnixMillis,
    expires: UnixMillis,
    keys: Vec<TrustedKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedBundle {
    trust_domain: TrustDomain,
    version: u64,
    issued: UnixMillis,
    expires: UnixMillis,
    keys: Vec<TrustedKey>,
    signature: BundleSignature,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleSignature {
    key: KeyId,
    value: String,
}

/// Why a bundle is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBundle {
    /// Larger than [`BUNDLE_BYTES_MAX`].
    #[error("larger than {BUNDLE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// Not the form of a bundle.
    #[error("not the form of a trust bundle: {0}")]
    Form(String),
    /// One number for two keys, one key twice, or an algorithm that is not its key's.
    #[error("key {0} stands twice, or has two uses, or is not of its algorithm")]
    Keys(KeyId),
    /// Not signed by an active bundle key.
    #[error("not signed by an active bundle key of {0}")]
    Signature(&'static str),
    /// Over.
    #[error("it expired")]
    Expired,
    /// Issued in the future.
    #[error("it is issued in the future")]
    FromFuture,
    /// Of another trust domain.
    #[error("it is of the trust domain {found}, not of {held}")]
    Domain {
        /// What it is of.
        found: TrustDomain,
        /// What is held.
        held: TrustDomain,
    },
    /// Older than the one held, or as old and different.
    #[error("version {found} does not follow version {held}")]
    RolledBack {
        /// Its version.
        found: u64,
        /// The version held.
        held: u64,
    },
}

impl BadBundle {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadBundle::TooLarge => "bundle_too_large",
            BadBundle::Json(_) | BadBundle::Form(_) => "bundle_form",
            BadBundle::Keys(_) => "bundle_keys",
            BadBundle::Signature(_) => "bundle_signature",
            BadBundle::Expired => "bundle_expired",
            BadBundle::FromFuture => "bundle_from_future",
            BadBundle::Domain { .. } => "bundle_domain",
            BadBundle::RolledBack { .. } => "bundle_rolled_back",
        }
    }
}

/// Why a key may not have signed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// The bundle lists no such key for this use.
    #[error("key {0} is not in the trust bundle for this use")]
    Unknown(KeyId),
    /// It is published ahead and signs nothing yet.
    #[error("key {0} is not in use yet")]
    Prepared(KeyId),
    /// It was signed outside the key's time.
    #[error("key {0} was not valid when this was signed")]
    OutsideItsTime(KeyId),
    /// The key is tainted.
    #[error("key {0} is tainted: nothing that it signed holds")]
    Tainted(KeyId),
}

impl KeyRefusal {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            KeyRefusal::Unknown(_) => "unknown_key",
            KeyRefusal::Prepared(_) => "key_prepared",
            KeyRefusal::OutsideItsTime(_) => "key_outside_its_time",
            KeyRefusal::Tainted(_) => "key_tainted",
        }
    }
}

impl TrustBundle {
    /// A bundle of these keys; refuses numbers or keys that stand twice.
    pub fn new(
        trust_domain: TrustDomain,
        version: u64,
        issued: UnixMillis,
        expires: UnixMillis,
        keys: Vec<TrustedKey>,
    ) -> Result<Self, BadBundle> {
        let bundle = TrustBundle { trust_domain, version, issued, expires, keys };
        bundle.check_keys()?;
        Ok(bundle)
    }

    fn check_keys(&self) -> Result<(), BadBundle> {
        let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
        for key in &self.keys {
            let fresh = ids.insert(key.id) && keys.insert(key.public.thumbprint());
            if !fresh || key.alg != key.public.algorithm().name() {
                return Err(BadBundle::Keys(key.id));
            }
        }
        Ok(())
    }

    /// Signs the bundle with one of its bundle keys; the text of `trust.json`.
    pub fn sign(&self, key: KeyId, signer: &dyn Signer) -> Result<String, SignerFault> {
        let fault = |what: &dyn std::fmt::Display| SignerFault(what.to_string());
        let plain = serde_json::to_vec(self).map_err(|e| fault(&e))?;
        let (_, canonical) = Json::parse_canonicalised(&plain).map_err(|e| fault(&e))?;
        let value = base64url(signer.sign(&message(&canonical))?);
        let signed = SignedBundle {
            trust_domain: self.trust_domain.clone(),
            version: self.version,
            issued: self.issued,
            expires: self.expires,
            keys: self.keys.clone(),
            signature: BundleSignature { key, value },
        };
        let text = serde_json::to_string_pretty(&signed).map_err(|e| fault(&e))?;
        Ok(text + "\n")
    }

    /// Reads a bundle that stands on its own: signed by an active bundle key that it lists, and
    /// not over.
    pub fn open(text: &[u8], now: UnixMillis) -> Result<Self, BadBundle> {
        let (bundle, signature, message) = read(text)?;
        bundle.check_signature(&signature, &message, "its own")?;
        bundle.check_time(now)?;
        Ok(bundle)
    }

    /// Reads a bundle that shall take this one's place: signed by an active bundle key of this
    /// one, of the same domain, and newer. The same version with the same content is no change.
    pub fn accept_update(&self, text: &[u8], now: UnixMillis) -> Result<Self, BadBundle> {
        let (next, signature, message) = read(text)?;
        self.check_signature(&signature, &message, "the bundle held")?;
        next.check_time(now)?;
        if next.trust_domain != self.trust_domain {
            return Err(BadBundle::Domain {
                found: next.trust_domain,
                held: self.trust_domain.clone(),
            });
        }
        if next.version > self.version || next == *self {
            return Ok(next);
        }
        Err(BadBundle::RolledBack { found: next.version, held: self.version })
    }

    fn check_signature(
        &self,
        signature: &BundleSignature,
        message: &[u8],
        of: &'static str,
    ) -> Result<(), BadBundle> {
        let key = self.keys.iter().find(|key| {
            key.id == signature.key && key.use_ == KeyUse::Bundle && key.state == KeyState::Active
        });
        let value = from_base64url(&signature.value).unwrap_or_default();
        match key {
            Some(key) if key.public.verify(message, &value) => Ok(()),
            _ => Err(BadBundle::Signature(of)),
        }
    }

    /// Whether the bundle may be used now.
    pub fn check_time(&self, now: UnixMillis) -> Result<(), BadBundle> {
        if now >= self.expires {
            return Err(BadBundle::Expired);
        }
        if self.issued.since(now) > crate::limits::CLOCK_SKEW_MS {
            return Err(BadBundle::FromFuture);
        }
        Ok(())
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The version; later bundles have greater ones.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it was issued.
    pub fn issued(&self) -> UnixMillis {
        self.issued
    }

    /// When it is over.
    pub fn expires(&self) -> UnixMillis {
        self.expires
    }

    /// All keys.
    pub fn keys(&self) -> &[TrustedKey] {
        &self.keys
    }

    /// The key that may have signed something of this use at that time.
    pub fn signing_key(
        &self,
        use_: KeyUse,
        id: KeyId,
        at: UnixMillis,
    ) -> Result<&PublicKey, KeyRefusal> {
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id && key.use_ == use_)
            .ok_or(KeyRefusal::Unknown(id))?;
        match key.state {
            KeyState::Tainted => Err(KeyRefusal::Tainted(id)),
            KeyState::Prepared => Err(KeyRefusal::Prepared(id)),
            KeyState::Active | KeyState::Retired if at < key.not_before || at >= key.not_after => {
                Err(KeyRefusal::OutsideItsTime(id))
            }
            KeyState::Active | KeyState::Retired => Ok(&key.public),
        }
    }
}

/// The bundle, its signature, and the message that the signature covers, all from one reading.
fn read(text: &[u8]) -> Result<(TrustBundle, BundleSignature, Vec<u8>), BadBundle> {
    if text.len() > BUNDLE_BYTES_MAX {
        return Err(BadBundle::TooLarge);
    }
    let Json::Object(members) = Json::parse(text)? else {
        return Err(BadBundle::Form("not an object".into()));
    };
    let (signature, rest): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|(name, _)| name == "signature");
    let [(_, signature)] = signature.as_slice() else {
        return Err(BadBundle::Form("no signature".into()));
    };
    let form = |error: serde_json::Error| BadBundle::Form(error.to_string());
    let signature: BundleSignature =
        serde_json::from_slice(&signature.canonical()).map_err(form)?;
    let canonical = Json::Object(rest).canonical();
    let bundle: TrustBundle = serde_json::from_slice(&canonical).map_err(form)?;
    bundle.check_keys()?;
    Ok((bundle, signature, message(&canonical)))
}

fn message(canonical: &[u8]) -> Vec<u8> {
    [domain("trust-bundle-v1").as_slice(), canonical].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SecretKey;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn key(id: u32, use_: KeyUse, seed: u8) -> TrustedKey {
        TrustedKey {
            use_,
            id: KeyId(id),
            alg: "ed25519".into(),
            public: SecretKey::ed25519_from_seed([seed; 32]).public_key().clone(),
            not_before: UnixMillis(0),
            not_after: UnixMillis(2_000_000),
            state: KeyState::Active,
        }
    }

    fn bundle(version: u64, keys: Vec<TrustedKey>) -> TrustBundle {
        let domain = "acme.example".parse().unwrap();
        TrustBundle::new(domain, version, NOW, UnixMillis(3_000_000), keys).unwrap()
    }

    fn keys() -> Vec<TrustedKey> {
        vec![key(1, KeyUse::Delegation, 1), key(2, KeyUse::Bundle, 2)]
    }

    fn sign(bundle: &TrustBundle, seed: u8) -> String {
        bundle.sign(KeyId(2), &SecretKey::ed25519_from_seed([seed; 32])).unwrap()
    }

    #[test]
    fn opens_what_it_signed_and_nothing_changed() {
        let text = sign(&bundle(1, keys()), 2);
        assert_eq!(TrustBundle::open(text.as_bytes(), NOW), Ok(bundle(1, keys())));
        let changed = text.replace("2000000", "2000001");
        assert_eq!(
            TrustBundle::open(changed.as_bytes(), NOW),
            Err(BadBundle::Signature("its own"))
        );
        let unknown = text.replacen('{', "{\"more\": 1,", 1);
        assert!(matches!(TrustBundle::open(unknown.as_bytes(), NOW), Err(BadBundle::Form(_))));
        assert_eq!(
            TrustBundle::open(text.as_bytes(), UnixMillis(3_000_000)),
            Err(BadBundle::Expired)
        );
        let foreign = sign(&bundle(1, keys()), 9);
        assert_eq!(
            TrustBundle::open(foreign.as_bytes(), NOW),
            Err(BadBundle::Signature("its own"))
        );
    }

    #[test]
    fn an_update_is_signed_by_the_bundle_held_and_never_rolls_back() {
        let held = bundle(2, keys());
        assert!(held.accept_update(sign(&bundle(3, keys()), 2).as_bytes(), NOW).is_ok());
        assert!(held.accept_update(sign(&held, 2).as_bytes(), NOW).is_ok());
        let back = held.accept_update(sign(&bundle(1, keys()), 2).as_bytes(), NOW);
        assert_eq!(back, Err(BadBundle::RolledBack { found: 1, held: 2 }));
        let usurper = bundle(3, vec![key(1, KeyUse::Delegation, 1), key(2, KeyUse::Bundle, 9)]);
        let taken = held.accept_update(sign(&usurper, 9).as_bytes(), NOW);
        assert_eq!(taken, Err(BadBundle::Signature("the bundle held")));
    }

    #[test]
    fn a_key_has_one_use_and_one_number() {
        let domain: TrustDomain = "acme.example".parse().unwrap();
        let two =
            |a, b| TrustBundle::new(domain.clone(), 1, NOW, UnixMillis(3_000_000), vec![a, b]);
        assert!(two(key(1, KeyUse::Delegation, 1), key(2, KeyUse::Identity, 1)).is_err());
        assert!(two(key(1, KeyUse::Delegation, 1), key(1, KeyUse::Identity, 2)).is_err());
    }

    #[test]
    fn keys_sign_in_their_time_and_for_their_use() {
        let mut keys = keys();
        keys.push(TrustedKey { state: KeyState::Tainted, ..key(3, KeyUse::Delegation, 3) });
        keys.push(TrustedKey { state: KeyState::Prepared, ..key(4, KeyUse::Delegation, 4) });
        keys.push(TrustedKey { state: KeyState::Retired, ..key(5, KeyUse::Delegation, 5) });
        let bundle = bundle(1, keys);
        let ask = |use_, id, at| bundle.signing_key(use_, KeyId(id), UnixMillis(at)).map(|_| ());
        assert_eq!(ask(KeyUse::Delegation, 1, 5), Ok(()));
        assert_eq!(ask(KeyUse::Identity, 1, 5), Err(KeyRefusal::Unknown(KeyId(1))));
        assert_eq!(
            ask(KeyUse::Delegation, 1, 2_000_000),
            Err(KeyRefusal::OutsideItsTime(KeyId(1)))
        );
        assert_eq!(ask(KeyUse::Delegation, 3, 5), Err(KeyRefusal::Tainted(KeyId(3))));
        assert_eq!(ask(KeyUse::Delegation, 4, 5), Err(KeyRefusal::Prepared(KeyId(4))));
        assert_eq!(ask(KeyUse::Delegation, 5, 5), Ok(()));
    }
}
