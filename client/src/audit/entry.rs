//! One record of the ledger, decoded: who acted, what it says, and the payload that its digest binds.
//!
//! Owns: reading an entry. Does not own: what entries together mean (`replay`, `history`).

use prost::Message as _;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_proto::convert::hop_id;
use sublet_proto::leaf;
use sublet_proto::record::payload::Content;
use sublet_proto::record::record::Body;
use sublet_proto::record::{Hop, HopPayload, Payload, Record, Use, Words};
use sublet_proto::v1::ReplayEntry;

use crate::error::Error;

/// One record, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its index in the ledger.
    pub index: u64,
    /// The hash of its leaf.
    pub leaf_hash: [u8; 32],
    /// What it says.
    pub record: Record,
    /// What lies beside it; `None` when nothing does, and when it was erased.
    pub content: Option<Content>,
}

impl Entry {
    /// Reads one entry: the leaf, and the payload that its digest binds.
    pub fn read(entry: &ReplayEntry) -> Result<Self, Error> {
        let bad = |detail: &str| Error::answer(format!("record {}: {detail}", entry.index));
        let leaf_hash = sublet_ledger::leaf_hash(&entry.leaf)
            .map_err(|too_large| bad(&too_large.to_string()))?;
        let record = leaf::decode(&entry.leaf).map_err(|why| bad(&why.to_string()))?;
        let content = match entry.payload.as_slice() {
            [] => None,
            payload if record.payload_digest != sha256(payload) => {
                return Err(bad("what lies beside it is not what it names"));
            }
            payload => {
                let payload = Payload::decode(payload);
                payload.map_err(|_| bad("what lies beside it is not readable"))?.content
            }
        };
        Ok(Entry { index: entry.index, leaf_hash, record, content })
    }

    /// Who acted, and what shows that it was them.
    pub fn actor(&self) -> Actor {
        let key = self.record.actor_key.as_slice().try_into().ok().map(Thumbprint);
        let recorded = Some(self.record.recorded_holder.clone()).filter(|name| !name.is_empty());
        Actor { name: self.record.actor.clone(), key, recorded }
    }

    /// Whether something lay beside it that is there no more.
    pub fn is_erased(&self) -> bool {
        self.content.is_none() && !self.record.payload_digest.is_empty()
    }

    /// A hop's own signed block.
    pub fn block(&self) -> Option<&HopPayload> {
        match &self.content {
            Some(Content::Hop(block)) => Some(block),
            _ => None,
        }
    }

    /// What was said; empty where nothing was or it was erased.
    pub fn words(&self) -> Words {
        match &self.content {
            Some(Content::Words(words)) => words.clone(),
            _ => Words::default(),
        }
    }

    /// When it was recorded, by the broker's clock.
    pub fn time(&self) -> UnixMillis {
        UnixMillis(self.record.time_ms)
    }

    /// The trace that the call was part of which made it (W3C Trace Context): the one that its caller named,
    /// or one that the broker began where it sends spans.
    pub fn trace(&self) -> Option<String> {
        let id: [u8; 16] = self.record.trace.as_slice().try_into().ok()?;
        Some(format!("{:032x}", u128::from_be_bytes(id)))
    }

    /// The hop that it records, if it records one.
    pub fn hop(&self) -> Option<&Hop> {
        hop_of(&self.record)
    }

    /// The use that it records, if it records one.
    pub fn used(&self) -> Option<&Use> {
        match &self.record.body {
            Some(Body::Used(used)) => Some(used),
            _ => None,
        }
    }

    /// What kind of record it is, in `snake_case`.
    pub fn kind(&self) -> &'static str {
        match &self.record.body {
            Some(Body::AgentCreated(_)) => "agent_created",
            Some(Body::AgentEnrolled(_)) => "agent_enrolled",
            Some(Body::AgentRenewed(_)) => "agent_renewed",
            Some(Body::KeyRotated(_)) => "key_rotated",
            Some(Body::AgentSuspended(_)) => "agent_suspended",
            Some(Body::AgentResumed(_)) => "agent_resumed",
            Some(Body::KeyRevoked(_)) => "key_revoked",
            Some(Body::ProfileApplied(_)) => "profile_applied",
            Some(Body::JoinTokenCreated(_)) => "join_token_created",
            Some(Body::JoinTokenRevoked(_)) => "join_token_revoked",
            Some(Body::Issued(_)) => "issued",
            Some(Body::HopRecorded(_)) => "hop_recorded",
            Some(Body::Refused(_)) => "refused",
            Some(Body::RefusalsCounted(_)) => "refusals_counted",
            Some(Body::Revoked(_)) => "revoked",
            Some(Body::PrincipalRestored(_)) => "principal_restored",
            Some(Body::Exported(_)) => "exported",
            Some(Body::BrokerKey(_)) => "broker_key",
            Some(Body::Erased(_)) => "erased",
            Some(Body::Used(_)) => "used",
            Some(Body::VerifierSynced(_)) => "verifier_synced",
            Some(Body::Pruned(_)) => "pruned",
            Some(Body::HoldPlaced(_)) => "hold_placed",
            Some(Body::HoldReleased(_)) => "hold_released",
            Some(Body::Consented(_)) => "consented",
            Some(Body::SessionEnded(_)) => "session_ended",
            None => "unknown",
        }
    }
}

fn hop_of(record: &Record) -> Option<&Hop> {
    match &record.body {
        Some(Body::Issued(hop) | Body::HopRecorded(hop)) => Some(hop),
        _ => None,
    }
}

/// Who acted, as a record says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name: an agent, `agent#helper`, `admin:<thumbprint>`, ….
    pub name: String,
    /// The key that signed the request; `None` for the broker itself, for a user, and in records from
    /// before it was kept.
    pub key: Option<Thumbprint>,
    /// The last holder of the actor's chain that was recorded, where the actor's own hop was not.
    pub recorded: Option<String>,
}

/// Of a helper, whose name its parent chose, the key too; of a hop that was not recorded, whom the ledger
/// knows it by.
impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        let key = self.key.filter(|_| self.name.contains('#') || self.recorded.is_some());
        if let Some(key) = key {
            write!(f, " (key {key})")?;
        }
        match &self.recorded {
            Some(recorded) => {
                write!(f, " (its hop is not recorded; the last recorded holder is {recorded})")
            }
            None => Ok(()),
        }
    }
}

/// The id in a record of a hop.
pub(crate) fn recorded_id(hop: &Hop) -> Result<HopId, Error> {
    Ok(hop_id("hop", &hop.hop)?)
}
