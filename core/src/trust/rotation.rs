//! The life of the broker's own keys: prepared, active, retired or tainted. SPEC 2.16.
//!
//! Owns: what each step makes of a trust bundle, and which step is due. Does not own: who may
//! request a step (`decide`), who keeps the private keys and signs the bundle (the broker).
//!
//! Invariants: one key of each use signs, and there is always one; a key is published before it
//! signs, unless the one before it is tainted; a retired key stays listed until everything that it
//! signed has expired, and a tainted one for ever; a reader of one bundle can follow to the next.

use crate::base::id::UnixMillis;
use crate::base::key::{Algorithm, PublicKey, Thumbprint};
use crate::base::limits;
use crate::refusal::Deny;
use crate::trust::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};

/// How long a key and a bundle are valid, in milliseconds: a year.
pub const KEY_MS: i64 = 365 * 24 * 3600 * 1000;

/// The most keys of a bundle, at 300 bytes each below its 64 KiB. Six uses that change every
/// quarter of a year reach it in eight years.
pub const KEYS_MAX: usize = 200;

/// How many places are reserved for keys that replace a tainted one.
const EMERGENCIES: usize = 8;

/// All uses, in the order of their first numbers.
pub const USES: [KeyUse; 6] = KeyUse::ALL;

/// The schedule of automatic key changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long a key signs before the next one replaces it, in milliseconds.
    pub rotate_ms: i64,
    /// How long a key is published before it signs, in milliseconds.
    pub lead_ms: i64,
}

/// One step in the life of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// A new key is made and published, to sign later.
    Prepare {
        /// The use of the key.
        use_: KeyUse,
        /// How long after its publication it may sign, in milliseconds.
        lead_ms: i64,
    },
    /// A prepared key begins to sign, and the key that signed before is retired.
    Activate {
        /// The number of the key.
        key: KeyId,
        /// Whether to activate it before its `not_before`. Readers that do not know of it refuse
        /// what it signs until then.
        at_once: bool,
    },
    /// A prepared key is dropped, or a further active key of the same use is retired.
    Retire {
        /// The number of the key.
        key: KeyId,
    },
    /// A key is declared compromised. If it is the one that signs, the next one replaces it at
    /// once.
    Taint {
        /// The number of the key.
        key: KeyId,
    },
    /// The same keys are published in a bundle that is valid for longer.
    Reissue,
}

impl std::fmt::Display for KeyStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyStep::Prepare { use_, .. } => write!(f, "prepare a {} key", use_.name()),
            KeyStep::Activate { key, .. } => write!(f, "activate key {key}"),
            KeyStep::Retire { key } => write!(f, "retire key {key}"),
            KeyStep::Taint { key } => write!(f, "taint key {key}"),
            KeyStep::Reissue => f.write_str("issue the trust bundle anew"),
        }
    }
}

/// The result of a step.
#[derive(Clone, Debug)]
pub struct NextBundle {
    /// The next bundle.
    pub bundle: TrustBundle,
    /// The bundle key that signs it.
    pub signer: TrustedKey,
    /// The changed keys, as the next bundle lists them.
    pub changed: Vec<TrustedKey>,
}

/// Returns for how long after its last signature something that a key signed may be valid, in
/// milliseconds.
fn longest_ms(use_: KeyUse) -> i64 {
    let seconds = match use_ {
        KeyUse::Delegation => limits::DELEGATION_SECONDS_MAX,
        KeyUse::Identity => limits::IDENTITY_SECONDS_MAX,
        KeyUse::Receipt | KeyUse::Ledger | KeyUse::Feed | KeyUse::Bundle => 0,
    };
    seconds.saturating_mul(1000).saturating_add(limits::CLOCK_SKEW_MS)
}

/// Returns a key as a bundle lists it, valid for [`KEY_MS`] from `from` on.
pub fn new_key(
    use_: KeyUse,
    id: KeyId,
    public: &PublicKey,
    from: UnixMillis,
    state: KeyState,
) -> TrustedKey {
    let (public, not_after) = (public.clone(), from.plus_ms(KEY_MS));
    let alg = public.algorithm().name().to_owned();
    TrustedKey { use_, id, alg, public, not_before: from, not_after, state }
}

/// Returns whether a key of this algorithm can have this use. Checkpoints are signed notes, which
/// know Ed25519 only (C2SP signed-note).
pub fn can_be(use_: KeyUse, algorithm: Algorithm) -> bool {
    use_ != KeyUse::Ledger || algorithm == Algorithm::Ed25519
}

