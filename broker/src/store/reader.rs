//! Reading the ledger, from whatever it lies in.

use sublet_core::base::id::DelegationId;
use sublet_core::refusal::Fault;
use sublet_ledger::tile::Tiles;

use super::entry::Entry;

/// Reads the ledger.
pub trait LedgerReader: Tiles + Send + Sync + 'static {
    /// The entries with an index of at least `from`, at most `most`; in order.
    fn range(&self, from: u64, most: usize) -> Result<Vec<Entry>, Fault>;

    /// The entries of a delegation with an index of at least `from`, at most `most`.
    fn of_delegation(
        &self,
        delegation: &DelegationId,
        from: u64,
        most: usize,
    ) -> Result<Vec<Entry>, Fault>;

    /// The signed heads that were kept, of sizes of at least `from`, at most `most`; in order.
    fn checkpoints(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Fault>;
}
