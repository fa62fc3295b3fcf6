//! An entry of the ledger, as it is stored.

/// A ledger entry, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The index in the ledger.
    pub index: u64,
    /// The leaf, byte for byte.
    pub leaf: Vec<u8>,
    /// The payload; `None` if the record has none or if it was erased.
    pub payload: Option<Vec<u8>>,
}
