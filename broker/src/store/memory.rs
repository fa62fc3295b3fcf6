//! A store in memory, for tests. It is the model that other backends are compared with.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use sublet_core::base::id::{DelegationId, TrustDomain};
use sublet_core::refusal::Fault;
use sublet_core::state::{Change, Row};
use sublet_ledger::Hash;
use sublet_ledger::tile::{Tiles, WIDTH};

use super::{Backend, Batch, Entry, LedgerReader, Loaded, StoredLedger, codec};

/// Batches in memory. A clone is another handle on the same data, like a disk after a restart.
#[derive(Clone, Default)]
pub struct Memory {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// The rows by their keys as bytes, in the order of a disk.
    rows: BTreeMap<Vec<u8>, Row>,
    entries: BTreeMap<u64, Entry>,
    of_delegations: Vec<(DelegationId, u64)>,
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
    head: Option<(u64, Hash)>,
    checkpoints: BTreeMap<u64, Vec<u8>>,
}

impl Inner {
    fn change(&mut self, change: &Change) {
        match change {
            Change::Put(row) => drop(self.rows.insert(codec::encode_key(&row.key()), *row.clone())),
            Change::Forget(key) => drop(self.rows.remove(&codec::encode_key(key))),
        }
    }
}

fn damaged<T>(_: T) -> Fault {
    Fault::Internal("a thread died while it held the memory store".to_owned())
}

impl Backend for Memory {
    fn load(&mut self, _: &TrustDomain) -> Result<Loaded, Fault> {
        let inner = self.inner.read().map_err(damaged)?;
        let size = inner.head.map_or(0, |(size, _)| size);
        let full = size - size % u64::from(WIDTH);
        let ledger = StoredLedger {
            head: inner.head,
            tail: inner.entries.range(full..).map(|(_, entry)| entry.leaf.clone()).collect(),
            checkpoint: inner.checkpoints.last_key_value().map(|(_, note)| note.clone()),
        };
        Ok(Loaded { rows: inner.rows.values().cloned().collect(), ledger })
    }

    fn persist(&mut self, batch: &Batch) -> Result<(), Fault> {
        let mut inner = self.inner.write().map_err(damaged)?;
        for change in &batch.changes {
            inner.change(change);
        }
        inner.entries.extend(batch.entries.iter().map(|entry| (entry.index, entry.clone())));
        inner.of_delegations.extend(&batch.of_delegations);
        for index in &batch.erased {
            if let Some(entry) = inner.entries.get_mut(index) {
                entry.payload = None;
            }
        }
        for range in &batch.pruned {
            inner.entries.retain(|index, _| !range.contains(index));
        }
        inner.of_delegations.retain(|listed| !batch.unlisted.contains(listed));
        let tiles = batch.tiles.iter();
        inner.tiles.extend(tiles.map(|tile| ((tile.level, tile.index), tile.bytes.clone())));
        inner.head = batch.head.or(inner.head);
        inner.checkpoints.extend(batch.checkpoint.clone());
        Ok(())
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        Arc::new(self.clone())
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

impl Tiles for Memory {
    fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>> {
        self.inner.read().ok()?.tiles.get(&(level, index)).cloned()
    }
}

impl LedgerReader for Memory {
    fn range(&self, from: u64, most: usize) -> Result<Vec<Entry>, Fault> {
        let inner = self.inner.read().map_err(damaged)?;
        Ok(inner.entries.range(from..).take(most).map(|(_, entry)| entry.clone()).collect())
    }

    fn of_delegation(
        &self,
        delegation: &DelegationId,
        from: u64,
        most: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let inner = self.inner.read().map_err(damaged)?;
        let of = inner.of_delegations.iter();
        let of = of.filter(|(id, index)| id == delegation && *index >= from);
        Ok(of.filter_map(|(_, index)| inner.entries.get(index)).take(most).cloned().collect())
    }

    fn checkpoints(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let inner = self.inner.read().map_err(damaged)?;
        Ok(inner.checkpoints.range(from..).take(most).map(|(_, note)| note.clone()).collect())
    }
}
