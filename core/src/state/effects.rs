//! What a decision does, if it is committed.
//!
//! Owns: the three parts of it, which go together from the decision into the commit. Does not own: how
//! they change the state (`apply`).

use super::{Precondition, RecordedHop, Row};
use crate::base::id::UnixMillis;
use crate::evidence::record::Record;
use crate::revocation::feed::Revocation;

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A row takes the place of the one of its key. Hops, revocations and the floor have mutations of
    /// their own, because `apply` gives part of their rows.
    Put(Box<Row>),
    /// A hop is recorded; its ledger index is that of the decision's record `record`.
    RecordHop {
        /// The row; its index is given by `apply`.
        hop: RecordedHop,
        /// Which record of the same effects it stands in, from 0.
        record: usize,
    },
    /// Something is revoked; the number in the feed is given by `apply`.
    Revoke {
        /// What.
        revocation: Revocation,
        /// When all that it could end has expired.
        expires_at: UnixMillis,
    },
    /// Records below this index may be pruned. Where the floor lies higher it stays there.
    RaiseFloor(u64),
    /// The hold of this name is gone.
    RemoveLegalHold(String),
    /// The payload beside the record of this index is erased.
    ErasePayload(u64),
}

impl Mutation {
    /// Whether the trust bundle changes.
    pub fn is_trust(&self) -> bool {
        matches!(self, Mutation::Put(row) if matches!(**row, Row::Trust(_)))
    }
}

impl<R: Into<Row>> From<R> for Mutation {
    fn from(row: R) -> Self {
        Mutation::Put(Box::new(row.into()))
    }
}

/// What a decision does, if it is committed: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects<R = Record> {
    /// What must still hold.
    pub preconditions: Vec<Precondition>,
    /// What changes, in order.
    pub mutations: Vec<Mutation>,
    /// What is recorded, in order.
    pub records: Vec<R>,
}

impl<R> Default for Effects<R> {
    fn default() -> Self {
        Effects { preconditions: Vec::new(), mutations: Vec::new(), records: Vec::new() }
    }
}

impl<R> Effects<R> {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.mutations.is_empty() && self.records.is_empty()
    }

    /// These effects, and behind them others, whose mutations name no records.
    pub fn extend(&mut self, next: Effects<R>) {
        self.preconditions.extend(next.preconditions);
        self.mutations.extend(next.mutations);
        self.records.extend(next.records);
    }
}
