//! Agents, their keys, and what they came in with: rows of the state. SPEC 3.7.
//!
//! Owns: the rows. Does not own: how they change (`state`), who may change them (`decide`).

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, Nonce, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::base::limits;

/// What an agent may do at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Created, has not enrolled, or lost its key for ever: needs a join token.
    Invited,
    /// Enrolled.
    Active,
    /// Stopped by an admin; its tokens and its helpers' are refused.
    Suspended,
}

impl AgentState {
    /// The word for it.
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
    /// Its id.
    pub id: AgentId,
    /// Its profile's name.
    pub profile: String,
    /// Its state.
    pub state: AgentState,
    /// Its current key; `None` before enrollment and after its key was revoked.
    pub key: Option<PublicKey>,
    /// When it was created.
    pub created_at: UnixMillis,
    /// The identity token that it got last: whoever renews with an older one has a copy.
    #[serde(default)]
    pub identity: Option<LastIdentity>,
    /// The key that it had until it rotated; `None` once it came in anew.
    #[serde(default)]
    pub former: Option<FormerKey>,
    /// Counts changes of this row.
    pub version: u64,
}

impl Agent {
    /// Whether a key is the agent's, or was until a moment ago: what is asked, and what is handed to it,
    /// while its key changes must not be refused.
    pub fn has(&self, key: &PublicKey, now: UnixMillis) -> bool {
        let former = || {
            let former = self.former.filter(|former| former.key == key.thumbprint());
            former.is_some_and(|former| now.since(former.until) < limits::KEY_CHANGE_MS)
        };
        self.key.as_ref().is_some_and(|current| current == key || former())
    }

    /// An agent that has not come in yet.
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

/// The key of before a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerKey {
    /// Which.
    pub key: Thumbprint,
    /// When the agent had another.
    pub until: UnixMillis,
}

/// Names an identity token that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastIdentity {
    /// Its nonce.
    pub nonce: Nonce,
    /// When, in seconds.
    pub issued_at: i64,
}

/// Whose a key is. Never removed: a key belongs to one agent, ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOwner {
    /// The key.
    pub key: Thumbprint,
    /// The agent.
    pub agent: AgentId,
    /// Whether it was revoked for ever.
    pub revoked: bool,
}

/// The state of a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinTokenState {
    /// Not used yet.
    Open,
    /// Used, once.
    Spent,
    /// Revoked by an admin.
    Revoked,
}

impl JoinTokenState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            JoinTokenState::Open => "open",
            JoinTokenState::Spent => "spent",
            JoinTokenState::Revoked => "revoked",
        }
    }
}

/// A join token: only its hash is kept.
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
    /// Counts changes of this row.
    pub version: u64,
}

/// A signed token that was enrolled with: kept as a hash until it is over, so that it is used once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentToken {
    /// SHA-256 over the token.
    pub id: [u8; 32],
    /// When it is over.
    pub expires_at: UnixMillis,
}
