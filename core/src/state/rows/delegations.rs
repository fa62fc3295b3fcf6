//! Delegations and their recorded hops: rows of the state. SPEC section 6.
//!
//! Owns: the rows. Does not own: how they change (`state`), who may change them (`decide`).

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, DelegationId, HelperPath, HopId, Principal, UnixMillis};
use crate::base::key::Thumbprint;
use crate::state::rows::session::SessionId;

/// A delegation that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// Its id.
    pub id: DelegationId,
    /// On whose behalf.
    pub principal: Principal,
    /// The agent that it was issued to.
    pub agent: AgentId,
    /// When.
    pub issued_at: UnixMillis,
    /// When it is over.
    pub expires_at: UnixMillis,
    /// The session that it was issued in; `None` when it is by the agent's own word.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// How many recorded hops may follow one of its hops, as the profile said at issue.
    pub fan_out_max: u32,
    /// Hops recorded after the root.
    pub hops: u64,
    /// How many records of the ledger belong to it, and the leaf hash of the last.
    pub records: u64,
    /// The leaf hash of its last record.
    pub last_leaf: [u8; 32],
}

/// A hop that is in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedHop {
    /// Its id.
    pub id: HopId,
    /// The hop before it.
    pub parent: Option<HopId>,
    /// The delegation.
    pub delegation: DelegationId,
    /// 0 for the root.
    pub position: u32,
    /// The agent that holds it or answers for the helper.
    pub agent: AgentId,
    /// The helper.
    pub helper: Option<HelperPath>,
    /// The holder's key.
    pub key: Thumbprint,
    /// When it expires.
    pub expires_at: UnixMillis,
    /// The agent that made it, or whose helper did: the one that it was issued to, or that held the hop
    /// before it. The hop is counted for it. `None` in rows from before hops were counted.
    #[serde(default)]
    pub maker: Option<AgentId>,
    /// Its index in the ledger; given by the committer.
    pub index: u64,
}
