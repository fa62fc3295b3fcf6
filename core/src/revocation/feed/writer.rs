//! The broker's side of the feed. SPEC section 7.
//!
//! Invariants: deltas are numbered from the floor on without a gap; the floor only rises, past
//! deltas that have no effect any more or that are repeated above it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::delta::{genesis, link};
use super::{BadFeed, Delta, FeedPosition, Head, Revocation};
use crate::base::id::{TrustDomain, UnixMillis};

/// How many deltas without effect may lie above the floor in addition to as many as have effect. So
/// the floor does not move with every revocation.
const SLACK: usize = 1024;

/// Where a feed begins for a new reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedFloor {
    /// The number of the last delta that is no longer sent; 0 when all are sent.
    pub sequence: u64,
    /// The hash up to that number.
    pub hash: [u8; 32],
}

/// The deltas that a rise of the floor removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trim {
    /// The floor after it.
    pub floor: FeedFloor,
    /// The deltas that the floor passes.
    pub passed: Vec<Delta>,
    /// Those of them that are in force and must be repeated with new numbers.
    pub again: Vec<Delta>,
}

/// The broker's side: it numbers and chains deltas, and selects what to send.
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
    /// Returns the position that the feed has reached.
    pub fn position(&self) -> FeedPosition {
        FeedPosition::new(self.epoch(), self.sequence())
    }

    /// Returns an empty feed.
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

    /// Restores a feed after a restart from all of its deltas, in order.
    pub fn resume(
        feed: TrustDomain,
        epoch: u64,
        deltas: impl IntoIterator<Item = Delta>,
    ) -> Result<Self, BadFeed> {
        let floor = FeedFloor { sequence: 0, hash: genesis(&feed, epoch) };
        FeedWriter::resume_from(feed, epoch, floor, deltas)
    }

    /// Restores a feed after a restart from a floor that it had, and the deltas after it, in order.
    pub fn resume_from(
        feed: TrustDomain,
        epoch: u64,
        floor: FeedFloor,
        deltas: impl IntoIterator<Item = Delta>,
    ) -> Result<Self, BadFeed> {
        let FeedFloor { sequence: floor_sequence, hash: floor_hash } = floor;
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

    /// Appends a committed delta with the next number, and returns it.
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

    /// Returns what can be removed now, at most `most` deltas; `None` when nothing can. Deltas at
    /// the front without effect are removed. Behind a delta that is in force, the others stay until
    /// they outnumber those in force. Then those in force are repeated at the end, so that the
    /// floor can pass them. So a reader from the floor gets at most twice the number in force and
    /// `SLACK` more, and a delta is repeated once each time that as many others were removed.
    pub fn trim(&self, in_force: impl Fn(&Delta) -> bool, most: usize) -> Option<Trim> {
        let holding = self.deltas.iter().filter(|(delta, _)| in_force(delta)).count();
        let idle = self.deltas.len().saturating_sub(holding);
        let outnumbered = idle > holding.saturating_add(SLACK);
        let mut trim = Trim { floor: self.floor(), passed: Vec::new(), again: Vec::new() };
        for (delta, bytes) in self.deltas.iter().take(most) {
            match (in_force(delta), outnumbered) {
                (true, false) => break,
                (true, true) => trim.again.push(delta.clone()),
                (false, _) => {}
            }
            trim.passed.push(delta.clone());
            trim.floor.sequence = delta.sequence;
            trim.floor.hash = link(&trim.floor.hash, bytes);
        }
        (!trim.passed.is_empty()).then_some(trim)
    }

    /// Raises the floor to the result of [`FeedWriter::trim`].
    pub fn raise_floor(&mut self, floor: &FeedFloor) {
        while self.deltas.front().is_some_and(|(delta, _)| delta.sequence <= floor.sequence) {
            self.deltas.pop_front();
        }
        self.floor_sequence = floor.sequence;
        self.floor_hash = floor.hash;
    }

    /// Returns the floor, where a new reader begins.
    pub fn floor(&self) -> FeedFloor {
        FeedFloor { sequence: self.floor_sequence, hash: self.floor_hash }
    }

    /// Returns how many deltas are above the floor, which is how many a new reader gets.
    pub fn len(&self) -> usize {
        self.deltas.len()
    }

    /// Returns whether no delta is above the floor.
    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    /// Returns the epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the number of the last delta.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns the deltas that a reader at this position lacks, with their numbers. A reader of
    /// another epoch, or below the floor, gets all.
    pub fn deltas_after(&self, epoch: u64, sequence: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let known =
            epoch == self.epoch && (self.floor_sequence..=self.sequence).contains(&sequence);
        let after = if known { sequence } else { self.floor_sequence };
        // The deltas are numbered from the floor on without a gap.
        let passed = usize::try_from(after - self.floor_sequence).unwrap_or(usize::MAX);
        self.deltas.iter().skip(passed).map(|(delta, bytes)| (delta.sequence, bytes.as_slice()))
    }

    /// Returns the head to be signed at this time.
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
