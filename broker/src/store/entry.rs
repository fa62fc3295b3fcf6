//! An entry of the ledger as it lies in the store.

/// A ledger entry as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// The leaf, verbatim.
    pub leaf: Vec<u8>,
    /// What lies beside it; `None` too when it was erased.
    pub payload: Option<Vec<u8>>,
}
