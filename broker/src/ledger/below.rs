//! Finds the records of a delegation that lie at or below one hop. SPEC 9.14.
//!
//! Owns: finding them from the records alone, which are read in order. Does not own: who may see them
//! (`core::decide::Replay`).
//!
//! Invariants: a record counts only if the records read so far show that it lies at or below the hop.

use std::collections::HashSet;

use sublet_core::base::id::HopId;
use sublet_core::token::hop_id;
use sublet_proto::convert::{hop_id as read_hop, public_key};
use sublet_proto::record::payload::Content;
use sublet_proto::record::record::Body;
use sublet_proto::record::{Payload, Record, UseEvidence};
use sublet_proto::v1::PublicKey;

use crate::store::Entry;
use sublet_proto::leaf;

/// The hops at and below one hop, as far as the records read so far show them.
pub(crate) struct Below(HashSet<HopId>);

impl Below {
    pub(crate) fn new(hop: HopId) -> Self {
        Below(HashSet::from([hop]))
    }

    /// Returns whether the next record lies at or below the hop. Call it for every record, in order.
    pub(crate) fn has(&mut self, entry: &Entry) -> bool {
        let Some(Record { body: Some(body), actor_hop, recorded_hop, .. }) =
            leaf::decode(&entry.leaf).ok()
        else {
            return false;
        };
        match &body {
            Body::Issued(hop) => self.knows(&hop.hop),
            Body::HopRecorded(hop) => self.knows(&hop.hop) || self.joins(&hop.parent, &hop.hop),
            Body::Used(used) => self.knows(&used.hop) || self.has_used(entry),
            Body::Revoked(revoked) => {
                revoked.target.parse().is_ok_and(|hop: HopId| self.0.contains(&hop))
            }
            // If the caller's own hop is not recorded, the last recorded hop of its chain counts.
            Body::Refused(_) => self.knows(&actor_hop) || self.knows(&recorded_hop),
            _ => false,
        }
    }

    fn knows(&self, hop: &[u8]) -> bool {
        read_hop("hop", hop).is_ok_and(|hop| self.0.contains(&hop))
    }

    /// Adds a hop whose parent is known, and returns whether it is. Parents are recorded before their
    /// children.
    fn joins(&mut self, parent: &[u8], hop: &[u8]) -> bool {
        let joins = self.knows(parent);
        if let (true, Ok(hop)) = (joins, read_hop("hop", hop)) {
            self.0.insert(hop);
        }
        joins
    }

    /// Returns whether the chain of a use goes through one of the hops: through its last recorded hop,
    /// or through a block that is in the evidence only.
    fn has_used(&self, entry: &Entry) -> bool {
        let payload = entry.payload.as_deref().map(<Payload as prost::Message>::decode);
        let Some(Ok(Payload { content: Some(Content::Use(evidence)), .. })) = payload else {
            return false;
        };
        self.knows(&evidence.behind) || self.has_block(&evidence).unwrap_or(false)
    }

    fn has_block(&self, evidence: &UseEvidence) -> Option<bool> {
        let mut id = read_hop("behind", &evidence.behind).ok()?;
        for block in &evidence.blocks {
            let key = PublicKey {
                algorithm: block.next_key_algorithm.clone(),
                key: block.next_key.clone(),
            };
            id = hop_id(&id, &block.block, &public_key("next_key", Some(&key)).ok()?);
            if self.0.contains(&id) {
                return Some(true);
            }
        }
        Some(false)
    }
}
