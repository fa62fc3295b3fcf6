//! The trust bundle: the public keys of a trust domain's broker, each with its use. SPEC 2.11.
//!
//! Owns: `trust.json`, its signature, its succession, and which key may have signed what at which
//! time. Does not own: how a tool gets its first bundle (an operator's file), which members of a
//! key are read (`skipped`).
//!
//! Invariants: a key has one number and one use; a bundle that was read is signed by an active
//! bundle key that it lists itself, within that key's validity. A bundle replaces an earlier one
//! only if the earlier one lists the key that signed it as active or prepared. From one bundle to
//! the next a number never passes to another key, nor a key to another number or use, and a tainted
//! key stays listed as tainted. A key whose use or algorithm is unknown to this version signs
//! nothing here, and a bundle that lists one is never signed here.

mod key;
mod refusal;
mod skipped;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::base::bytes::{Label, domain};
use crate::base::id::{TrustDomain, UnixMillis};
use crate::base::json::Json;
use crate::base::key::PublicKey;
use crate::base::sign::{Signer, SignerFault};
use crate::base::text::{base64url, from_base64url};

pub use self::key::{BUNDLE_BYTES_MAX, KeyId, KeyState, KeyUse, TrustedKey};
use self::refusal::HELD;
pub use self::refusal::{BadBundle, KeyRefusal, LaterBundle};
use self::skipped::{Content, Form, Listed};
pub use self::skipped::{RESERVED_USES, SkippedKey};

/// The keys of one trust domain's broker. Only [`TrustBundle::open`] and
/// [`TrustBundle::accept_update`] make one from bytes.
///
/// ```
/// use sublet_core::trust::bundle::{KeyId, TrustBundle};
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/world.rs")); }
/// # let (now, hour) = (world::NOW, 3_600_000);
/// # let text = world::bundle().sign(KeyId(4), &world::key(4))?;
///
/// let bundle = TrustBundle::open(text.as_bytes(), now)?; // `text` is that of a trust.json
/// assert_eq!(bundle.trust_domain().as_str(), "acme.example");
///
/// let later = now.plus_ms(48 * hour);
/// let refusal = TrustBundle::open(text.as_bytes(), later).unwrap_err();
/// assert_eq!(refusal.code(), "bundle_expired");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle(Content);

#[derive(Serialize)]
struct SignedContent<'a> {
    #[serde(flatten)]
    content: &'a Content,
    signature: BundleSignature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleSignature {
    key: KeyId,
    value: String,
}

impl TrustBundle {
    /// Returns a bundle of these keys. A number or key that occurs twice is refused, and an
    /// algorithm that is not the key's.
    pub fn new(
        trust_domain: TrustDomain,
        version: u64,
        issued: UnixMillis,
        expires: UnixMillis,
        keys: Vec<TrustedKey>,
    ) -> Result<Self, BadBundle> {
        let skipped = Vec::new();
        TrustBundle::checked(Content { trust_domain, version, issued, expires, keys, skipped })
    }

    fn checked(content: Content) -> Result<Self, BadBundle> {
        let bundle = TrustBundle(content);
        if let Some(key) = bundle.keys().iter().find(|k| k.alg != k.public.algorithm().name()) {
            return Err(BadBundle::Keys(key.id));
        }
        let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
        for key in bundle.listed() {
            if !(ids.insert(key.id) && keys.insert(key.public)) {
                return Err(BadBundle::Keys(key.id));
            }
        }
        Ok(bundle)
    }

