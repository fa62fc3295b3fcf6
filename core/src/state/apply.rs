//! The state machine: effects in, the next state and what was given out. Pure, so that the committer, a
//! model in memory and the tests go the same way.
//!
//! Owns: sequence numbers, ledger indices, the rows that follow from a commit (a delegation's count and
//! last leaf), the order of changes. Does not own: the decision, the bytes of a record, the disk.
//!
//! Invariants: effects are applied whole or not at all; the changes of [`Applied`], taken in again in the
//! same order by [`State::follow`], give the same state; a record's time is no earlier than that of the one
//! before it.

use std::collections::BTreeMap;

use super::ledger_end::LedgerEnd;
use super::{Change, Delegation, Effects, Mutation, Row, RowKey, State};
use crate::base::id::{DelegationId, UnixMillis};
use crate::revocation::feed::{Delta, FeedFloor};

/// Where a record comes to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its index in the ledger.
    pub index: u64,
    /// Its number among its delegation's records, from 0; 0 outside of one.
    pub position: u64,
    /// The leaf hash of the delegation's record before it; zeros for the first.
    pub previous: [u8; 32],
    /// The number of the last revocation that was in force when it was decided.
    pub revocation_sequence: u64,
    /// When it is recorded: at the time of the decision, or at that of the record before it if that is later.
    pub time: UnixMillis,
}

/// A record that waits for its place in the ledger.
pub trait Placed {
    /// The delegation that it belongs to.
    fn delegation(&self) -> Option<DelegationId>;

    /// Whether it is of a hop behind a root.
    fn is_hop(&self) -> bool;

    /// Takes its place, and returns the hash of its leaf.
    fn place(&mut self, place: &Place) -> [u8; 32];
}

/// Something that the decision rests on has changed since. Nothing was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outdated;

/// What a commit gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<R> {
    /// The changes of rows, in order.
    pub changes: Vec<Change>,
    /// The records, each at its place; the first has the index `first`.
    pub records: Vec<R>,
    /// The index of the first record.
    pub first: u64,
    /// Older records whose payload is erased, by index.
    pub erased: Vec<u64>,
}

impl State {
    /// Applies what was decided at `now`, if all that the decision rests on still holds.
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

    /// Takes in what another state was given: the changes of a commit, and where the ledger ends behind it.
    pub fn follow(&mut self, changes: impl IntoIterator<Item = Change>, ledger: LedgerEnd) {
        for change in changes {
            match change {
                Change::Put(row) => self.put(*row),
                Change::Forget(key) => self.forget(&key),
            }
        }
        self.ledger = ledger;
    }

    /// Forgets rows that ended before `before`, at most `most` of them.
    pub fn expire(&mut self, before: UnixMillis, most: usize) -> Vec<Change> {
        let expired = self.expired(before, most);
        expired.iter().for_each(|key| self.forget(key));
        expired.into_iter().map(Change::Forget).collect()
    }

    /// Raises the floor of the revocation feed. `passed` lie below it and are forgotten; `again` lay below it
    /// and still hold, so they are stated once more, with new numbers.
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
            // Its count and last leaf are known once its records have their places.
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
            // What is stored never falls: a restart reads it.
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

    /// Gives a record its place: behind the last one of the ledger, and of its delegation.
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

/// What a commit has given so far.
#[derive(Default)]
struct Made {
    changes: Vec<Change>,
    /// Delegations whose rows follow from the records.
    delegations: BTreeMap<DelegationId, Delegation>,
    erased: Vec<u64>,
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
