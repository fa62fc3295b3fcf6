//! The state machine: it applies effects, and returns what changed. Pure, so the committer, an
//! in-memory model and the tests use the same code.
//!
//! Owns: sequence numbers, ledger indices, the rows that follow from a commit (a delegation's count
//! and last leaf), the order of changes. Does not own: the decision, the bytes of a record, the
//! disk.
//!
//! Invariants: effects are applied whole or not at all; the changes of [`Applied`], applied in the
//! same order by [`State::follow`], give the same state; a record's time is not earlier than that
//! of the record before it.

use std::collections::BTreeMap;

use super::ledger_end::LedgerEnd;
use super::{Change, Delegation, Effects, Mutation, Row, RowKey, State};
use crate::base::id::{DelegationId, UnixMillis};
use crate::revocation::feed::{Delta, FeedFloor};

/// The place of a record in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index of the record in the ledger.
    pub index: u64,
    /// The number of the record among its delegation's records, from 0; 0 for a record of no
    /// delegation.
    pub position: u64,
    /// The leaf hash of the delegation's previous record; zeros for the first.
    pub previous: [u8; 32],
    /// The number of the last revocation that was in force at the decision.
    pub revocation_sequence: u64,
    /// The time of the record: that of the decision, or of the record before it if that is later.
    pub time: UnixMillis,
}

/// A record that has no place in the ledger yet.
pub trait Placed {
    /// Returns the delegation that the record belongs to; `None` when it belongs to none.
    fn delegation(&self) -> Option<DelegationId>;

    /// Returns whether it records a hop after the root.
    fn is_hop(&self) -> bool;

    /// Sets the place of the record, and returns the hash of its leaf.
    fn place(&mut self, place: &Place) -> [u8; 32];
}

/// Something that the decision read has changed since. Nothing was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outdated;

/// The result of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<R> {
    /// The changes of rows, in order.
    pub changes: Vec<Change>,
    /// The records with their places. The first has the index `first`.
    pub records: Vec<R>,
    /// The index of the first record.
    pub first: u64,
    /// The indices of earlier records whose payload is erased.
    pub erased: Vec<u64>,
}

impl State {
    /// Applies the effects of a decision that was made at `now`, if all of its preconditions still
    /// hold.
    pub fn apply<R: Placed>(
        &mut self,
        effects: Effects<R>,
        now: UnixMillis,
    ) -> Result<Applied<R>, Outdated> {
        if !self.meets(&effects.preconditions) {
            return Err(Outdated);
        }
        let Effects { mutations, mut records, .. } = effects;
        let first = self.ledger.size;
        let mut made = Made::default();
        for mutation in mutations {
            self.mutate(mutation, (now, first), &mut made);
        }
        let revocation_sequence = self.revocation_sequence;
        for record in &mut records {
            self.place(record, (now, revocation_sequence), &mut made.delegations);
        }
        let Made { mut changes, delegations, erased } = made;
        for row in delegations.into_values() {
            self.take(Row::Delegation(row), &mut changes);
        }
        Ok(Applied { changes, records, first, erased })
    }

    /// Applies the changes of another state's commit. `ledger` is the end of the ledger after it.
    pub fn follow(&mut self, changes: impl IntoIterator<Item = Change>, ledger: LedgerEnd) {
        for change in changes {
            match change {
                Change::Put(row) => self.put(*row),
                Change::Forget(key) => self.forget(&key),
            }
        }
        self.ledger = ledger;
    }

    /// Removes rows that ended before `before`, at most `most` of them. Returns the changes.
    pub fn expire(&mut self, before: UnixMillis, most: usize) -> Vec<Change> {
        let expired = self.expired(before, most);
        expired.iter().for_each(|key| self.forget(key));
        expired.into_iter().map(Change::Forget).collect()
    }

    /// Raises the floor of the revocation feed. `passed` are the deltas below it, which are
    /// removed; `again` are those of them that are in force, which get new numbers. Returns the
    /// changes.
    pub fn raise_feed_floor(
        &mut self,
        floor: FeedFloor,
        passed: Vec<Delta>,
        again: Vec<Delta>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for delta in again {
            let sequence = self.revocation_sequence.saturating_add(1);
            self.take(Row::Revocation(Delta { sequence, ..delta }), &mut changes);
        }
        for delta in passed {
            let key = RowKey::Revocation(delta.sequence, delta.revocation);
            self.forget(&key);
            changes.push(Change::Forget(key));
        }
        self.take(Row::FeedFloor(floor), &mut changes);
        changes
    }

    fn mutate(&mut self, mutation: Mutation, (now, first): (UnixMillis, u64), made: &mut Made) {
        let row = match mutation {
            // Its count and last leaf are known only after its records have their places.
            Mutation::Put(row) => match *row {
                Row::Delegation(row) => {
                    self.put(Row::Delegation(row.clone()));
                    made.delegations.insert(row.id, row);
                    return;
                }
                row => row,
            },
            Mutation::RecordHop { mut hop, record } => {
                hop.index = first.saturating_add(record as u64);
                Row::Hop(hop)
            }
            Mutation::Revoke { revocation, expires_at } => {
                let sequence = self.revocation_sequence.saturating_add(1);
                Row::Revocation(Delta { sequence, at: now, expires: expires_at, revocation })
            }
            // The stored floor never falls, because a restart reads it.
            Mutation::RaiseFloor(floor) => Row::Floor(floor.max(self.retention.floor())),
            Mutation::RemoveLegalHold(name) => {
                let key = RowKey::Hold(name);
                self.forget(&key);
                made.changes.push(Change::Forget(key));
                return;
            }
            Mutation::ErasePayload(index) => {
                made.erased.push(index);
                return;
            }
        };
        self.take(row, &mut made.changes);
    }

    /// Sets the place of a record: after the last one of the ledger, and of its delegation.
    fn place<R: Placed>(
        &mut self,
        record: &mut R,
        (now, revocation_sequence): (UnixMillis, u64),
        delegations: &mut BTreeMap<DelegationId, Delegation>,
    ) {
        let LedgerEnd { size: index, last } = self.ledger;
        let time = now.max(last);
        let row = record
            .delegation()
            .and_then(|id| delegations.remove(&id).or_else(|| self.delegations.get(&id).cloned()));
        let (position, previous) =
            row.as_ref().map_or((0, [0; 32]), |row| (row.records, row.last_leaf));
        let leaf = record.place(&Place { index, position, previous, revocation_sequence, time });
        self.ledger = LedgerEnd { size: index.saturating_add(1), last: time };
        if let Some(mut row) = row {
            row.records = row.records.saturating_add(1);
            row.last_leaf = leaf;
            row.hops = row.hops.saturating_add(u64::from(record.is_hop()));
            delegations.insert(row.id, row);
        }
    }

    fn take(&mut self, row: Row, changes: &mut Vec<Change>) {
        self.put(row.clone());
        changes.push(Change::Put(Box::new(row)));
    }
}

/// The result of a commit so far.
#[derive(Default)]
struct Made {
    changes: Vec<Change>,
    /// The delegations whose rows follow from the records.
    delegations: BTreeMap<DelegationId, Delegation>,
    erased: Vec<u64>,
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
