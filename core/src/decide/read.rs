//! May this be seen? Reads are decided like everything else; granted, they leave no trace.
//!
//! What a caller may not see answers like what does not exist.

use super::{Ask, Decision, Entropy, Grant, View, is_revoked};
use crate::caller::{Caller, Kind};
use crate::feed::Revocation;
use crate::id::{AgentId, DelegationId, HopId, UnixMillis};
use crate::no::Deny;
use crate::record::Body;
use crate::state::{Agent, Delegation};
use crate::verify::VerifiedToken;

/// Rows on one page of a list.
const PAGE_MAX: usize = 500;

/// An agent's current key and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupAgent {
    /// Whose.
    pub agent: AgentId,
}

impl Ask for LookupAgent {
    type Granted = Agent;
    const METHOD: &'static str = "/sublet.v1.Identity/LookupAgent";

    fn asked(&self) -> String {
        format!("agent {}", self.agent)
    }

    fn decide(&self, view: View<'_>, _: &Caller, _: UnixMillis, _: &Entropy) -> Decision<Agent> {
        let agent = view
            .state
            .agent(&self.agent)
            .ok_or_else(|| Deny::UnknownAgent { agent: self.agent.clone() })?;
        Ok(Grant::read(agent.clone()))
    }
}

/// How the broker sees a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// The chain.
    pub token: VerifiedToken,
}

/// How the broker sees one hop.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InspectedHop {
    /// Its id.
    pub id: HopId,
    /// Its ledger index, if it is recorded.
    pub index: Option<u64>,
    /// Whether it was itself revoked.
    pub revoked: bool,
    /// Whether its own window is over.
    pub expired: bool,
}

impl Ask for Inspect {
    /// Each hop, and why the chain as a whole is dead, if it is.
    type Granted = (Vec<InspectedHop>, Option<String>);
    const METHOD: &'static str = "/sublet.v1.Delegation/Inspect";

    fn asked(&self) -> String {
        format!("delegation {}", self.token.delegation())
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        _: &Entropy,
    ) -> Decision<Self::Granted> {
        let appears = match caller.kind() {
            Kind::Admin => true,
            Kind::Agent(identity) => {
                let id = &identity.root().agent;
                self.token.signed_blocks().iter().any(|signed| signed.block().agent == *id)
            }
            Kind::Holder(token) => self.token.hops().any(|(id, _)| id == token.id()),
            Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => false,
        };
        if !appears {
            return Err(Deny::NotFound(format!("delegation {}", self.token.delegation())));
        }
        let hops = self.token.hops().map(|(id, signed)| InspectedHop {
            id,
            index: view.state.hop(&id).map(|row| row.index),
            revoked: is_revoked(view, Revocation::Hop(id)),
            expired: now.seconds() >= signed.block().not_after,
        });
        let alive = super::chain::check_revocations(&self.token, view.state)
            .and_then(|()| super::chain::check_time(&self.token, now));
        Ok(Grant::read((hops.collect(), alive.err().map(|deny| deny.to_string()))))
    }
}

/// The delegations that the caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListDelegations {
    /// Rows after this id.
    pub after: Option<DelegationId>,
    /// How many rows, at most 500; 0 means 100.
    pub page_size: usize,
}

/// A row of a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Listed {
    /// The delegation.
    pub delegation: Delegation,
    /// Whether its root was revoked.
    pub revoked: bool,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Listed>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<DelegationId>,
}

impl Ask for ListDelegations {
    type Granted = Page;
    const METHOD: &'static str = "/sublet.v1.Delegation/ListDelegations";

