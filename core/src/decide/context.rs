//! What one decision is made from: all that it may read, and nothing else. docs/ARCHITECTURE, "The road".
//!
//! Owns: the state and settings as a decision sees them, who asks, the time and the randomness. Does not
//! own: where any of it comes from.
//!
//! Invariants: no clock, no store and no random source is asked while deciding.

use crate::base::bytes::{Label, domain, sha256};
use crate::base::id::{AgentId, Nonce, UnixMillis};
use crate::decide::caller::Caller;
use crate::refusal::Deny;
use crate::revocation::feed::Revocation;
use crate::state::{Agent, State};
use crate::trust::bundle::{KeyUse, TrustBundle, TrustedKey};
use crate::trust::rotation::Schedule;

/// What a decision may rest on, whoever asks.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The rows.
    pub state: &'a State,
    /// What the broker was set up with.
    pub settings: &'a Settings,
}

impl<'a> View<'a> {
    /// The trust bundle.
    pub fn trust(self) -> &'a TrustBundle {
        self.state.trust().bundle()
    }

    /// The key that signs for this use now.
    pub(super) fn signing(self, use_: KeyUse) -> Result<&'a TrustedKey, Deny> {
        self.trust().active(use_).ok_or(Deny::NoBrokerKey(use_.name()))
    }

    /// Whether this is revoked.
    pub(super) fn is_revoked(self, revocation: Revocation) -> bool {
        self.state.revoked(&revocation).is_some()
    }
}

/// What the broker was set up with, as far as decisions need it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an identity token lives, in seconds.
    pub identity_ttl_seconds: i64,
    /// When the broker's keys change.
    pub schedule: Schedule,
    /// How many hops that live one agent may have made, its helpers counted in.
    pub hops_live_max: u32,
}

/// Fresh randomness for one decision: 32 bytes from which named parts are derived.
#[derive(Clone, Copy)]
pub struct Entropy(pub [u8; 32]);

impl Entropy {
    /// 32 bytes for one purpose.
    pub fn bytes(&self, purpose: &str) -> [u8; 32] {
        let mut bytes = domain(Label::Entropy);
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(purpose.as_bytes());
        sha256(&bytes)
    }

    /// A nonce for one purpose.
    pub fn nonce(&self, purpose: &str) -> Nonce {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = self.bytes(purpose);
        Nonce([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

/// All that one decision is made from.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The state and the settings.
    pub view: View<'a>,
    /// Who asks.
    pub caller: &'a Caller,
    /// The time.
    pub now: UnixMillis,
    /// The randomness.
    pub entropy: &'a Entropy,
}

impl<'a> Context<'a> {
    /// The enrolled agent that asks by its identity, or a refusal.
    pub(super) fn agent(&self) -> Result<&'a Agent, Deny> {
        let id = self.caller.agent().ok_or(Deny::Forbidden(
            "only an enrolled agent may do this, with its identity token",
        ))?;
        self.known_agent(id)
    }

    /// Refuses everyone but the admin.
    pub(super) fn admin_only(&self) -> Result<(), Deny> {
        match self.caller.is_admin() {
            true => Ok(()),
            false => Err(Deny::Forbidden("only the admin may do this")),
        }
    }

    /// The row of an agent, or a refusal where there is none.
    pub(super) fn known_agent(&self, id: &AgentId) -> Result<&'a Agent, Deny> {
        self.view.state.agent(id).ok_or_else(|| Deny::UnknownAgent { agent: id.clone() })
    }
}