    /// Returns every listed key, including the skipped ones.
    fn listed(&self) -> Vec<Listed<'_>> {
        let known = self.keys().iter().map(Listed::from);
        known.chain(self.skipped().iter().map(Listed::from)).collect()
    }

    /// Signs the bundle with one of its active bundle keys, whose signer this must be. Returns the
    /// text of `trust.json`. A bundle that [`TrustBundle::open`] would refuse because of its key is
    /// not signed, and none with a skipped key, because the text would leave that key out.
    pub fn sign(&self, key: KeyId, signer: &dyn Signer) -> Result<String, SignerFault> {
        let fault = |what: &dyn std::fmt::Display| SignerFault(what.to_string());
        self.check_understood().map_err(|later| fault(&later))?;
        let listed =
            self.bundle_key(key, &[KeyState::Active], self, "its own").map_err(|e| fault(&e))?;
        if listed != signer.public_key() {
            return Err(SignerFault(format!("the signer's key is not bundle key {key}")));
        }
        let plain = serde_json::to_vec(&self.0).map_err(|e| fault(&e))?;
        let (_, canonical) = Json::parse_canonicalised(&plain).map_err(|e| fault(&e))?;
        let value = base64url(signer.sign(&message(&canonical))?);
        let signed = SignedContent { content: &self.0, signature: BundleSignature { key, value } };
        let text = serde_json::to_string_pretty(&signed).map_err(|e| fault(&e))?;
        Ok(text + "\n")
    }

    /// Reads a bundle by itself: it must be valid at `now` and signed by an active bundle key that
    /// it lists, within that key's validity.
    pub fn open(text: &[u8], now: UnixMillis) -> Result<Self, BadBundle> {
        Ok(Offered::open(text, now)?.bundle)
    }

    /// Reads the bundle that shall replace this one. It must be acceptable by itself, signed by a
    /// bundle key that is active or prepared in this one, of the same domain, newer, and consistent
    /// with this one's keys. The same version with the same content is accepted. A prepared key
    /// suffices, so a reader that missed the version in which the key became active can still
    /// follow.
    pub fn accept_update(&self, text: &[u8], now: UnixMillis) -> Result<Self, BadBundle> {
        let offered = Offered::open(text, now)?;
        let announced = [KeyState::Active, KeyState::Prepared];
        offered.check_signature(self, &announced, HELD)?;
        let next = offered.bundle;
        if next.trust_domain() != self.trust_domain() {
            return Err(BadBundle::Domain {
                found: next.0.trust_domain,
                held: self.0.trust_domain.clone(),
            });
        }
        if next.version() <= self.version() && next != *self {
            return Err(BadBundle::RolledBack { found: next.version(), held: self.version() });
        }
        self.check_continuity(&next)?;
        Ok(next)
    }

    /// Returns the bundle key of this number, if it is in one of these states and was valid when
    /// `signed` was issued.
    fn bundle_key(
        &self,
        id: KeyId,
        states: &[KeyState],
        signed: &TrustBundle,
        of: &'static str,
    ) -> Result<&PublicKey, BadBundle> {
        let key = self
            .keys()
            .iter()
            .find(|key| key.id == id && key.use_ == KeyUse::Bundle && states.contains(&key.state))
            .ok_or(BadBundle::Signature(of))?;
        if !key.in_its_time(signed.issued()) {
            return Err(BadBundle::SignedOutOfTime(id));
        }
        Ok(&key.public)
    }

    /// Checks that the next bundle gives each number to the same key and use, and keeps every
    /// taint. A tainted key must stay listed, because it could return with another number.
    fn check_continuity(&self, next: &TrustBundle) -> Result<(), BadBundle> {
        let listed = next.listed();
        for held in self.listed() {
            let mut stays_tainted = held.state != KeyState::Tainted;
            for key in &listed {
                let (same_id, same_key) = (key.id == held.id, key.public == held.public);
                if same_id != same_key || (same_key && key.use_ != held.use_) {
                    return Err(BadBundle::KeyChanged(key.id));
                }
                stays_tainted |= same_key && key.state == KeyState::Tainted;
            }
            if !stays_tainted {
                return Err(BadBundle::Untainted(held.id));
            }
        }
        Ok(())
    }

    /// Checks that the bundle may be used at `now`.
    pub fn check_time(&self, now: UnixMillis) -> Result<(), BadBundle> {
        if now >= self.0.expires {
            return Err(BadBundle::Expired(self.0.expires));
        }
        if self.0.issued.since(now) > crate::base::limits::CLOCK_SKEW_MS {
            return Err(BadBundle::FromFuture);
        }
        Ok(())
    }

    /// Returns the trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.0.trust_domain
    }

    /// Returns the version. A later bundle has a greater one.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// Returns when the bundle was issued.
    pub fn issued(&self) -> UnixMillis {
        self.0.issued
    }

    /// Returns when the bundle expires.
    pub fn expires(&self) -> UnixMillis {
        self.0.expires
    }

    /// Returns the keys whose use and algorithm this version knows.
    pub fn keys(&self) -> &[TrustedKey] {
        &self.0.keys
    }

    /// Returns the keys whose use or algorithm this version does not know. Nothing that they sign
    /// is accepted.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.0.skipped
    }

    /// Refuses a bundle with a skipped key. A broker checks its own bundle with this, because the
    /// next bundle that it makes would lose the key.
    pub fn check_understood(&self) -> Result<(), LaterBundle> {
        self.skipped().first().map_or(Ok(()), |key| Err(LaterBundle(key.id, key.use_.clone())))
    }

    /// Returns the key that may have signed something of this use at this time. The error tells why
    /// there is none.
    pub fn signing_key(
        &self,
        use_: KeyUse,
        id: KeyId,
        at: UnixMillis,
    ) -> Result<&PublicKey, KeyRefusal> {
        let key = self
            .keys()
            .iter()
            .find(|key| key.id == id && key.use_ == use_)
            .ok_or(KeyRefusal::Unknown(id))?;
        match key.state {
            KeyState::Tainted => Err(KeyRefusal::Tainted(id)),
            _ if key.in_its_time(at) => Ok(&key.public),
            KeyState::Prepared if at < key.not_before => Err(KeyRefusal::Prepared(id)),
            _ => Err(KeyRefusal::OutsideItsTime(id)),
        }
    }

    /// Returns the key that may have signed a root of this use at `at` that expires at `until`. A
    /// root must not outlive its key.
    pub fn root_key(
        &self,
        use_: KeyUse,
        id: KeyId,
        (at, until): (UnixMillis, UnixMillis),
    ) -> Result<&PublicKey, KeyRefusal> {
        let public = self.signing_key(use_, id, at)?;
        match self.key(id) {
            Some(key) if until <= key.not_after => Ok(public),
            _ => Err(KeyRefusal::Outlived(id)),
        }
    }

    /// Returns the bundle for reading a ledger. It accepts what a tainted delegation or receipt key
    /// signed, because that was recorded while the key was in use; the taint itself is among the
    /// recorded revocations. Checkpoints by a tainted key are still not accepted.
    #[must_use]
    pub fn for_replay(&self) -> Self {
        self.forgetting_taints(&[KeyUse::Delegation, KeyUse::Receipt])
    }

    /// Returns the bundle without the taints of keys of these uses.
    pub(crate) fn forgetting_taints(&self, uses: &[KeyUse]) -> Self {
        let mut read = self.clone();
        for key in read.0.keys.iter_mut().filter(|key| uses.contains(&key.use_)) {
            if key.state == KeyState::Tainted {
                key.state = KeyState::Retired;
            }
        }
        read
    }

    /// Returns the key of this number; `None` when there is none.
    pub fn key(&self, id: KeyId) -> Option<&TrustedKey> {
        self.keys().iter().find(|key| key.id == id)
    }

    /// Returns the key with which the broker signs for this use: the active one, or the newest if
    /// there are two; `None` when none is active.
    pub fn active(&self, use_: KeyUse) -> Option<&TrustedKey> {
        let active = self.of(use_, KeyState::Active);
        active.max_by_key(|key| (key.not_before, key.id))
    }

    /// Returns the keys of a use that are in this state.
    pub fn of(&self, use_: KeyUse, state: KeyState) -> impl Iterator<Item = &TrustedKey> {
        self.keys().iter().filter(move |key| key.use_ == use_ && key.state == state)
    }
}

