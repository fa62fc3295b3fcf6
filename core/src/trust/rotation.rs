//! The life of the broker's own keys: prepared, active, retired or tainted. SPEC 2.16.
//!
//! Owns: what each step makes of a trust bundle, and which step is due. Does not own: who may take
//! one (`decide`), who keeps the private halves and signs the bundle (the broker).
//!
//! Invariants: of each use one key signs, and there is always one; a key is published before it
//! signs, unless the one before it is tainted; a key that signs no more stays listed until all that it
//! signed is over, and a tainted one for ever; whoever holds the bundle before can take the next.

use crate::base::id::UnixMillis;
use crate::base::key::{Algorithm, PublicKey, Thumbprint};
use crate::base::limits;
use crate::refusal::Deny;
use crate::trust::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};

/// How long a key and a bundle are good: a year.
pub const KEY_MS: i64 = 365 * 24 * 3600 * 1000;

/// Keys that a bundle lists: 300 bytes each, under the 64 KiB that a bundle may have. Six uses that
/// change every quarter of a year fill it in eight years.
pub const KEYS_MAX: usize = 200;

/// Places kept free for keys that take over from a tainted one.
const EMERGENCIES: usize = 8;

/// All uses, in the order of their first numbers.
pub const USES: [KeyUse; 6] = KeyUse::ALL;

/// When keys change by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long a key signs before the next one takes over.
    pub rotate_ms: i64,
    /// How long a key is published before it signs.
    pub lead_ms: i64,
}

/// One step in the life of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// A new key is made and published, to sign from so long on.
    Prepare {
        /// What it will sign.
        use_: KeyUse,
        /// How long after it is published.
        lead_ms: i64,
    },
    /// A prepared key signs from now on, and the one before it no more.
    Activate {
        /// Which.
        key: KeyId,
        /// Also before the time that was announced: who has not heard of it refuses until then.
        at_once: bool,
    },
    /// A prepared key will not be used, or one beside the one that signs is used no more.
    Retire {
        /// Which.
        key: KeyId,
    },
    /// Nothing that it signed holds. Where it is the one that signs, the next takes over at once.
    Taint {
        /// Which.
        key: KeyId,
    },
    /// The same keys in a bundle that is good for longer.
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

/// What a step makes.
#[derive(Clone, Debug)]
pub struct NextBundle {
    /// The bundle after it.
    pub bundle: TrustBundle,
    /// The bundle key that signs it.
    pub signer: TrustedKey,
    /// The keys that changed, as they are now.
    pub changed: Vec<TrustedKey>,
}

/// How long after a key signed for the last time something that it signed may still be good.
fn longest_ms(use_: KeyUse) -> i64 {
    let seconds = match use_ {
        KeyUse::Delegation => limits::DELEGATION_SECONDS_MAX,
        KeyUse::Identity => limits::IDENTITY_SECONDS_MAX,
        KeyUse::Receipt | KeyUse::Ledger | KeyUse::Feed | KeyUse::Bundle => 0,
    };
    seconds.saturating_mul(1000).saturating_add(limits::CLOCK_SKEW_MS)
}

/// A key of a use as a bundle lists it.
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

/// Whether keys of an algorithm can be of a use: heads of the ledger are signed notes, which know
/// Ed25519 alone (C2SP signed-note).
pub fn can_be(use_: KeyUse, algorithm: Algorithm) -> bool {
    use_ != KeyUse::Ledger || algorithm == Algorithm::Ed25519
}

/// The step that is due; ask again after it.
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
            // A bundle is only believed by a key that was announced, so there is always a next one.
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
    /// What a key that a step needs is for; `None` where the step makes none.
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

    /// The bundle after a step, with the public half of the key that it makes, if it makes one.
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
        // The draft has no key that was skipped: whoever is on a later version would find it gone,
        // or, where it was tainted, could be given it anew.
        self.check_understood().map_err(|later| refused(later.to_string()))?;
        let (domain, version) = (self.trust_domain().clone(), self.version().saturating_add(1));
        let bundle = TrustBundle::new(domain, version, now, now.plus_ms(KEY_MS), next.keys);
        let bundle = bundle.map_err(|bad| Deny::KeyStep { detail: bad.to_string() })?;
        let signer = bundle.active(KeyUse::Bundle).cloned();
        let signer = signer.ok_or_else(|| refused("there would be no bundle key that signs"))?;
        let announced = self
            .key(signer.id)
            .is_some_and(|key| key.public == signer.public && key.not_before <= now);
        if !announced {
            // Nobody who holds this bundle could take the next.
            return Err(refused("no bundle key was announced that could sign the next bundle"));
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
        // Whether one is needed is looked at before this, and may have changed since.
        let made = made.ok_or_else(|| refused("the keys have changed meanwhile: ask again"))?;
        if !can_be(use_, made.algorithm()) {
            let algorithm = made.algorithm().name();
            return Err(refused(format!("no {} key is of {algorithm}", use_.name())));
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
            // It has signed nothing before.
            key.not_before = now;
        })
    }

    /// Signs no more; listed until all that it signed is over.
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
            KeyState::Tainted => Err(refused(format!("key {id} is tainted, which is more"))),
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

/// The thumbprint by which what a root key signed is revoked; `None` for keys that sign no roots.
pub fn root_of(key: &TrustedKey) -> Option<Thumbprint> {
    matches!(key.use_, KeyUse::Delegation | KeyUse::Identity).then(|| key.public.thumbprint())
}

fn refused(detail: impl Into<String>) -> Deny {
    Deny::KeyStep { detail: detail.into() }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