/// Returns the step that is due; `None` when none is. Ask again after each step.
pub fn due(bundle: &TrustBundle, schedule: &Schedule, now: UnixMillis) -> Option<KeyStep> {
    for use_ in USES {
        let next = bundle.of(use_, KeyState::Prepared).min_by_key(|key| (key.not_before, key.id));
        let signs_ms = bundle.active(use_).map_or(i64::MAX, |key| now.since(key.not_before));
        let lead_ms = schedule.lead_ms;
        match next {
            Some(key) if signs_ms >= schedule.rotate_ms && key.not_before <= now => {
                return Some(KeyStep::Activate { key: key.id, at_once: false });
            }
            Some(_) => {}
            // A bundle is accepted only under a published key, so a next bundle key must always be
            // published.
            None if use_ == KeyUse::Bundle => return Some(KeyStep::Prepare { use_, lead_ms: 0 }),
            None if signs_ms >= schedule.rotate_ms.saturating_sub(lead_ms) => {
                return Some(KeyStep::Prepare { use_, lead_ms });
            }
            None => {}
        }
    }
    let half = bundle.expires().since(bundle.issued()) / 2;
    (now.since(bundle.issued()) >= half).then_some(KeyStep::Reissue)
}

impl TrustBundle {
    /// Returns the use of the key that a step needs; `None` when the step makes no key.
    pub fn makes(&self, step: &KeyStep) -> Option<KeyUse> {
        match step {
            KeyStep::Prepare { use_, .. } => Some(*use_),
            KeyStep::Taint { key } => {
                let use_ = self.key(*key).filter(|key| key.state != KeyState::Tainted)?.use_;
                let signs = |key: &&TrustedKey| {
                    key.use_ == use_ && matches!(key.state, KeyState::Active | KeyState::Prepared)
                };
                let others = self.keys().iter().filter(|other| other.id != *key);
                others.clone().all(|other| !signs(&other)).then_some(use_)
            }
            KeyStep::Activate { .. } | KeyStep::Retire { .. } | KeyStep::Reissue => None,
        }
    }

    /// Returns the bundle after a step. `made` is the public half of the new key, if the step makes
    /// one.
    pub fn step(
        &self,
        step: &KeyStep,
        now: UnixMillis,
        made: Option<&PublicKey>,
    ) -> Result<NextBundle, Deny> {
        let second = UnixMillis::from_seconds(now.seconds());
        let mut next = Draft { keys: self.keys().to_vec(), changed: Vec::new() };
        match *step {
            KeyStep::Prepare { use_, lead_ms } => {
                next.make(use_, made, second.plus_ms(lead_ms.max(0)), KeyState::Prepared)?;
            }
            KeyStep::Activate { key, at_once } => next.activate(key, second, at_once)?,
            KeyStep::Retire { key } => next.retire(key, now)?,
            KeyStep::Taint { key } => next.taint(key, second, made)?,
            KeyStep::Reissue => {}
        }
        self.then(next, now)
    }

    fn then(&self, next: Draft, now: UnixMillis) -> Result<NextBundle, Deny> {
        // The draft has no skipped keys. Readers of a later version would find the key missing, and
        // a tainted key could return.
        self.check_understood().map_err(|later| refused(later.to_string()))?;
        let (domain, version) = (self.trust_domain().clone(), self.version().saturating_add(1));
        let bundle = TrustBundle::new(domain, version, now, now.plus_ms(KEY_MS), next.keys);
        let bundle = bundle.map_err(|bad| Deny::KeyStep { detail: bad.to_string() })?;
        let signer = bundle.active(KeyUse::Bundle).cloned();
        let signer = signer.ok_or_else(|| refused("no bundle key would sign"))?;
        let announced = self
            .key(signer.id)
            .is_some_and(|key| key.public == signer.public && key.not_before <= now);
        if !announced {
            // No reader of this bundle could accept the next one.
            return Err(refused(
                "the next bundle needs a bundle key that was published before and may sign now",
            ));
        }
        Ok(NextBundle { bundle, signer, changed: next.changed })
    }
}

/// The keys of the next bundle.
struct Draft {
    keys: Vec<TrustedKey>,
    changed: Vec<TrustedKey>,
}

