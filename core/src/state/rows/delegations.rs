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
    /// The id of the delegation.
    pub id: DelegationId,
    /// The principal.
    pub principal: Principal,
    /// The agent that it was issued to.
    pub agent: AgentId,
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// When it expires.
    pub expires_at: UnixMillis,
    /// The session that it was issued in; `None` when the agent's profile alone allowed it.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// The fan-out: how many recorded hops may be directly below one of its hops, as the profile
    /// said at issue.
    pub fan_out_max: u32,
    /// How many hops were recorded after the root.
    pub hops: u64,
    /// How many records of the ledger belong to it.
    pub records: u64,
    /// The leaf hash of its last record.
    pub last_leaf: [u8; 32],
}

/// A recorded hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedHop {
    /// The id of the hop.
    pub id: HopId,
    /// The id of the hop before it; `None` for the root.
    pub parent: Option<HopId>,
    /// The delegation.
    pub delegation: DelegationId,
    /// The position in the chain: 0 for the root.
    pub position: u32,
    /// The agent that holds it, or that is responsible for the helper.
    pub agent: AgentId,
    /// The helper's path; `None` when the agent itself holds it.
    pub helper: Option<HelperPath>,
    /// The thumbprint of the holder's key.
    pub key: Thumbprint,
    /// When it expires.
    pub expires_at: UnixMillis,
    /// The agent that made it, or whose helper did: the agent of the hop before it, or for the root
    /// the agent that it was issued to. The hop counts for this agent. `None` in older rows that
    /// did not count hops.
    #[serde(default)]
    pub maker: Option<AgentId>,
    /// Its index in the ledger, which the committer sets.
    pub index: u64,
}