/// A bundle together with the text of its `trust.json`, as it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBundle {
    bundle: TrustBundle,
    text: Vec<u8>,
}

impl SignedBundle {
    /// Reads a bundle that its own active bundle key signed. [`TrustBundle::check_time`] tells
    /// whether it is valid now.
    pub fn read(text: Vec<u8>) -> Result<Self, BadBundle> {
        let offered = Offered::read(&text)?;
        offered.check_signature(&offered.bundle, &[KeyState::Active], "its own")?;
        Ok(SignedBundle { bundle: offered.bundle, text })
    }

    /// Returns the bundle.
    pub fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// Returns the text of `trust.json`.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// A bundle with its signature, and the message that the signature covers, from one reading.
struct Offered {
    bundle: TrustBundle,
    signature: BundleSignature,
    message: Vec<u8>,
}

impl Offered {
    /// Reads a bundle that is acceptable by itself at `now`.
    fn open(text: &[u8], now: UnixMillis) -> Result<Self, BadBundle> {
        let offered = Offered::read(text)?;
        offered.check_signature(&offered.bundle, &[KeyState::Active], "its own")?;
        offered.bundle.check_time(now)?;
        Ok(offered)
    }

    fn read(text: &[u8]) -> Result<Self, BadBundle> {
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
        let signature = serde_json::from_slice(&signature.canonical()).map_err(form)?;
        let canonical = Json::Object(rest).canonical();
        let content: Form = serde_json::from_slice(&canonical).map_err(form)?;
        let bundle = TrustBundle::checked(content.read()?)?;
        Ok(Offered { bundle, signature, message: message(&canonical) })
    }

    /// Checks that a bundle key that `by` lists in one of these states signed it.
    fn check_signature(
        &self,
        by: &TrustBundle,
        states: &[KeyState],
        of: &'static str,
    ) -> Result<(), BadBundle> {
        let key = by.bundle_key(self.signature.key, states, &self.bundle, of)?;
        let value = from_base64url(&self.signature.value).unwrap_or_default();
        if key.verify(&self.message, &value) { Ok(()) } else { Err(BadBundle::Signature(of)) }
    }
}

fn message(canonical: &[u8]) -> Vec<u8> {
    [domain(Label::TrustBundle).as_slice(), canonical].concat()
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
