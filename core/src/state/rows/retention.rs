//! Retention of the ledger. docs/DESIGN, "Erasure and pruning"; docs/decisions/0017.
//!
//! Owns: the index below which records may be pruned, and the legal holds, which keep records below
//! it. Does not own: the pruning (the committer).
//!
//! Invariants: the floor only rises; whatever a legal hold touches stays whole until the hold is
//! removed; hashes of records are never removed, so every proof stays valid.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::base::id::UnixMillis;

/// The most legal holds at one time.
pub const HOLDS_MAX: usize = 1_000;

/// A legal hold: these records may be neither pruned nor erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The name that an operator gave it: 1 to 63 of a-z 0-9 -.
    pub name: String,
    /// The index of the first record.
    pub from: u64,
    /// The index after the last record; `u64::MAX` for all records to come.
    pub to: u64,
    /// When it was placed.
    pub placed_at: UnixMillis,
}

impl Hold {
    fn touches(&self, records: &Range<u64>) -> bool {
        self.from < records.end && records.start < self.to
    }
}

/// The floor and the legal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    floor: u64,
    holds: BTreeMap<String, Hold>,
}

impl Retention {
    /// Returns the floor. Records with a lower index may be pruned.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Returns all legal holds, by name.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values()
    }

    /// Returns a legal hold; `None` when there is none with this name.
    pub fn hold(&self, name: &str) -> Option<&Hold> {
        self.holds.get(name)
    }

    /// Returns a legal hold that touches these records; `None` when there is none.
    pub fn held(&self, records: &Range<u64>) -> Option<&Hold> {
        self.holds.values().find(|hold| hold.touches(records))
    }

    /// Returns whether all of these records may be pruned now.
    pub fn may_go(&self, records: &Range<u64>) -> bool {
        records.end <= self.floor && self.held(records).is_none()
    }

    pub(crate) fn raise(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    pub(crate) fn put(&mut self, hold: Hold) {
        self.holds.insert(hold.name.clone(), hold);
    }

    pub(crate) fn release(&mut self, name: &str) {
        self.holds.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(name: &str, from: u64, to: u64) -> Hold {
        Hold { name: name.into(), from, to, placed_at: UnixMillis(0) }
    }

    #[test]
    fn what_a_hold_touches_stays() {
        let mut retention = Retention::default();
        assert!(!retention.may_go(&(0..1)), "nothing goes of itself");
        retention.raise(100);
        retention.raise(50);
        retention.put(hold("case", 40, 41));
        for (records, goes) in
            [(0..40, true), (0..41, false), (40..41, false), (41..100, true), (41..101, false)]
        {
            assert_eq!(retention.may_go(&records), goes, "{records:?}");
        }
        retention.release("case");
        assert!(retention.may_go(&(0..100)));
        retention.put(hold("all", 90, u64::MAX));
        assert!(retention.held(&(1_000_000..1_000_001)).is_some());
        assert!(retention.may_go(&(0..90)) && !retention.may_go(&(0..91)));
    }
}
