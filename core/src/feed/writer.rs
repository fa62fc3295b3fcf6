//! The broker's side of the feed. SPEC section 7.
//!
//! Invariants: deltas are numbered from the floor on without a gap, and the floor only rises, over
//! deltas of which everything has expired.

use std::collections::VecDeque;

use super::delta::{genesis, link};
use super::{BadFeed, Delta, Head, Revocation};
use crate::id::{TrustDomain, UnixMillis};
use crate::limits;

/// The broker's side: numbers deltas, chains them, says what to send.
#[derive(Clone, Debug)]
pub struct FeedWriter {
    feed: TrustDomain,
    epoch: u64,
    sequence: u64,
    hash: [u8; 32],
    floor_sequence: u64,
    floor_hash: [u8; 32],
    deltas: VecDeque<(Delta, Vec<u8>)>,
}

impl FeedWriter {
    /// A feed that has just begun.
    pub fn new(feed: TrustDomain, epoch: u64) -> Self {
        let hash = genesis(&feed, epoch);
        FeedWriter {
            feed,
            epoch,
            sequence: 0,
            hash,
            floor_sequence: 0,
            floor_hash: hash,
            deltas: VecDeque::new(),
        }
    }

    /// A feed that goes on after a restart, from all of its deltas in order.
    pub fn resume(
        feed: TrustDomain,
        epoch: u64,
        deltas: impl IntoIterator<Item = Delta>,
    ) -> Result<Self, BadFeed> {
        let hash = genesis(&feed, epoch);
        FeedWriter::resume_from(feed, epoch, 0, hash, deltas)
    }

    /// A feed that goes on after a restart, from the floor of a head that it gave and the deltas
    /// after it in order.
    pub fn resume_from(
        feed: TrustDomain,
        epoch: u64,
        floor_sequence: u64,
        floor_hash: [u8; 32],
        deltas: impl IntoIterator<Item = Delta>,
    ) -> Result<Self, BadFeed> {
        if floor_sequence == 0 && floor_hash != genesis(&feed, epoch) {
            return Err(BadFeed::Forked { sequence: 0 });
        }
        let mut writer = FeedWriter {
            feed,
            epoch,
            sequence: floor_sequence,
            hash: floor_hash,
            floor_sequence,
            floor_hash,
            deltas: VecDeque::new(),
        };
        for delta in deltas {
            if writer.sequence.checked_add(1) != Some(delta.sequence) {
                return Err(BadFeed::Gap { found: delta.sequence, held: writer.sequence });
            }
            writer.push(delta);
        }
        Ok(writer)
    }

    /// Takes in a delta that was committed; its number is the next.
    pub fn append(&mut self, revocation: Revocation, at: UnixMillis, expires: UnixMillis) -> Delta {
        let delta = Delta { sequence: self.sequence.saturating_add(1), at, expires, revocation };
        self.push(delta.clone());
        delta
    }

    fn push(&mut self, delta: Delta) {
        let bytes = delta.encode();
        self.hash = link(&self.hash, &bytes);
        self.sequence = delta.sequence;
        self.deltas.push_back((delta, bytes));
    }

    /// Raises the floor over the deltas at the front of which everything has expired.
    pub fn advance_floor(&mut self, now: UnixMillis) {
        let over = |delta: &Delta| delta.expires.plus_ms(limits::CLOCK_SKEW_MS) <= now;
        while self.deltas.front().is_some_and(|(delta, _)| over(delta)) {
            if let Some((delta, bytes)) = self.deltas.pop_front() {
                self.floor_hash = link(&self.floor_hash, &bytes);
                self.floor_sequence = delta.sequence;
            }
        }
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of the last delta.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The deltas that a reader at this position lacks, with their numbers. A reader of another
    /// epoch, or from below the floor, gets all.
    pub fn deltas_after(&self, epoch: u64, sequence: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let known =
            epoch == self.epoch && (self.floor_sequence..=self.sequence).contains(&sequence);
        let after = if known { sequence } else { self.floor_sequence };
        let lacking = self.deltas.iter().filter(move |(delta, _)| delta.sequence > after);
        lacking.map(|(delta, bytes)| (delta.sequence, bytes.as_slice()))
    }

    /// The head to be signed now.
    pub fn head(&self, time: UnixMillis) -> Head {
        Head {
            feed: self.feed.clone(),
            epoch: self.epoch,
            sequence: self.sequence,
            hash: self.hash,
            floor_sequence: self.floor_sequence,
            floor_hash: self.floor_hash,
            time,
        }
    }
}