impl Draft {
    fn make(
        &mut self,
        use_: KeyUse,
        made: Option<&PublicKey>,
        from: UnixMillis,
        state: KeyState,
    ) -> Result<(), Deny> {
        // Whether a key is needed was checked earlier, and may have changed since.
        let made = made.ok_or_else(|| refused("the keys have changed meanwhile: ask again"))?;
        if !can_be(use_, made.algorithm()) {
            let algorithm = made.algorithm().name();
            return Err(refused(format!("a {} key cannot be of {algorithm}", use_.name())));
        }
        let kept_free = if state == KeyState::Active { 0 } else { EMERGENCIES };
        if self.keys.len() >= KEYS_MAX - kept_free {
            return Err(refused("the trust bundle lists as many keys as it may"));
        }
        let last = self.keys.iter().map(|key| key.id.0).max().unwrap_or(0);
        let key = new_key(use_, KeyId(last.saturating_add(1)), made, from, state);
        self.keys.push(key.clone());
        self.changed.push(key);
        Ok(())
    }

    fn activate(&mut self, id: KeyId, now: UnixMillis, at_once: bool) -> Result<(), Deny> {
        let key = self.find(id)?;
        match key.state {
            KeyState::Active => return Ok(()),
            KeyState::Prepared => {}
            other => return Err(refused(format!("key {id} is {}: make another", other.name()))),
        }
        if key.not_before > now && !at_once {
            return Err(Deny::KeyTooSoon { key: id, from: key.not_before.seconds() });
        }
        let use_ = key.use_;
        for before in self.keys.iter().map(|key| (key.id, key.use_, key.state)).collect::<Vec<_>>()
        {
            if (before.1, before.2) == (use_, KeyState::Active) {
                self.end(before.0, now)?;
            }
        }
        self.change(id, |key| {
            key.state = KeyState::Active;
            // The key has signed nothing before.
            key.not_before = now;
        })
    }

    /// Retires a key. It stays listed until everything that it signed has expired.
    fn end(&mut self, id: KeyId, now: UnixMillis) -> Result<(), Deny> {
        self.change(id, |key| {
            key.state = KeyState::Retired;
            key.not_after = key.not_after.min(now.plus_ms(longest_ms(key.use_)));
        })
    }

    fn retire(&mut self, id: KeyId, now: UnixMillis) -> Result<(), Deny> {
        let key = self.find(id)?.clone();
        let others = self.keys.iter().filter(|other| other.use_ == key.use_ && other.id != id);
        let signs = others.filter(|other| other.state == KeyState::Active).count();
        match key.state {
            KeyState::Retired => Ok(()),
            KeyState::Tainted => Err(refused(format!("key {id} is tainted already"))),
            KeyState::Active if signs == 0 => Err(refused(format!(
                "key {id} is the one that signs: activate the next, and it retires"
            ))),
            KeyState::Active => self.end(id, now),
            KeyState::Prepared => self.change(id, |key| {
                key.state = KeyState::Retired;
                key.not_after = key.not_after.min(now);
            }),
        }
    }

    fn taint(&mut self, id: KeyId, now: UnixMillis, made: Option<&PublicKey>) -> Result<(), Deny> {
        let key = self.find(id)?.clone();
        if key.state == KeyState::Tainted {
            return Ok(());
        }
        self.change(id, |key| key.state = KeyState::Tainted)?;
        let of_use = || self.keys.iter().filter(|other| other.use_ == key.use_);
        if of_use().any(|other| other.state == KeyState::Active) {
            return Ok(());
        }
        let prepared = of_use().filter(|other| other.state == KeyState::Prepared);
        match prepared.min_by_key(|other| (other.not_before, other.id)).map(|other| other.id) {
            Some(next) => self.activate(next, now, true),
            None => self.make(key.use_, made, now, KeyState::Active),
        }
    }

    fn find(&self, id: KeyId) -> Result<&TrustedKey, Deny> {
        let key = self.keys.iter().find(|key| key.id == id);
        key.ok_or_else(|| Deny::NotFound(format!("broker key {id}")))
    }

    fn change(&mut self, id: KeyId, change: impl FnOnce(&mut TrustedKey)) -> Result<(), Deny> {
        let key = self.keys.iter_mut().find(|key| key.id == id);
        let key = key.ok_or_else(|| Deny::NotFound(format!("broker key {id}")))?;
        change(key);
        self.changed.push(key.clone());
        Ok(())
    }
}

/// Returns the thumbprint under which the tokens of a root key are revoked; `None` for a key that
/// signs no block 0.
pub fn root_of(key: &TrustedKey) -> Option<Thumbprint> {
    matches!(key.use_, KeyUse::Delegation | KeyUse::Identity).then(|| key.public.thumbprint())
}

fn refused(detail: impl Into<String>) -> Deny {
    Deny::KeyStep { detail: detail.into() }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
