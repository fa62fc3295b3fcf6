//! Where a store keeps its data. Batches go in; everything comes out when it is opened.
//! docs/ARCHITECTURE, "The store".
//!
//! Owns: the trait of all backends, and the types that go in and out. Does not own: a backend, the
//! meaning of a batch (`sublet_core::state`).

use std::ops::Range;
use std::sync::Arc;

use sublet_core::base::id::{DelegationId, TrustDomain};
use sublet_core::refusal::Fault;
use sublet_core::state::{Change, Row};
use sublet_ledger::Hash;
use sublet_ledger::tile::FullTile;

use super::entry::Entry;
use super::reader::LedgerReader;

/// What one round of the committer writes, atomically.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Changes of rows, in order. Of two changes of one key the later counts.
    pub changes: Vec<Change>,
    /// New ledger entries, in order of index.
    pub entries: Vec<Entry>,
    /// The indices of those entries that belong to a delegation.
    pub of_delegations: Vec<(DelegationId, u64)>,
    /// The indices of older entries whose payload is erased.
    pub erased: Vec<u64>,
    /// The indices of older entries that are pruned. Each range is a whole entry bundle.
    pub pruned: Vec<Range<u64>>,
    /// The indices of the pruned entries that belonged to a delegation.
    pub unlisted: Vec<(DelegationId, u64)>,
    /// Tiles that the new entries fill.
    pub tiles: Vec<FullTile>,
    /// The size and root hash of the ledger after the new entries; `None` if there are none.
    pub head: Option<(u64, Hash)>,
    /// The last signed checkpoint before the new entries, with its size; `None` if there are no entries.
    pub checkpoint: Option<(u64, Vec<u8>)>,
}

/// Everything that a backend holds when it is opened.
#[derive(Debug)]
pub struct Loaded {
    /// All rows. Revocations are in order of sequence number; other rows are in any order.
    pub rows: Vec<Row>,
    /// What is stored of the ledger.
    pub ledger: StoredLedger,
}

/// A place where batches are stored. Only the committer thread calls it.
pub trait Backend: Send + 'static {
    /// Reads everything. A fault if the store is of another schema or trust domain, or is damaged.
    fn load(&mut self, domain: &TrustDomain) -> Result<Loaded, Fault>;

    /// Writes a batch whole. The batch is durable when this returns.
    fn persist(&mut self, batch: &Batch) -> Result<(), Fault>;

    /// Returns a reader of the ledger, for other threads.
    fn reader(&self) -> Arc<dyn LedgerReader>;

    /// Returns the name of the backend, for people.
    fn name(&self) -> &'static str;
}

/// What a backend has stored of a ledger.
#[derive(Debug, Default)]
pub struct StoredLedger {
    /// The size and root hash after the last batch; `None` for an empty ledger.
    pub head: Option<(u64, Hash)>,
    /// The leaves after the last full tile, byte for byte.
    pub tail: Vec<Vec<u8>>,
    /// The last signed checkpoint that was kept; `None` if none was.
    pub checkpoint: Option<Vec<u8>>,
}
