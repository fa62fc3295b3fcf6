//! A leaf of the ledger: a version byte, then a record of `sublet.record.v1`, written once in tag order.
//!
//! Owns: the bytes of a leaf, in both directions. Does not own: what a record says (`records`).

use prost::Message as _;
use sublet_core::base::id::{DelegationId, HopId, UnixMillis};

use crate::record::Record;

/// The first byte of every leaf.
pub const LEAF_VERSION: u8 = 1;

/// The bytes of a record's leaf.
pub fn encode(record: &Record) -> Vec<u8> {
    let mut leaf = Vec::with_capacity(record.encoded_len().saturating_add(1));
    leaf.push(LEAF_VERSION);
    record.encode_raw(&mut leaf);
    leaf
}

/// Why bytes are no leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLeaf {
    /// The first byte is another than [`LEAF_VERSION`], or missing.
    #[error("its version is unknown here")]
    Version,
    /// The bytes behind the version are no record.
    #[error("not a record")]
    NotARecord,
}

/// The record in a leaf.
pub fn decode(leaf: &[u8]) -> Result<Record, BadLeaf> {
    let Some((&LEAF_VERSION, message)) = leaf.split_first() else { return Err(BadLeaf::Version) };
    Record::decode(message).map_err(|_| BadLeaf::NotARecord)
}

/// The delegation that a leaf belongs to; `None` where it belongs to none, or cannot be read.
pub fn delegation(leaf: &[u8]) -> Option<DelegationId> {
    let id = decode(leaf).ok()?.delegation;
    Some(HopId(id.try_into().ok()?))
}

/// When a leaf was recorded; `None` where it cannot be read.
pub fn time(leaf: &[u8]) -> Option<UnixMillis> {
    decode(leaf).ok().map(|record| UnixMillis(record.time_ms))
}
