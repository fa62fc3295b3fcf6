//! P3, P4 and P5 of the records that a commit leaves, and of the log as a whole.

use std::collections::HashMap;

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::base::key::PublicKey;
use sublet_core::evidence::record::{Actor, Body, HopRecord, RecordedHolder};
use sublet_core::token::BlockPayload;
use sublet_core::token::verify::Holder;
use sublet_core::trust::bundle::KeyUse;

use crate::broker::Entry;
use crate::property::{Check, Property};
use crate::world::World;

/// How far the log was read, and what was found there.
#[derive(Default)]
pub(crate) struct LogCheck {
    read: usize,
    last: Option<UnixMillis>,
    /// By delegation: how many records it has, and the leaf hash of the last.
    of: HashMap<HopId, (u64, [u8; 32])>,
    /// Hops of which a record was read.
    hops: HashMap<HopId, u64>,
}

impl World {
    /// The last recorded hop above one that is not recorded itself.
    pub(crate) fn above(&self, hop: &HopId, own: bool) -> Option<RecordedHolder> {
        let chain = self.reference.chain(hop);
        let kept = |id: &HopId| self.broker.state().hop(id).is_some();
        let last = chain.iter().rev().find(|facts| kept(&facts.id))?;
        let holder = Holder { agent: last.agent.clone(), helper: last.helper.clone() };
        let _ = own;
        (last.id != *hop).then_some(RecordedHolder { hop: last.id, holder })
    }

    /// Holds the records of a commit against the one who acted, and against the blocks that they are of.
    pub(crate) fn check_records(&mut self, entries: &[Entry], actor: &Actor) -> Check {
        for Entry { record, .. } in entries {
            let named = &record.actor;
            let same = (&named.name, named.key, named.hop) == (&actor.name, actor.key, actor.hop);
            Property::NoImpersonation.holds(same && named.recorded == actor.recorded, || {
                format!("{named:?} is recorded, {actor:?} acted: {:?}", record.body)
            })?;
            if let Body::Issued(hop) | Body::HopRecorded(hop) = &record.body {
                self.check_hop(hop)?;
            }
        }
        Ok(())
    }

    /// P4, from the bytes alone: the block is signed with the key of the holder before, and the hop's id, key and
    /// holder are those of the block.
    fn check_hop(&mut self, hop: &HopRecord) -> Check {
        let p4 = Property::EveryHopProven;
        let block = hop.block.clone().ok_or_else(|| p4.broken("a record without its block"))?;
        let (signers, previous, above) = match hop.parent {
            Some(parent) => {
                let before = self.blocks.get(&parent);
                let before = before.ok_or_else(|| p4.broken(format!("{parent} has no record")))?;
                (vec![before.next_key.clone()], Some(before.signature.clone()), parent.0)
            }
            None => {
                let keys = self.broker.ahead().trust().bundle().keys().iter();
                let roots = keys.filter(|key| key.use_ == KeyUse::Delegation);
                (roots.map(|key| key.public.clone()).collect(), None, [0; 32])
            }
        };
        let message = signed_bytes(&block, previous.as_deref());
        let signer = signers.iter().find(|key| key.verify(&message, &block.signature));
        let signer = signer.ok_or_else(|| {
            p4.broken(format!("hop {} is not signed by the holder before it", hop.hop))
        })?;
        let above = hop.parent.map_or_else(|| self.root_id(signer), |_| above);
        p4.holds(hop.hop.0 == hop_id(&above, &block), || format!("{} is another block", hop.hop))?;
        p4.holds(hop.key == block.next_key.thumbprint(), || "another key is recorded".to_owned())?;
        if let Some(facts) = self.reference.hops.get(&hop.hop) {
            let holder = Holder { agent: facts.agent.clone(), helper: facts.helper.clone() };
            let same = holder == hop.holder
                && (facts.not_after, facts.parent) == (hop.expires, hop.parent);
            p4.holds(same, || format!("{hop:?} is recorded, the block says {facts:?}"))?;
        }
        self.blocks.insert(hop.hop, block);
        Ok(())
    }

