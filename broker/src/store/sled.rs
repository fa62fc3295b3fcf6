//! The embedded store. The only file that names sled. architecture.md, "The store".
//!
//! Rules that were measured: only the committer thread writes and flushes; sled's own flush on
//! Linux reaches the kernel, not the disk, so `fdatasync` on its file follows; its background
//! flush is off; nothing hot is read from it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use sublet_core::id::{DelegationId, TrustDomain};
use sublet_core::no::Fault;
use sublet_ledger::Log;

use super::codec::{self, key, prefix};
use super::{Backend, Batch, Entry, EntryReader, Loaded};
use crate::config::Durability;

/// The layout of keys and rows. Another one is refused.
const SCHEMA: &str = "sublet 2";

/// sled's cache: rows are in memory already, so it only serves replays.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// A sled database.
pub struct Sled {
    db: ::sled::Db,
    disk: Option<File>,
}

impl Sled {
    /// Opens or makes the database in a directory.
    pub fn open(dir: &Path, durability: Durability) -> Result<Self, Fault> {
        let config =
            ::sled::Config::new().path(dir).flush_every_ms(None).cache_capacity(CACHE_BYTES);
        let db = config.open().map_err(|error| fault("open", &error))?;
        let disk = match durability {
            Durability::PowerLoss => {
                let file = dir.join("db");
                Some(File::open(&file).map_err(|error| fault("open its file", &error))?)
            }
            Durability::Process => None,
        };
        Ok(Sled { db, disk })
    }

    fn check_schema(&self, domain: &TrustDomain) -> Result<(), Fault> {
        let wanted = format!("{SCHEMA} {domain}");
        let found =
            self.db.get(key(prefix::META, b"schema")).map_err(|error| fault("read", &error))?;
        match found {
            Some(found) if found == wanted.as_bytes() => Ok(()),
            Some(found) => Err(Fault::Internal(format!(
                "the store is {:?}, this program reads {wanted:?}: use the version that wrote it to export, or another data directory",
                String::from_utf8_lossy(&found)
            ))),
            // Only a directory that holds nothing at all is a new store.
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

    /// Recomputes the chain over every leaf and holds it against the head that was stored.
    fn check_log(&self) -> Result<Log, Fault> {
        let mut log = Log::empty();
        for item in self.db.scan_prefix([prefix::LEAF]) {
            let (at, value) = item.map_err(|error| fault("read", &error))?;
            let (link, leaf) = split_leaf(&value)?;
            let appended = log.append(leaf).map_err(|bad| Fault::Internal(bad.to_string()))?;
            if at.get(1..) != Some(&appended.index.to_be_bytes()) || appended.link != link {
                return Err(Fault::Internal(format!(
                    "the ledger is broken at index {}: it is not as it was written",
                    appended.index
                )));
            }
        }
        let stored =
            self.db.get(key(prefix::META, b"head")).map_err(|error| fault("read", &error))?;
        let stored =
            stored.map(|bytes| bytes.to_vec()).unwrap_or_else(|| head_bytes(&Log::empty()));
        if stored != head_bytes(&log) {
            return Err(Fault::Internal(format!(
                "the ledger has {} records, its head says otherwise: records were removed or added",
                log.size
            )));
        }
        Ok(log)
    }

    fn sync(&self) -> Result<(), Fault> {
        self.db.flush().map_err(|error| fault("flush", &error))?;
        match &self.disk {
            Some(file) => file.sync_data().map_err(|error| fault("sync", &error)),
            None => Ok(()),
        }
    }
}

fn head_bytes(log: &Log) -> Vec<u8> {
    [log.size.to_be_bytes().as_slice(), &log.head].concat()
}

fn split_leaf(value: &[u8]) -> Result<([u8; 32], &[u8]), Fault> {
    let parts = value.split_first_chunk::<32>().map(|(link, leaf)| (*link, leaf));
    parts.ok_or_else(|| Fault::Internal("a stored leaf is too short".to_owned()))
}

impl Backend for Sled {
    fn load(&mut self, domain: &TrustDomain) -> Result<Loaded, Fault> {
        self.check_schema(domain)?;
        let log = self.check_log()?;
        let mut rows = Vec::new();
        let skipped = [prefix::META, prefix::LEAF, prefix::PAYLOAD, prefix::OF_DELEGATION];
        for first in b'a'..=b'z' {
            if skipped.contains(&first) {
                continue;
            }
            for item in self.db.scan_prefix([first]) {
                let (_, value) = item.map_err(|error| fault("read", &error))?;
                rows.extend(codec::decode(first, &value)?);
            }
        }
        Ok(Loaded { rows, log })
    }

    fn persist(&mut self, batch: &Batch) -> Result<(), Fault> {
        let mut writes = ::sled::Batch::default();
        for row in &batch.rows {
            let (at, value) = codec::encode(row)?;
            writes.insert(at, value);
        }
        for forgotten in &batch.forgotten {
            writes.remove(codec::encode_key(forgotten));
        }
        for entry in &batch.entries {
            let index = entry.index.to_be_bytes();
            writes.insert(key(prefix::LEAF, &index), [entry.link.as_slice(), &entry.leaf].concat());
            if let Some(payload) = &entry.payload {
                writes.insert(key(prefix::PAYLOAD, &index), payload.as_slice());
            }
            if let Some(delegation) = &entry.delegation {
                writes.insert(
                    key(prefix::OF_DELEGATION, &[delegation.0.as_slice(), &index].concat()),
                    &[],
                );
            }
        }
        if let Some(log) = &batch.log {
            writes.insert(key(prefix::META, b"head"), head_bytes(log));
        }
        self.db.apply_batch(writes).map_err(|error| fault("write", &error))?;
        self.sync()
    }

    fn reader(&self) -> Arc<dyn EntryReader> {
        Arc::new(Reader(self.db.clone()))
    }

    fn name(&self) -> &'static str {
        if self.disk.is_some() { "sled, power-loss" } else { "sled, process" }
    }
}

struct Reader(::sled::Db);

impl Reader {
    fn entry(&self, index: [u8; 8], delegation: DelegationId) -> Result<Entry, Fault> {
        let read = |first| self.0.get(key(first, &index)).map_err(|error| fault("read", &error));
        let value = read(prefix::LEAF)?
            .ok_or_else(|| Fault::Internal("a ledger entry is missing".to_owned()))?;
        let (link, leaf) = split_leaf(&value)?;
        let payload = read(prefix::PAYLOAD)?.map(|bytes| bytes.to_vec());
        let index = u64::from_be_bytes(index);
        Ok(Entry { index, leaf: leaf.to_vec(), link, payload, delegation: Some(delegation) })
    }
}

impl EntryReader for Reader {
    fn of_delegation(
        &self,
        delegation: &DelegationId,
        from: u64,
        most: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let start =
            key(prefix::OF_DELEGATION, &[delegation.0.as_slice(), &from.to_be_bytes()].concat());
        let end = key(
            prefix::OF_DELEGATION,
            &[delegation.0.as_slice(), &u64::MAX.to_be_bytes()].concat(),
        );
        let mut entries = Vec::new();
        for item in self.0.range(start..=end).take(most) {
            let (at, _) = item.map_err(|error| fault("read", &error))?;
            let index = at
                .last_chunk::<8>()
                .ok_or_else(|| Fault::Internal("an index row is too short".to_owned()))?;
            entries.push(self.entry(*index, *delegation)?);
        }
        Ok(entries)
    }
}

fn fault(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::Store(format!("cannot {what}: {error}"))
}
