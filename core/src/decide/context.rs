//! The input of one decision: everything that it may read, and nothing else. docs/ARCHITECTURE,
//! "The road".
//!
//! Owns: the state and settings as a decision sees them, the caller, the time and the randomness.
//! Does not own: where any of it comes from.
//!
//! Invariants: a decision reads no clock, no store and no random source.

use crate::base::bytes::{Label, domain, sha256};
use crate::base::id::{AgentId, Nonce, UnixMillis};
use crate::decide::caller::Caller;
use crate::refusal::Deny;
use crate::revocation::feed::Revocation;
use crate::state::{Agent, State};
use crate::trust::bundle::{KeyUse, TrustBundle, TrustedKey};
use crate::trust::rotation::Schedule;

/// What a decision may read, whoever the caller is.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The rows.
    pub state: &'a State,
    /// The broker's settings.
    pub settings: &'a Settings,
}

impl<'a> View<'a> {
    /// Returns the trust bundle.
    pub fn trust(self) -> &'a TrustBundle {
        self.state.trust().bundle()
    }

    /// The key that signs for this use at `now`. It is refused before its time, because no verifier accepts what
    /// it signs then. An active key has such a time ahead if the clock was set back since it was activated.
    pub(super) fn signing(self, use_: KeyUse, now: UnixMillis) -> Result<&'a TrustedKey, Deny> {
        let key = self.trust().active(use_).ok_or(Deny::NoBrokerKey(use_.name()))?;
        // Tokens state whole seconds.
        if UnixMillis::from_seconds(now.seconds()) < key.not_before {
            return Err(Deny::KeyTooSoon { key: key.id, from: key.not_before.seconds() });
        }
        Ok(key)
    }

    /// Returns whether this subject is revoked.
    pub(super) fn is_revoked(self, revocation: Revocation) -> bool {
        self.state.revoked(&revocation).is_some()
    }
}

/// The broker's settings that decisions use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The lifetime of an identity token, in seconds.
    pub identity_ttl_seconds: i64,
    /// When the broker's keys change.
    pub schedule: Schedule,
    /// How many live hops an agent and its helpers may have made.
    pub hops_live_max: u32,
}

/// The randomness of one decision: 32 bytes from which named parts are derived.
#[derive(Clone, Copy)]
pub struct Entropy(pub [u8; 32]);

impl Entropy {
    /// Returns 32 bytes for one purpose.
    pub fn bytes(&self, purpose: &str) -> [u8; 32] {
        let mut bytes = domain(Label::Entropy);
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(purpose.as_bytes());
        sha256(&bytes)
    }

    /// Returns a nonce for one purpose.
    pub fn nonce(&self, purpose: &str) -> Nonce {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = self.bytes(purpose);
        Nonce([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

/// The whole input of one decision.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The state and the settings.
    pub view: View<'a>,
    /// The caller.
    pub caller: &'a Caller,
    /// The time.
    pub now: UnixMillis,
    /// The randomness.
    pub entropy: &'a Entropy,
}

impl<'a> Context<'a> {
    /// Returns the enrolled agent that calls with its identity. Any other caller is refused.
    pub(super) fn agent(&self) -> Result<&'a Agent, Deny> {
        let id = self.caller.agent().ok_or(Deny::Forbidden(
            "only an enrolled agent may do this, with its identity token",
        ))?;
        self.known_agent(id)
    }

    /// Refuses every caller but the admin.
    pub(super) fn admin_only(&self) -> Result<(), Deny> {
        match self.caller.is_admin() {
            true => Ok(()),
            false => Err(Deny::Forbidden("only the admin may do this")),
        }
    }

    /// Returns the row of an agent. An unknown one is refused.
    pub(super) fn known_agent(&self, id: &AgentId) -> Result<&'a Agent, Deny> {
        self.view.state.agent(id).ok_or_else(|| Deny::UnknownAgent { agent: id.clone() })
    }
}
