//! A record that is encoded, except for its place in the ledger.
//!
//! Owns: putting a leaf and its payload together. Does not own: the encoding of a record
//! (`sublet_proto`), its index.

use prost::Message as _;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{DelegationId, UnixMillis};
use sublet_core::evidence::record::{Body, Record};
use sublet_core::state::{Place, Placed};
use sublet_ledger::{Hash, LEAF_BYTES_MAX};
use sublet_proto::record::{self, Payload};
use sublet_proto::{leaf, records};

/// A record that is encoded, except for its place in the ledger. The caller's task makes it, so that the
/// committer thread has less to do.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    message: record::Record,
    /// The leaf and its hash. Empty until the record has its place.
    leaf: (Vec<u8>, Hash),
    /// The payload; `None` if the record has none.
    payload: Option<Vec<u8>>,
    delegation: Option<DelegationId>,
    is_hop: bool,
}

/// Returns the salt of the payload with this number in a commit.
pub(crate) fn salt(of_commit: &[u8; 16], number: u64) -> [u8; 16] {
    let digest = sha256(&[of_commit.as_slice(), &number.to_be_bytes()].concat());
    digest.first_chunk().copied().unwrap_or_default()
}

impl Draft {
    /// Encodes a record that was decided at this time, in this trace. `salt` is used for its payload only.
    pub(crate) fn of(
        record: &Record,
        time: UnixMillis,
        trace: Option<[u8; 16]>,
        salt: [u8; 16],
    ) -> Self {
        let (mut message, content) = records::message(record, time, trace);
        let payload = content.map(|content| {
            let payload = Payload { salt: salt.to_vec(), content: Some(content) };
            payload.encode_to_vec()
        });
        let digest = payload.as_ref().map(|bytes| sha256(bytes).to_vec());
        message.payload_digest = digest.unwrap_or_default();
        let is_hop = matches!(record.body, Body::HopRecorded(_));
        Draft {
            message,
            leaf: (Vec::new(), [0; 32]),
            payload,
            delegation: record.delegation,
            is_hop,
        }
    }

    /// Returns whether the leaf is short enough, at any place.
    pub(crate) fn fits(&self) -> bool {
        self.message.encoded_len().saturating_add(PLACE_BYTES_MAX) <= LEAF_BYTES_MAX
    }

    /// Returns the leaf, its hash and the payload. The record must have its place.
    pub(crate) fn into_entry(self) -> (Vec<u8>, Hash, Option<Vec<u8>>) {
        let (leaf, hash) = self.leaf;
        (leaf, hash, self.payload)
    }

    /// Returns the delegation that the record belongs to, if any.
    pub(crate) fn delegation(&self) -> Option<DelegationId> {
        self.delegation
    }
}

impl Placed for Draft {
    fn delegation(&self) -> Option<DelegationId> {
        self.delegation
    }

    fn is_hop(&self) -> bool {
        self.is_hop
    }

    fn place(&mut self, place: &Place) -> Hash {
        self.message.time_ms = place.time.0;
        self.message.position = place.position;
        if place.previous != [0; 32] {
            self.message.previous = place.previous.to_vec();
        }
        self.message.revocation_sequence = place.revocation_sequence;
        let leaf = leaf::encode(&self.message);
        let hash = hash_of(&leaf);
        self.leaf = (leaf, hash);
        hash
    }
}

#[expect(clippy::expect_used, reason = "a draft that may be too long for a leaf is not committed")]
fn hash_of(leaf: &[u8]) -> Hash {
    sublet_ledger::leaf_hash(leaf).expect("it fits, wherever it comes to stand")
}

/// The most bytes that the place adds to a leaf: the version byte, three numbers of at most ten bytes
/// and a hash of 32, each with its tag.
const PLACE_BYTES_MAX: usize = 1 + 3 * 11 + 34;
