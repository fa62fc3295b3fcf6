//! Reads. They are decided like every other request; a granted read has no effects.
//!
//! What a caller may not see gets the same answer as what does not exist.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, DelegationId, HopId};
use crate::decide::caller::Kind;
use crate::decide::query::list::may_see;
use crate::decide::{Context, Decision, Grant, Operation};
use crate::evidence::record::Body;
use crate::refusal::Deny;
use crate::revocation::feed::Revocation;
use crate::state::{Agent, Profile};
use crate::token::verify::VerifiedToken;

/// Returns an agent's current key and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetAgentKey {
    /// The agent.
    pub agent: AgentId,
}

impl Operation for GetAgentKey {
    type Granted = Agent;
    const METHOD: &'static str = "/sublet.v1.Identity/GetAgentKey";

    fn describe(&self) -> String {
        format!("agent {}", self.agent)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Agent> {
        Ok(Grant::read(cx.known_agent(&self.agent)?.clone()))
    }
}

/// Returns what the broker knows of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// The chain.
    pub token: Arc<VerifiedToken>,
}

/// What the broker knows of one hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedHop {
    /// The id of the hop.
    pub id: HopId,
    /// Its ledger index; `None` when it is not recorded.
    pub index: Option<u64>,
    /// Whether the hop itself is revoked.
    pub revoked: bool,
    /// Whether the hop itself has expired.
    pub expired: bool,
}

/// What the broker knows of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// Each hop, root first.
    pub hops: Vec<InspectedHop>,
    /// Why the chain as a whole is not valid, as text; `None` while it is valid.
    pub dead: Option<String>,
}

impl Operation for Inspect {
    type Granted = Inspected;
    const METHOD: &'static str = "/sublet.v1.Delegation/Inspect";

    fn describe(&self) -> String {
        format!("delegation {}", self.token.delegation())
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Inspected> {
        check_appears(cx, &self.token)?;
        let hops = self.token.hops().map(|(id, signed)| InspectedHop {
            id,
            index: cx.view.state.hop(&id).map(|row| row.index),
            revoked: cx.view.is_revoked(Revocation::Hop(id)),
            expired: cx.now.seconds() >= signed.block().not_after,
        });
        let alive = crate::decide::authority::chain::check_revocations(&self.token, cx.view.state)
            .and_then(|()| crate::decide::authority::chain::check_time(&self.token, cx.now));
        let dead = alive.err().map(|deny| deny.to_string());
        Ok(Grant::read(Inspected { hops: hops.collect(), dead }))
    }
}

/// Returns the ledger indices for the proof that every hop of a chain is in the ledger; for callers
/// that may inspect the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetInclusionProof {
    /// The chain.
    pub token: Arc<VerifiedToken>,
}

impl Operation for GetInclusionProof {
    /// The ledger indices of its hops, root first.
    type Granted = Vec<u64>;
    const METHOD: &'static str = "/sublet.v1.Delegation/GetInclusionProof";

    fn describe(&self) -> String {
        format!("proof that the hops of delegation {} are recorded", self.token.delegation())
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Vec<u64>> {
        check_appears(cx, &self.token)?;
        let indices = cx.view.state.indices(&self.token.id()).ok_or(Deny::HopNotFound)?;
        Ok(Grant::read(indices))
    }
}

/// Refuses a caller that is not in the chain, as if there were no such chain.
fn check_appears(cx: &Context<'_>, token: &VerifiedToken) -> Result<(), Deny> {
    let appears = match cx.caller.kind() {
        Kind::Admin => true,
        Kind::Agent(identity) => {
            let id = &identity.root().agent;
            token.signed_blocks().iter().any(|signed| signed.block().agent == *id)
        }
        Kind::Holder(own) => token.hops().any(|(id, _)| id == own.id()),
        Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => false,
    };
    match appears {
        true => Ok(()),
        false => Err(Deny::NotFound(format!("delegation {}", token.delegation()))),
    }
}

/// Which records of a delegation a caller may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The delegation.
    pub delegation: DelegationId,
    /// The hop at and below which records may be seen; `None` when all may.
    pub below: Option<HopId>,
}

