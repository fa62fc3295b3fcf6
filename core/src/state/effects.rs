//! The effects of a decision, if it is committed.
//!
//! Owns: their three parts, which stay together from the decision to the commit. Does not own: how
//! they change the state (`apply`).

use super::{Precondition, RecordedHop, Row};
use crate::base::id::UnixMillis;
use crate::evidence::record::Record;
use crate::revocation::feed::Revocation;

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A row replaces the row with the same key. Hops, revocations and the floor have mutations of
    /// their own, because `apply` sets part of their rows.
    Put(Box<Row>),
    /// A hop is recorded. Its ledger index is that of the decision's record `record`.
    RecordHop {
        /// The row; `apply` sets its index.
        hop: RecordedHop,
        /// The number of the record among these effects, from 0.
        record: usize,
    },
    /// A subject is revoked. `apply` sets the number in the feed.
    Revoke {
        /// The subject.
        revocation: Revocation,
        /// When everything that the revocation could end has expired.
        expires_at: UnixMillis,
    },
    /// Records below this index may be pruned. A higher floor stays.
    RaiseFloor(u64),
    /// The legal hold of this name is removed.
    RemoveLegalHold(String),
    /// The payload of the record with this index is erased.
    ErasePayload(u64),
}

impl Mutation {
    /// Returns whether the trust bundle changes.
    pub fn is_trust(&self) -> bool {
        matches!(self, Mutation::Put(row) if matches!(**row, Row::Trust(_)))
    }
}

impl<R: Into<Row>> From<R> for Mutation {
    fn from(row: R) -> Self {
        Mutation::Put(Box::new(row.into()))
    }
}

/// The effects of a decision, if it is committed: all of them or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects<R = Record> {
    /// The conditions that must still hold.
    pub preconditions: Vec<Precondition>,
    /// The changes, in order.
    pub mutations: Vec<Mutation>,
    /// The records, in order.
    pub records: Vec<R>,
}

impl<R> Default for Effects<R> {
    fn default() -> Self {
        Effects { preconditions: Vec::new(), mutations: Vec::new(), records: Vec::new() }
    }
}

impl<R> Effects<R> {
    /// Returns whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.mutations.is_empty() && self.records.is_empty()
    }

    /// Appends other effects, whose mutations must not refer to records.
    pub fn extend(&mut self, next: Effects<R>) {
        self.preconditions.extend(next.preconditions);
        self.mutations.extend(next.mutations);
        self.records.extend(next.records);
    }
}
