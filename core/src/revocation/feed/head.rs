//! Heads: the whole feed up to a number, in one hash, under one signature. SPEC 7.5.
//!
//! Invariants: a head has one encoding, and its signature covers the number of its key.

use super::{BadFeed, FeedPosition};
use crate::base::bytes::{BadLayout, Label, Reader, Writer};
use crate::base::id::{TrustDomain, UnixMillis};
use crate::base::sign::{Signer, SignerFault};
use crate::trust::bundle::KeyId;

const HEAD: Label = Label::FeedHead;

/// What a head says: the whole feed up to a number, in one hash, at the issuer's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The feed, named by its trust domain.
    pub feed: TrustDomain,
    /// Counts restarts of the sequence; never goes back.
    pub epoch: u64,
    /// The number of the last delta.
    pub sequence: u64,
    /// The hash over all deltas.
    pub hash: [u8; 32],
    /// Everything up to this number has expired and need not be sent.
    pub floor_sequence: u64,
    /// The hash up to there: where a fresh reader begins.
    pub floor_hash: [u8; 32],
    /// The issuer's time.
    pub time: UnixMillis,
}

/// A head and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// What it says.
    pub head: Head,
    /// The number of the key.
    pub key: KeyId,
    /// The signature.
    pub signature: Vec<u8>,
}

impl SignedHead {
    /// Signs a head.
    pub fn sign(head: Head, key: KeyId, signer: &dyn Signer) -> Result<Self, SignerFault> {
        let signature = signer.sign(&head.message(key))?;
        Ok(SignedHead { head, key, signature })
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [self.head.message(self.key), self.signature.clone()].concat()
    }

    /// Reads the bytes, exactly.
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
    /// How far the feed reaches.
    pub fn position(&self) -> FeedPosition {
        FeedPosition::new(self.epoch, self.sequence)
    }

    /// What the signature covers.
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
