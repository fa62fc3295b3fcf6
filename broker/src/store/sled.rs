//! The embedded store. This is the only file that names sled. docs/ARCHITECTURE, "The store".
//!
//! Measured rules: only the committer thread writes and flushes. On Linux sled's own flush reaches the
//! kernel and not the disk, so `fdatasync` on its file follows. Before it the files that sled never
//! syncs are synced (`blobs`). sled's background flush is off. Decisions never read from it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use sublet_core::base::id::{DelegationId, TrustDomain};
use sublet_core::refusal::Fault;
use sublet_core::state::Change;
use sublet_ledger::Hash;
use sublet_ledger::tile::{self, Tiles};

use super::blobs::{Blobs, segment_bytes};
use super::codec::{self, key, prefix};
use super::segment;
use super::{Backend, Batch, Entry, LedgerReader, Loaded, StoredLedger};
use crate::config::Durability;

/// The schema version of keys and rows. A store with another version is refused.
const SCHEMA: &str = "sublet 3";

/// sled's cache in bytes. All rows are in memory already, so it only serves replays.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// A sled database.
pub struct Sled {
    db: ::sled::Db,
    disk: Option<(File, Blobs)>,
}

impl Sled {
    /// Opens the database in a directory, or creates it.
    pub fn open(dir: &Path, durability: Durability) -> Result<Self, Fault> {
        let config = ::sled::Config::new()
            .path(dir)
            .segment_size(segment_bytes(dir))
            .flush_every_ms(None)
            .cache_capacity(CACHE_BYTES);
        let db = config.open().map_err(|error| fault("open", &error))?;
        let disk = match durability {
            Durability::PowerLoss => {
                let file = dir.join("db");
                let file = File::open(&file).map_err(|error| fault("open its file", &error))?;
                Some((file, Blobs::of(dir)))
            }
            Durability::Process => None,
        };
        Ok(Sled { db, disk })
    }

    fn check_schema(&mut self, domain: &TrustDomain) -> Result<(), Fault> {
        let wanted = format!("{SCHEMA} {domain}");
        let found =
            self.db.get(key(prefix::META, b"schema")).map_err(|error| fault("read", &error))?;
        match found {
            Some(found) if found == wanted.as_bytes() => Ok(()),
            Some(found) => Err(Fault::Internal(format!(
                "the store is {:?}, this program reads {wanted:?}: use the version that wrote it to export, or another data directory",
                String::from_utf8_lossy(&found)
            ))),
            // Only an empty directory is a new store.
            None if self.db.is_empty() => {
                self.db
                    .insert(key(prefix::META, b"schema"), wanted.as_bytes())
                    .map_err(|error| fault("write", &error))?;
                self.sync()
            }
            None => Err(Fault::Internal(
                "the store holds rows but no schema version; it is damaged".to_owned(),
            )),
        }
    }

    /// Returns what is stored of the ledger: size and root hash, the leaves after the last full tile,
    /// the last checkpoint.
    fn ledger(&self) -> Result<StoredLedger, Fault> {
        let head =
            self.db.get(key(prefix::META, b"head")).map_err(|error| fault("read", &error))?;
        let head = head.map(|bytes| split_head(&bytes)).transpose()?;
        let size = head.map_or(0, |(size, _)| size);
        let full = size - size % u64::from(tile::WIDTH);
        // Also reads leaves beyond the stored size, so that `resume` notices them.
        let most = usize::from(tile::WIDTH) + 1;
        let tail =
            read_entries(&self.db, full, most)?.into_iter().map(|entry| entry.leaf).collect();
        let checkpoint = self.db.scan_prefix([prefix::CHECKPOINT]).next_back().transpose();
        let checkpoint = checkpoint.map_err(|error| fault("read", &error))?;
        Ok(StoredLedger { head, tail, checkpoint: checkpoint.map(|(_, note)| note.to_vec()) })
    }

