//! What of the ledger may go. docs/DESIGN, "Erasure and pruning"; docs/decisions/0017.
//!
//! Owns: the index below which records may be forgotten, and the holds that keep some of them all
//! the same. Does not own: the forgetting itself (the committer).
//!
//! Invariants: the floor only rises; what a hold touches stays, whole, until it is released; hashes
//! of records are never forgotten, so that every proof stays.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::base::id::UnixMillis;

/// Holds at once.
pub const HOLDS_MAX: usize = 1_000;

/// Keeps records from being forgotten and from being erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name, an operator's: 1 to 63 of a-z 0-9 -.
    pub name: String,
    /// The first record that it keeps.
    pub from: u64,
    /// The first record behind it; `u64::MAX` for all that is still to come.
    pub to: u64,
    /// When it was placed.
    pub placed_at: UnixMillis,
}

impl Hold {
    fn touches(&self, records: &Range<u64>) -> bool {
        self.from < records.end && records.start < self.to
    }
}

/// The floor and the holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    floor: u64,
    holds: BTreeMap<String, Hold>,
}

impl Retention {
    /// Records with a lower index may be forgotten.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// All holds, by name.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values()
    }

    /// A hold.
    pub fn hold(&self, name: &str) -> Option<&Hold> {
        self.holds.get(name)
    }

    /// A hold that touches these records.
    pub fn held(&self, records: &Range<u64>) -> Option<&Hold> {
        self.holds.values().find(|hold| hold.touches(records))
    }

    /// Whether all of these records may be forgotten now.
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