    fn root_id(&self, root: &PublicKey) -> [u8; 32] {
        let issuer = self.broker.ahead().domain().issuer();
        sha256(
            &[b"\0SUBLET\0root-v1\0".as_slice(), issuer.as_str().as_bytes(), root.bytes()].concat(),
        )
    }

    /// P5 of what was written since: indices, positions and links without a gap, and times that do not run
    /// backwards.
    pub(crate) fn check_log(&mut self) -> Check {
        let p5 = Property::EveryHopStored;
        let log = self.broker.log();
        let read = self.log.read;
        p5.holds(log.len() >= read, || format!("{} records are left of {read}", log.len()))?;
        for (index, Entry { record, place, leaf }) in log.iter().enumerate().skip(read) {
            let place = place.ok_or_else(|| p5.broken("a record without a place"))?;
            let index = u64::try_from(index).unwrap();
            p5.holds(place.index == index, || format!("{place:?} at index {index}"))?;
            p5.holds(self.log.last.is_none_or(|last| last <= place.time), || {
                format!("record {index} is of {}, before {:?}", place.time.0, self.log.last)
            })?;
            self.log.last = Some(place.time);
            if let Some(id) = record.delegation {
                let of = self.log.of.entry(id).or_insert((0, [0; 32]));
                p5.holds((place.position, place.previous) == *of, || {
                    format!("record {index} of {id} is {place:?}, the one before is {of:?}")
                })?;
                *of = (of.0 + 1, *leaf);
            }
            if let Body::Issued(hop) | Body::HopRecorded(hop) = &record.body {
                let before = self.log.hops.insert(hop.hop, index);
                p5.holds(before.is_none(), || {
                    format!("hop {} is recorded at {before:?} and again at {index}", hop.hop)
                })?;
                let parent = hop.parent.is_none_or(|parent| self.log.hops.contains_key(&parent));
                p5.holds(parent, || format!("hop {} is recorded before its parent", hop.hop))?;
            }
        }
        self.log.read = log.len();
        Ok(())
    }

    /// The index of the record of a hop.
    pub(crate) fn index_of(&self, hop: &HopId) -> Option<u64> {
        self.log.hops.get(hop).copied()
    }

    /// How many records of a delegation were read, and the leaf hash of the last.
    pub(crate) fn records_of(&self, delegation: &HopId) -> (u64, [u8; 32]) {
        self.log.of.get(delegation).copied().unwrap_or((0, [0; 32]))
    }
}

/// SPEC 2.3.1, written anew.
fn signed_bytes(block: &BlockPayload, previous: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = b"\0BLOCK\0\0VERSION\0\x01\0\0\0\0PAYLOAD\0".to_vec();
    bytes.extend_from_slice(&block.payload);
    bytes.extend_from_slice(b"\0ALGORITHM\0");
    bytes.extend_from_slice(&u32::from(block.next_key.algorithm().number()).to_le_bytes());
    bytes.extend_from_slice(b"\0NEXTKEY\0");
    bytes.extend_from_slice(block.next_key.bytes());
    if let Some(previous) = previous {
        bytes.extend_from_slice(b"\0PREVSIG\0");
        bytes.extend_from_slice(previous);
    }
    bytes
}

/// SPEC 2.6, written anew.
fn hop_id(above: &[u8; 32], block: &BlockPayload) -> [u8; 32] {
    let length = u32::try_from(block.payload.len()).unwrap().to_le_bytes();
    let algorithm = [block.next_key.algorithm().number()];
    let parts: [&[u8]; 6] = [
        b"\0SUBLET\0hop-id-v1\0",
        above,
        &length,
        &block.payload,
        &algorithm,
        block.next_key.bytes(),
    ];
    sha256(&parts.concat())
}
