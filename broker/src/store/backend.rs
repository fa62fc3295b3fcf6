//! What a store lies in: batches in, everything out when it is opened. docs/ARCHITECTURE, "The store".
//!
//! Owns: the trait of all backends, and what goes in and out. Does not own: a backend, what a batch means
//! (`sublet_core::state`).

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
    /// Changes of rows, in order.
    pub changes: Vec<Change>,
    /// New entries.
    pub entries: Vec<Entry>,
    /// Which of them belong to a delegation, by index.
    pub of_delegations: Vec<(DelegationId, u64)>,
    /// Older entries of which the payload is erased, by index.
    pub erased: Vec<u64>,
    /// Older entries that are forgotten: ranges of indices, each a whole entry bundle.
    pub pruned: Vec<Range<u64>>,
    /// Which of them belonged to a delegation, by index.
    pub unlisted: Vec<(DelegationId, u64)>,
    /// Tiles that they fill.
    pub tiles: Vec<FullTile>,
    /// Size and root of the ledger after them; `None` when nothing was recorded.
    pub head: Option<(u64, Hash)>,
    /// The signed head of the ledger before them, with its size.
    pub checkpoint: Option<(u64, Vec<u8>)>,
}

/// Everything that a backend holds when it is opened.
#[derive(Debug)]
pub struct Loaded {
    /// All rows, in any order but revocations by sequence.
    pub rows: Vec<Row>,
    /// What there is of the ledger.
    pub ledger: StoredLedger,
}

/// A place where batches lie. Called by the committer thread alone.
pub trait Backend: Send + 'static {
    /// Reads everything, and refuses a store that is not as it was left.
    fn load(&mut self, domain: &TrustDomain) -> Result<Loaded, Fault>;

    /// Writes a batch, whole; durable when it returns.
    fn persist(&mut self, batch: &Batch) -> Result<(), Fault>;

    /// A reader of entries, for other threads.
    fn reader(&self) -> Arc<dyn LedgerReader>;

    /// What it is, for people.
    fn name(&self) -> &'static str;
}

/// What a backend has of a ledger when it is opened.
#[derive(Debug, Default)]
pub struct StoredLedger {
    /// Size and root, as the last batch left them.
    pub head: Option<(u64, Hash)>,
    /// The leaves behind the last full tile, verbatim.
    pub tail: Vec<Vec<u8>>,
    /// The last signed head that was kept.
    pub checkpoint: Option<Vec<u8>>,
}
