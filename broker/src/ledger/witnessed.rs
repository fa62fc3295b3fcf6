//! The last checkpoint that enough witnesses cosigned.
//!
//! Owns: this checkpoint in memory and in its file. Does not own: asking witnesses (`witness`).
//!
//! Invariants: it is written to disk before it is shown.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use sublet_host::files;

/// The file of the last witnessed checkpoint.
const FILE: &str = "ledger.witnessed";

/// The last checkpoint that enough witnesses cosigned.
#[derive(Debug, Default)]
pub(crate) struct Witnessed {
    path: PathBuf,
    note: RwLock<Vec<u8>>,
}

impl Witnessed {
    /// Reads it from a data directory. Empty if there is none.
    pub(crate) fn open(data: &Path) -> Self {
        let path = data.join(FILE);
        let note = fs::read(&path).unwrap_or_default();
        Witnessed { path, note: RwLock::new(note) }
    }

    /// Returns the checkpoint with its cosignatures; empty if there is none.
    pub(crate) fn note(&self) -> Vec<u8> {
        self.note.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a checkpoint that met the policy, in place of the earlier one. An error if it cannot be written.
    pub(crate) fn keep(&self, note: Vec<u8>) -> std::io::Result<()> {
        files::replace(&self.path, 0o644, &note)?;
        *self.note.write().unwrap_or_else(PoisonError::into_inner) = note;
        Ok(())
    }
}
