//! The store: one read before a decision, one atomic write after it. docs/ARCHITECTURE, "The store".
//!
//! Owns: the state in memory, the committer thread, the ledger's records. Does not own: decisions
//! (`sublet_core::decide`), how bytes are stored on disk (a [`Backend`]).
//!
//! Invariants: a commit is applied whole or not at all, and only if what the decision read has not
//! changed. Nothing is visible or answered before it is durable. The queue is bounded. After a failed
//! write nothing is granted any more.

mod backend;
mod blobs;
mod codec;
mod commit;
mod committer;
mod draft;
mod embedded;
mod entry;
pub(crate) mod inception;
mod ledger;
mod memory;
mod open;
pub(crate) mod reached;
mod reader;
mod segment;
mod sled;

pub use backend::{Backend, Batch, Loaded, StoredLedger};
pub(crate) use codec::{cbor, from_cbor};
pub use commit::{Commit, Committed, NotCommitted};
pub(crate) use committer::PRUNE_MAX;
pub use embedded::open_embedded;
pub use entry::Entry;
pub use ledger::{CheckpointSigner, Published, checkpoint_keys};
pub use memory::Memory;
pub use open::{QUEUE_MAX, Store};
pub use reader::LedgerReader;
pub use sled::Sled;
