//! A record as ledger bytes: a version byte, then record.proto, written once in tag order.
//!
//! Owns: the encoding. Does not own: what a record says (`sublet_core::record`), its index.

use prost::Message as _;
use sublet_core::bytes::sha256;
use sublet_core::id::UnixMillis;
use sublet_core::record::{BlockPayload, Body, HopRecord, Record};
use sublet_proto::record::{self, record::Body as Wire};

/// The first byte of every leaf.
pub(crate) const LEAF_VERSION: u8 = 1;

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The broker's time.
    pub time: UnixMillis,
    /// Its number among its delegation's records.
    pub position: u64,
    /// The leaf hash of the one before; zeros for the first.
    pub previous: [u8; 32],
    /// The last revocation that the decision knew.
    pub revocation_sequence: u64,
}

/// The leaf, and what lies beside it.
pub(crate) fn encode(record: &Record, place: Place) -> (Vec<u8>, Option<Vec<u8>>) {
    let (body, payload) = body(&record.body);
    let message = record::Record {
        time_ms: place.time.0,
        delegation: record.delegation.map(|id| id.0.to_vec()).unwrap_or_default(),
        position: place.position,
        previous: if place.previous == [0; 32] { Vec::new() } else { place.previous.to_vec() },
        actor: record.actor.clone(),
        revocation_sequence: place.revocation_sequence,
        body: Some(body),
    };
    let mut leaf = vec![LEAF_VERSION];
    leaf.extend(message.encode_to_vec());
    (leaf, payload)
}

fn body(body: &Body) -> (Wire, Option<Vec<u8>>) {
    let agent = |agent: &sublet_core::id::AgentId| record::AgentChange {
        agent_id: agent.to_string(),
        ..Default::default()
    };
    let wire = match body {
        Body::AgentCreated { agent: id, profile } => {
            Wire::AgentCreated(record::AgentChange { profile: profile.clone(), ..agent(id) })
        }
        Body::AgentEnrolled { agent: id, key, join_token } => {
            Wire::AgentEnrolled(record::AgentChange {
                key: key.0.to_vec(),
                join_token_id: join_token.clone(),
                ..agent(id)
            })
        }
        Body::AgentRenewed { agent: id, key } => {
            Wire::AgentRenewed(record::AgentChange { key: key.0.to_vec(), ..agent(id) })
        }
        Body::KeyRotated { agent: id, old, new } => Wire::KeyRotated(record::AgentChange {
            key: new.0.to_vec(),
            old_key: old.0.to_vec(),
            ..agent(id)
        }),
        Body::AgentSuspended { agent: id, reason } => {
            Wire::AgentSuspended(record::AgentChange { reason: reason.clone(), ..agent(id) })
        }
        Body::AgentResumed { agent: id } => Wire::AgentResumed(agent(id)),
        Body::KeyRevoked { agent: id, key, reason } => Wire::KeyRevoked(record::AgentChange {
            agent_id: id.as_ref().map(ToString::to_string).unwrap_or_default(),
            key: key.0.to_vec(),
            reason: reason.clone(),
            ..Default::default()
        }),
        Body::ProfileApplied { name, digest } => Wire::ProfileApplied(record::ProfileApplied {
            name: name.clone(),
            digest: digest.to_vec(),
        }),
        Body::JoinTokenCreated { join_token, agent } => {
            Wire::JoinTokenCreated(record::JoinTokenChange {
                join_token_id: join_token.clone(),
                agent_id: agent.to_string(),
            })
        }
        Body::JoinTokenRevoked { join_token } => Wire::JoinTokenRevoked(record::JoinTokenChange {
            join_token_id: join_token.clone(),
            agent_id: String::new(),
        }),
        Body::Issued(record) => return hop(record, Wire::Issued),
        Body::HopRecorded(record) => return hop(record, Wire::HopRecorded),
        Body::Refused { method, code, says, asked } => Wire::Refused(record::Refused {
            method: (*method).to_owned(),
            code: (*code).to_owned(),
            says: says.clone(),
            asked: asked.clone(),
        }),
        Body::Revoked { kind, target, reason } => Wire::Revoked(record::Revoked {
            kind: (*kind).to_owned(),
            target: target.clone(),
            reason: reason.clone(),
        }),
        Body::Exported { what } => Wire::Exported(record::Exported { what: what.clone() }),
    };
    (wire, None)
}

fn hop(hop: &HopRecord, kind: fn(record::Hop) -> Wire) -> (Wire, Option<Vec<u8>>) {
    let payload = hop.block.as_ref().map(payload);
    let message = record::Hop {
        hop: hop.hop.0.to_vec(),
        parent: hop.parent.map(|id| id.0.to_vec()).unwrap_or_default(),
        position: hop.position,
        agent_id: hop.holder.agent.to_string(),
        helper: hop.holder.helper.as_ref().map(ToString::to_string).unwrap_or_default(),
        key: hop.key.0.to_vec(),
        expires_seconds: hop.expires,
        payload_digest: payload.as_ref().map(|bytes| sha256(bytes).to_vec()).unwrap_or_default(),
    };
    (kind(message), payload)
}

fn payload(block: &BlockPayload) -> Vec<u8> {
    let message = record::HopPayload {
        block: block.payload.clone(),
        next_key_algorithm: block.next_key.algorithm().name().to_owned(),
        next_key: block.next_key.bytes().to_vec(),
        signature: block.signature.clone(),
    };
    message.encode_to_vec()
}
