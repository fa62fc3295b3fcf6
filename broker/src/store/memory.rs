//! A store in memory: for tests, and the model that the others are held against.

use std::sync::{Arc, RwLock};

use sublet_core::id::{DelegationId, TrustDomain};
use sublet_core::no::Fault;
use sublet_core::state::Row;
use sublet_ledger::Log;

use super::{Backend, Batch, Entry, EntryReader, Loaded};

/// Batches in memory. A clone is another handle on the same store, as a disk is after a restart.
#[derive(Clone, Default)]
pub struct Memory {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    rows: RwLock<Vec<Row>>,
    entries: RwLock<Vec<Entry>>,
}

fn damaged<T>(_: T) -> Fault {
    Fault::Internal("a thread died while it held the memory store".to_owned())
}

impl Backend for Memory {
    fn load(&mut self, _: &TrustDomain) -> Result<Loaded, Fault> {
        let rows = self.inner.rows.read().map_err(damaged)?.clone();
        let entries = self.inner.entries.read().map_err(damaged)?;
        let log = sublet_ledger::verify_sequence(
            Log::empty(),
            entries.iter().map(|entry| (&entry.leaf, entry.link)),
        );
        Ok(Loaded { rows, log: log.map_err(|broken| Fault::Internal(broken.to_string()))? })
    }

    fn persist(&mut self, batch: &Batch) -> Result<(), Fault> {
        let mut rows = self.inner.rows.write().map_err(damaged)?;
        rows.extend(batch.rows.iter().cloned());
        self.inner.entries.write().map_err(damaged)?.extend(batch.entries.iter().cloned());
        Ok(())
    }

    fn reader(&self) -> Arc<dyn EntryReader> {
        Arc::new(self.clone())
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

impl EntryReader for Memory {
    fn of_delegation(
        &self,
        delegation: &DelegationId,
        from: u64,
        most: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let entries = self.inner.entries.read().map_err(damaged)?;
        let of = entries
            .iter()
            .filter(|entry| entry.index >= from && entry.delegation == Some(*delegation));
        Ok(of.take(most).cloned().collect())
    }
}
