//! Agents, their keys, and the credentials that they enrolled with: rows of the state. SPEC 3.7.
//!
//! Owns: the rows. Does not own: how they change (`state`), who may change them (`decide`).

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, Nonce, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::base::limits;

/// The state of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Created and not enrolled, or its key was revoked for ever. It needs a credential to enroll.
    Invited,
    /// Enrolled.
    Active,
    /// Suspended by the admin. Its tokens and its helpers' are refused.
    Suspended,
}

impl AgentState {
    /// Returns the name of the state.
    pub fn name(self) -> &'static str {
        match self {
            AgentState::Invited => "invited",
            AgentState::Active => "active",
            AgentState::Suspended => "suspended",
        }
    }
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The agent's SPIFFE id.
    pub id: AgentId,
    /// The name of its profile.
    pub profile: String,
    /// Its state.
    pub state: AgentState,
    /// Its current key; `None` before enrollment and after the key was revoked.
    pub key: Option<PublicKey>,
    /// When it was created.
    pub created_at: UnixMillis,
    /// The last identity token that it got; `None` before enrollment. A renewal with an earlier one
    /// shows that somebody has a copy.
    #[serde(default)]
    pub identity: Option<LastIdentity>,
    /// The key that it had before its last rotation; `None` when it did not rotate since it
    /// enrolled.
    #[serde(default)]
    pub former: Option<FormerKey>,
    /// How often this row was changed.
    pub version: u64,
}

impl Agent {
    /// Returns whether `key` is this agent's current key, or its previous one within
    /// `KEY_CHANGE_MS`. The overlap keeps requests signed just before a rotation from failing.
    pub fn has(&self, key: &PublicKey, now: UnixMillis) -> bool {
        let former = || {
            let former = self.former.filter(|former| former.key == key.thumbprint());
            former.is_some_and(|former| now.since(former.until) < limits::KEY_CHANGE_MS)
        };
        self.key.as_ref().is_some_and(|current| current == key || former())
    }

    /// Returns an agent that has not enrolled yet.
    pub fn invited(id: AgentId, profile: &str, now: UnixMillis) -> Self {
        Agent {
            id,
            profile: profile.to_owned(),
            state: AgentState::Invited,
            key: None,
            created_at: now,
            identity: None,
            former: None,
            version: 0,
        }
    }
}

/// The key that an agent had before its last rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerKey {
    /// The thumbprint of the key.
    pub key: Thumbprint,
    /// When the key was replaced.
    pub until: UnixMillis,
}

/// Identifies an identity token that was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastIdentity {
    /// The nonce of the token.
    pub nonce: Nonce,
    /// When it was issued, in seconds since 1970.
    pub issued_at: i64,
}

/// The owner of a key. The row is never removed: a key belongs to one agent for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOwner {
    /// The thumbprint of the key.
    pub key: Thumbprint,
    /// The agent.
    pub agent: AgentId,
    /// Whether the key was revoked for ever.
    pub revoked: bool,
}

/// The state of a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinTokenState {
    /// Not used yet.
    Open,
    /// Used once, so used up.
    Spent,
    /// Revoked by the admin.
    Revoked,
}

impl JoinTokenState {
    /// Returns the name of the state.
    pub fn name(self) -> &'static str {
        match self {
            JoinTokenState::Open => "open",
            JoinTokenState::Spent => "spent",
            JoinTokenState::Revoked => "revoked",
        }
    }
}

/// A join token. Only its hash is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Its id, a UUID.
    pub id: String,
    /// The agent that may enroll with it.
    pub agent: AgentId,
    /// SHA-256 over the token.
    pub hash: [u8; 32],
    /// When it expires.
    pub expires_at: UnixMillis,
    /// Its state.
    pub state: JoinTokenState,
    /// How often this row was changed.
    pub version: u64,
}

/// A signed token that a workload enrolled with. Its hash is stored until it expires, so that it is
/// used once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentToken {
    /// SHA-256 over the token.
    pub id: [u8; 32],
    /// When it expires.
    pub expires_at: UnixMillis,
}
