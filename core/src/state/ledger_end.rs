//! Where the ledger ends: the next record's index, and the time that it is no earlier than. SPEC 9.2.
//!
//! Owns: the two numbers. Does not own: how they move (`apply`), the tree (`sublet-ledger`).

use crate::base::id::UnixMillis;

/// Where the ledger ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEnd {
    /// How many records it has.
    pub size: u64,
    /// The time of its last record; the earliest time there is when it is empty.
    pub last: UnixMillis,
}

impl LedgerEnd {
    /// The end of an empty ledger.
    pub const EMPTY: LedgerEnd = LedgerEnd { size: 0, last: UnixMillis(i64::MIN) };
}