    fn asked(&self) -> String {
        "a list of delegations".to_owned()
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        _: UnixMillis,
        _: &Entropy,
    ) -> Decision<Page> {
        let size = if self.page_size == 0 { 100 } else { self.page_size.min(PAGE_MAX) };
        let mut seen = view.state.delegations_after(self.after).filter(|row| may_see(caller, row));
        let rows: Vec<Listed> = seen
            .by_ref()
            .take(size)
            .map(|row| Listed {
                delegation: row.clone(),
                revoked: is_revoked(view, Revocation::Hop(row.id)),
            })
            .collect();
        let next = seen.next().and(rows.last()).map(|last| last.delegation.id);
        Ok(Grant::read(Page { rows, next }))
    }
}

/// The admin sees all, an agent what was issued to it, a holder the delegation of its token.
fn may_see(caller: &Caller, row: &Delegation) -> bool {
    match caller.kind() {
        Kind::Admin => true,
        Kind::Agent(identity) => identity.root().agent == row.agent,
        Kind::Holder(token) => token.delegation() == row.id,
        Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => false,
    }
}

/// What of a delegation's records a caller may see.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Replayed {
    /// The delegation.
    pub delegation: DelegationId,
    /// The hop at and below which they may be seen; `None` where all may.
    pub below: Option<HopId>,
}

/// The records of one delegation: all of them for the admin and the agent that it was issued to; for the
/// holder of a hop, by its token, what lies at or below that hop. What others do with their own hops, and
/// with which arguments, is not for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Which.
    pub delegation: DelegationId,
}

impl Ask for Replay {
    type Granted = Replayed;
    const METHOD: &'static str = "/sublet.v1.Audit/Replay";

    fn asked(&self) -> String {
        format!("the records of delegation {}", self.delegation)
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        _: UnixMillis,
        _: &Entropy,
    ) -> Decision<Replayed> {
        let row = view.state.delegation(&self.delegation).filter(|row| may_see(caller, row));
        let row = row.ok_or_else(|| Deny::NotFound(format!("delegation {}", self.delegation)))?;
        let below = match caller.kind() {
            Kind::Holder(token) if token.depth() > 0 => Some(token.id()),
            _ => None,
        };
        Ok(Grant::read(Replayed { delegation: row.id, below }))
    }
}

/// The ledger from a record on: by the admin. With what lies beside the records it is an export,
/// and is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLedger {
    /// The first record.
    pub from: u64,
    /// Whether payloads are asked for too.
    pub payloads: bool,
}

impl Ask for ReadLedger {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/Tail";

    fn asked(&self) -> String {
        let what = if self.payloads { "records and payloads" } else { "records" };
        format!("{what} from {} on", self.from)
    }

    fn decide(&self, _: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        super::admin_only(caller)?;
        let grant = Grant::read(());
        if self.payloads {
            return Ok(grant.recording(caller, Body::Exported { what: self.asked() }));
        }
        Ok(grant)
    }
}

/// The signed head of the ledger: by the admin, and by any identity or holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadHead;

impl Ask for ReadHead {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/GetCheckpoint";

    fn asked(&self) -> String {
        "the signed head of the ledger".to_owned()
    }

    fn decide(&self, _: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        known_only(caller)
    }
}

/// Following the revocation feed: by the admin, and by any identity or holder that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFeed;

impl Ask for WatchFeed {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Revocation/Watch";

    fn asked(&self) -> String {
        "the revocation feed".to_owned()
    }

    fn decide(&self, _: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        known_only(caller)
    }
}

/// Whoever has shown more than a new key.
fn known_only(caller: &Caller) -> Decision<()> {
    match caller.kind() {
        Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => {
            Err(Deny::NotPermitted("an identity is needed"))
        }
        Kind::Admin | Kind::Agent(_) | Kind::Holder(_) => Ok(Grant::read(())),
    }
}

/// A read of the admin's: agents, profiles, join tokens, status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAdmin {
    /// Which, by the method's name.
    pub what: &'static str,
}

impl Ask for ReadAdmin {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Admin/";

    fn asked(&self) -> String {
        self.what.to_owned()
    }

    fn decide(&self, _: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        super::admin_only(caller)?;
        Ok(Grant::read(()))
    }
}
