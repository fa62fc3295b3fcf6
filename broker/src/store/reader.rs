//! Reading the ledger, over any backend.

use sublet_core::base::id::DelegationId;
use sublet_core::refusal::Fault;
use sublet_ledger::tile::Tiles;

use super::entry::Entry;

/// Reads the ledger.
pub trait LedgerReader: Tiles + Send + Sync + 'static {
    /// Returns the entries with an index of at least `from`, at most `most`, in order. Pruned entries
    /// are missing.
    fn range(&self, from: u64, most: usize) -> Result<Vec<Entry>, Fault>;

    /// Returns the entries of a delegation with an index of at least `from`, at most `most`, in order.
    fn of_delegation(
        &self,
        delegation: &DelegationId,
        from: u64,
        most: usize,
    ) -> Result<Vec<Entry>, Fault>;

    /// Returns the stored checkpoints with a size of at least `from`, at most `most`, in order.
    fn checkpoints(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Fault>;
}
