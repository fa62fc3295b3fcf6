//! One record of the ledger, decoded: who acted, its content, and the payload that its digest
//! covers.
//!
//! Owns: reading a record. Does not own: what several records mean together (`replay`, `history`).

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
    /// The index of the record in the ledger.
    pub index: u64,
    /// The hash of its leaf.
    pub leaf_hash: [u8; 32],
    /// The content of the leaf.
    pub record: Record,
    /// The payload; `None` when the record has none, and when it was erased.
    pub content: Option<Content>,
}

impl Entry {
    /// Decodes a record and its payload. Errors: an unknown version, a leaf that is no record, or a
    /// payload that the leaf's digest does not cover.
    pub fn read(entry: &ReplayEntry) -> Result<Self, Error> {
        let bad = |detail: &str| Error::answer(format!("record {}: {detail}", entry.index));
        let leaf_hash = sublet_ledger::leaf_hash(&entry.leaf)
            .map_err(|too_large| bad(&too_large.to_string()))?;
        let record = leaf::decode(&entry.leaf).map_err(|why| bad(&why.to_string()))?;
        let content = match entry.payload.as_slice() {
            [] => None,
            payload if record.payload_digest != sha256(payload) => {
                return Err(bad("its payload is not the one whose digest it states"));
            }
            payload => {
                let payload = Payload::decode(payload);
                payload.map_err(|_| bad("its payload cannot be decoded"))?.content
            }
        };
        Ok(Entry { index: entry.index, leaf_hash, record, content })
    }

    /// Returns who acted, and the key that proves it.
    pub fn actor(&self) -> Actor {
        let key = self.record.actor_key.as_slice().try_into().ok().map(Thumbprint);
        let recorded = Some(self.record.recorded_holder.clone()).filter(|name| !name.is_empty());
        Actor { name: self.record.actor.clone(), key, recorded }
    }

    /// Returns whether the record had a payload that was erased.
    pub fn is_erased(&self) -> bool {
        self.content.is_none() && !self.record.payload_digest.is_empty()
    }

    /// Returns the signed block of a hop; `None` when the payload is erased or of another kind.
    pub fn block(&self) -> Option<&HopPayload> {
        match &self.content {
            Some(Content::Hop(block)) => Some(block),
            _ => None,
        }
    }

    /// Returns the texts of the payload; empty when there are none or they were erased.
    pub fn words(&self) -> Words {
        match &self.content {
            Some(Content::Words(words)) => words.clone(),
            _ => Words::default(),
        }
    }

    /// Returns the broker's time of the record.
    pub fn time(&self) -> UnixMillis {
        UnixMillis(self.record.time_ms)
    }

    /// Returns the id of the trace that the recorded call was part of (W3C Trace Context): the
    /// trace of the caller, or one that the broker began; `None` when there was none.
    pub fn trace(&self) -> Option<String> {
        let id: [u8; 16] = self.record.trace.as_slice().try_into().ok()?;
        Some(format!("{:032x}", u128::from_be_bytes(id)))
    }

    /// Returns the hop that the record is of; `None` when it is of another kind.
    pub fn hop(&self) -> Option<&Hop> {
        hop_of(&self.record)
    }

    /// Returns the use that the record is of; `None` when it is of another kind.
    pub fn used(&self) -> Option<&Use> {
        match &self.record.body {
            Some(Body::Used(used)) => Some(used),
            _ => None,
        }
    }

    /// Returns the kind of the record in `snake_case`; `unknown` for a kind of a later version.
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
            Some(Body::LegalHoldCreated(_)) => "legal_hold_created",
            Some(Body::LegalHoldRemoved(_)) => "legal_hold_removed",
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

/// The party that acted, as a record states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name, such as a SPIFFE id, `agent#helper` or `admin:<thumbprint>`.
    pub name: String,
    /// The key that signed the request; `None` for the broker itself, for a user, and in older
    /// records that did not keep it.
    pub key: Option<Thumbprint>,
    /// The last recorded holder in the actor's chain, if the actor's own hop was not recorded.
    pub recorded: Option<String>,
}

/// Also shows the key of a helper, as its parent chose its name, and for a hop that was not
/// recorded the last recorded holder.
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

/// Returns the hop id in a record of a hop.
pub(crate) fn recorded_id(hop: &Hop) -> Result<HopId, Error> {
    Ok(hop_id("hop", &hop.hop)?)
}