    /// Writes the affected segments again without what is erased or pruned. The old bytes remain in the
    /// database's file until sled next rewrites that part.
    fn rewrite(&self, batch: &Batch, writes: &mut ::sled::Batch) -> Result<(), Fault> {
        let erased = batch.erased.iter().map(|index| *index..index.saturating_add(1));
        let mut segments = BTreeMap::new();
        for range in erased.chain(batch.pruned.iter().cloned()) {
            self.segments_of(&range, &mut segments)?;
        }
        for (first, mut entries) in segments {
            writes.remove(index_key(prefix::LEAF, first));
            entries.retain(|entry| !batch.pruned.iter().any(|range| range.contains(&entry.index)));
            let erased = entries.iter_mut().filter(|entry| batch.erased.contains(&entry.index));
            erased.for_each(|entry| entry.payload = None);
            for (first, bytes) in segment::segments(&entries) {
                writes.insert(index_key(prefix::LEAF, first), bytes);
            }
        }
        Ok(())
    }

    /// Returns the segments that hold any of these entries.
    fn segments_of(
        &self,
        range: &Range<u64>,
        segments: &mut BTreeMap<u64, Vec<Entry>>,
    ) -> Result<(), Fault> {
        let keys = index_key(prefix::LEAF, 0)..index_key(prefix::LEAF, range.end);
        for item in self.db.range(keys).rev() {
            let (key, bytes) = item.map_err(|error| fault("read", &error))?;
            let first = split_index(&key)?;
            if let Slot::Vacant(free) = segments.entry(first) {
                free.insert(segment::entries(first, &bytes)?);
            }
            if first <= range.start {
                break;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.db.flush().map_err(|error| fault("flush", &error))?;
        let Some((file, blobs)) = &mut self.disk else { return Ok(()) };
        let written = file.metadata().and_then(|about| about.modified());
        let synced =
            written.and_then(|written| blobs.sync(written)).and_then(|()| file.sync_data());
        synced.map_err(|error| fault("sync", &error))
    }
}

fn split_head(bytes: &[u8]) -> Result<(u64, Hash), Fault> {
    let parts = bytes.split_first_chunk::<8>();
    let parts =
        parts.and_then(|(size, root)| Some((u64::from_be_bytes(*size), root.try_into().ok()?)));
    parts.ok_or_else(|| Fault::Internal("the stored head of the ledger is not one".to_owned()))
}

fn split_index(key: &[u8]) -> Result<u64, Fault> {
    let index = key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
    index.ok_or_else(|| Fault::Internal("a key of the ledger is too short".to_owned()))
}

fn index_key(prefix: u8, index: u64) -> Vec<u8> {
    key(prefix, &index.to_be_bytes())
}

/// Returns the first key after all keys with this prefix.
fn key_end(prefix: u8) -> Vec<u8> {
    vec![prefix.saturating_add(1)]
}

fn of_delegation_key(delegation: &DelegationId, index: u64) -> Vec<u8> {
    key(prefix::OF_DELEGATION, &[delegation.0.as_slice(), &index.to_be_bytes()].concat())
}

fn tile_key(level: u8, index: u64) -> Vec<u8> {
    key(prefix::TILE, &[[level].as_slice(), &index.to_be_bytes()].concat())
}

impl Backend for Sled {
    fn load(&mut self, domain: &TrustDomain) -> Result<Loaded, Fault> {
        self.check_schema(domain)?;
        // A killed process may have left writes that are not synced, so they are synced before anything
        // rests on them.
        self.sync()?;
        let ledger = self.ledger()?;
        let mut rows = Vec::new();
        let skipped =
            [prefix::META, prefix::LEAF, prefix::OF_DELEGATION, prefix::TILE, prefix::CHECKPOINT];
        for first in u8::MIN..=u8::MAX {
            if skipped.contains(&first) {
                continue;
            }
            for item in self.db.scan_prefix([first]) {
                let (_, value) = item.map_err(|error| fault("read", &error))?;
                rows.push(codec::decode(first, &value)?);
            }
        }
        Ok(Loaded { rows, ledger })
    }

    fn persist(&mut self, batch: &Batch) -> Result<(), Fault> {
        let mut writes = ::sled::Batch::default();
        // Of two changes of one key the later counts.
        for change in &batch.changes {
            match change {
                Change::Put(row) => {
                    let (at, value) = codec::encode(row)?;
                    writes.insert(at, value);
                }
                Change::Forget(key) => writes.remove(codec::encode_key(key)),
            }
        }
        for (first, bytes) in segment::segments(&batch.entries) {
            writes.insert(index_key(prefix::LEAF, first), bytes);
        }
        self.rewrite(batch, &mut writes)?;
        for (delegation, index) in &batch.of_delegations {
            writes.insert(of_delegation_key(delegation, *index), &[]);
        }
        for (delegation, index) in &batch.unlisted {
            writes.remove(of_delegation_key(delegation, *index));
        }
        for tile in &batch.tiles {
            writes.insert(tile_key(tile.level, tile.index), tile.bytes.as_slice());
        }
        if let Some((size, root)) = &batch.head {
            let head = [size.to_be_bytes().as_slice(), root].concat();
            writes.insert(key(prefix::META, b"head"), head);
        }
        if let Some((size, note)) = &batch.checkpoint {
            writes.insert(index_key(prefix::CHECKPOINT, *size), note.as_slice());
        }
        self.db.apply_batch(writes).map_err(|error| fault("write", &error))?;
        self.sync()
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        Arc::new(Reader(self.db.clone()))
    }

    fn name(&self) -> &'static str {
        if self.disk.is_some() { "sled, power-loss" } else { "sled, process" }
    }
}

struct Reader(::sled::Db);

/// Reads entries from an index on, at most `most`. Begins with the segment that contains the index.
fn read_entries(db: &::sled::Db, from: u64, most: usize) -> Result<Vec<Entry>, Fault> {
    let before = db.range(index_key(prefix::LEAF, 0)..=index_key(prefix::LEAF, from)).next_back();
    let before = before.transpose().map_err(|error| fault("read", &error))?;
    let start = before.map_or(index_key(prefix::LEAF, from), |(key, _)| key.to_vec());
    let mut found = Vec::new();
    for item in db.range(start..key_end(prefix::LEAF)) {
        let (key, bytes) = item.map_err(|error| fault("read", &error))?;
        let entries = segment::entries(split_index(&key)?, &bytes)?;
        found.extend(entries.into_iter().filter(|entry| entry.index >= from));
        if found.len() >= most {
            break;
        }
    }
    found.truncate(most);
    Ok(found)
}

impl Tiles for Reader {
    fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>> {
        match self.0.get(tile_key(level, index)) {
            Ok(bytes) => bytes.map(|bytes| bytes.to_vec()),
            Err(error) => {
                tracing::error!(%error, level, index, "a tile cannot be read");
                None
            }
        }
    }
}

impl LedgerReader for Reader {
    fn range(&self, from: u64, most: usize) -> Result<Vec<Entry>, Fault> {
        read_entries(&self.0, from, most)
    }

    fn checkpoints(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let range = index_key(prefix::CHECKPOINT, from)..key_end(prefix::CHECKPOINT);
        let read = self.0.range(range).take(most);
        let note = |item: ::sled::Result<(::sled::IVec, ::sled::IVec)>| {
            item.map(|(_, note)| note.to_vec()).map_err(|error| fault("read", &error))
        };
        read.map(note).collect()
    }

    fn of_delegation(
        &self,
        delegation: &DelegationId,
        from: u64,
        most: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let start = of_delegation_key(delegation, from);
        let end = of_delegation_key(delegation, u64::MAX);
        let mut entries = Vec::new();
        for item in self.0.range(start..=end).take(most) {
            let (at, _) = item.map_err(|error| fault("read", &error))?;
            let index = split_index(&at)?;
            let entry = read_entries(&self.0, index, 1)?.pop().filter(|entry| entry.index == index);
            let missing = || Fault::Internal("a record is missing".to_owned());
            entries.push(entry.ok_or_else(missing)?);
        }
        Ok(entries)
    }
}

fn fault(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::Store(format!("cannot {what}: {error}"))
}
