//! The last head of the ledger that enough witnesses cosigned.
//!
//! Owns: the head in memory and beside the store. Does not own: asking witnesses (`witness`).
//!
//! Invariants: what is shown was kept on disk before.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use sublet_host::files;

/// Where the last witnessed head is kept.
const FILE: &str = "ledger.witnessed";

/// The last head that enough witnesses cosigned.
#[derive(Debug, Default)]
pub(crate) struct Witnessed {
    path: PathBuf,
    note: RwLock<Vec<u8>>,
}

impl Witnessed {
    /// What was kept in a data directory.
    pub(crate) fn open(data: &Path) -> Self {
        let path = data.join(FILE);
        let note = fs::read(&path).unwrap_or_default();
        Witnessed { path, note: RwLock::new(note) }
    }

    /// The head with its cosignatures; empty when there is none.
    pub(crate) fn note(&self) -> Vec<u8> {
        self.note.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a head that met the policy, in place of the one before.
    pub(crate) fn keep(&self, note: Vec<u8>) -> std::io::Result<()> {
        files::replace(&self.path, 0o644, &note)?;
        *self.note.write().unwrap_or_else(PoisonError::into_inner) = note;
        Ok(())
    }
}