/// Returns the records of one delegation: all of them to the admin and the agent that it was issued
/// to; to the holder of a hop, by its token, those at or below that hop. It does not learn what
/// others do with their own hops, and with which arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The delegation.
    pub delegation: DelegationId,
}

impl Operation for Replay {
    type Granted = Replayed;
    const METHOD: &'static str = "/sublet.v1.Audit/Replay";

    fn describe(&self) -> String {
        format!("the records of delegation {}", self.delegation)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Replayed> {
        let row = cx.view.state.delegation(&self.delegation).filter(|row| may_see(cx.caller, row));
        let row = row.ok_or_else(|| Deny::NotFound(format!("delegation {}", self.delegation)))?;
        let below = match cx.caller.kind() {
            Kind::Holder(token) if token.depth() > 0 => Some(token.id()),
            _ => None,
        };
        Ok(Grant::read(Replayed { delegation: row.id, below }))
    }
}

/// Returns the ledger from a record on; for the admin. With payloads it is an export, which is
/// recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLedger {
    /// The index of the first record.
    pub from: u64,
    /// Whether payloads are included.
    pub payloads: bool,
}

impl Operation for ReadLedger {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/StreamRecords";

    fn describe(&self) -> String {
        let what = if self.payloads { "records and payloads" } else { "records" };
        format!("{what} from {} on", self.from)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<()> {
        cx.admin_only()?;
        let grant = Grant::read(());
        if self.payloads {
            return Ok(grant.recording(cx.caller, Body::Exported { what: self.describe() }));
        }
        Ok(grant)
    }
}

/// Returns the checkpoint of the ledger; for the admin, and any agent or holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadCheckpoint;

impl Operation for ReadCheckpoint {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/GetCheckpoint";

    fn describe(&self) -> String {
        "the signed head of the ledger".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<()> {
        known_only(cx)
    }
}

/// Opens the revocation feed; for the admin, and any agent or holder that is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFeed;

impl Operation for WatchFeed {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Revocation/Watch";

    fn describe(&self) -> String {
        "the revocation feed".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<()> {
        known_only(cx)
    }
}

/// Refuses a caller without an identity or a delegation.
fn known_only(cx: &Context<'_>) -> Decision<()> {
    match cx.caller.kind() {
        Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => {
            Err(Deny::Forbidden("an identity or delegation token is needed"))
        }
        Kind::Admin | Kind::Agent(_) | Kind::Holder(_) => Ok(Grant::read(())),
    }
}

/// Returns an agent's row; for the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetAgent {
    /// The agent.
    pub agent: AgentId,
}

impl Operation for GetAgent {
    type Granted = Agent;
    const METHOD: &'static str = "/sublet.v1.Admin/GetAgent";

    fn describe(&self) -> String {
        format!("agent {}", self.agent)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Agent> {
        cx.admin_only()?;
        Ok(Grant::read(cx.known_agent(&self.agent)?.clone()))
    }
}

/// Returns a profile; for the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetProfile {
    /// The name of the profile.
    pub name: String,
}

impl Operation for GetProfile {
    type Granted = Profile;
    const METHOD: &'static str = "/sublet.v1.Admin/GetProfile";

    fn describe(&self) -> String {
        format!("profile {:?}", self.name)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Profile> {
        cx.admin_only()?;
        let profile = cx.view.state.profile(&self.name);
        let profile = profile.ok_or_else(|| Deny::NotFound(format!("profile {:?}", self.name)))?;
        Ok(Grant::read(profile.clone()))
    }
}

/// How many rows of each kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The number of agents.
    pub agents: u64,
    /// The number of delegations.
    pub delegations: u64,
    /// The number of recorded hops.
    pub hops: u64,
}

/// Returns the state of the broker; for the admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetStatus;

impl Operation for GetStatus {
    type Granted = Status;
    const METHOD: &'static str = "/sublet.v1.Admin/GetStatus";

    fn describe(&self) -> String {
        "the status of the broker".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Status> {
        cx.admin_only()?;
        let (agents, delegations, hops) = cx.view.state.counts();
        let [agents, delegations, hops] = [agents, delegations, hops].map(|count| count as u64);
        Ok(Grant::read(Status { agents, delegations, hops }))
    }
}
