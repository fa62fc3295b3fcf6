//! The end of the ledger: the next record's index, and its earliest time. SPEC 9.2.
//!
//! Owns: the two numbers. Does not own: how they change (`apply`), the tree (`sublet-ledger`).

use crate::base::id::UnixMillis;

/// The end of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEnd {
    /// How many records there are.
    pub size: u64,
    /// The time of the last record; the earliest possible time when there is none.
    pub last: UnixMillis,
}

impl LedgerEnd {
    /// The end of an empty ledger.
    pub const EMPTY: LedgerEnd = LedgerEnd { size: 0, last: UnixMillis(i64::MIN) };
}
