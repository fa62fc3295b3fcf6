//! Heads: the whole feed up to a number, as one hash under one signature. SPEC 7.5.
//!
//! Invariants: a head has one encoding, and its signature covers the number of its key.

use super::{BadFeed, FeedPosition};
use crate::base::bytes::{BadLayout, Label, Reader, Writer};
use crate::base::id::{TrustDomain, UnixMillis};
use crate::base::sign::{Signer, SignerFault};
use crate::trust::bundle::KeyId;

const HEAD: Label = Label::FeedHead;

/// The content of a head: the feed up to a number, as one hash, at the issuer's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The trust domain of the feed.
    pub feed: TrustDomain,
    /// The epoch: it counts restarts of the numbering, and never decreases.
    pub epoch: u64,
    /// The number of the last delta.
    pub sequence: u64,
    /// The hash over all deltas.
    pub hash: [u8; 32],
    /// The floor: deltas up to this number need not be sent, as they have no effect any more.
    pub floor_sequence: u64,
    /// The hash up to the floor, where a new reader begins.
    pub floor_hash: [u8; 32],
    /// The issuer's time.
    pub time: UnixMillis,
}

/// A head and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// The content.
    pub head: Head,
    /// The number of the key that signed it.
    pub key: KeyId,
    /// The signature.
    pub signature: Vec<u8>,
}

impl SignedHead {
    /// Signs a head with the key of this number.
    pub fn sign(head: Head, key: KeyId, signer: &dyn Signer) -> Result<Self, SignerFault> {
        let signature = signer.sign(&head.message(key))?;
        Ok(SignedHead { head, key, signature })
    }

    /// Returns the signed bytes, followed by the signature.
    pub fn encode(&self) -> Vec<u8> {
        [self.head.message(self.key), self.signature.clone()].concat()
    }

    /// Decodes a head, exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFeed> {
        let mut reader = Reader::labelled(bytes, HEAD)?;
        let key = KeyId(reader.u32()?);
        let head = Head {
            feed: reader.text()?.parse().map_err(|_| BadFeed::Layout(BadLayout))?,
            epoch: reader.u64()?,
            sequence: reader.u64()?,
            hash: reader.fixed()?,
            floor_sequence: reader.u64()?,
            floor_hash: reader.fixed()?,
            time: reader.time()?,
        };
        Ok(SignedHead { head, key, signature: reader.rest().to_vec() })
    }
}

impl Head {
    /// Returns the position that the feed had reached.
    pub fn position(&self) -> FeedPosition {
        FeedPosition::new(self.epoch, self.sequence)
    }

    /// Returns the bytes that the signature covers.
    pub(super) fn message(&self, key: KeyId) -> Vec<u8> {
        Writer::labelled(HEAD)
            .u32(key.0)
            .text(self.feed.as_str())
            .u64(self.epoch)
            .u64(self.sequence)
            .fixed(&self.hash)
            .u64(self.floor_sequence)
            .fixed(&self.floor_hash)
            .time(self.time)
            .finish()
    }
}
