//! The mark that a ledger was begun in a data directory. With it the broker does not take an empty disk
//! for a new ledger. docs/DESIGN, "Append".

use std::path::Path;

use sublet_core::refusal::Fault;

use super::open::Store;
use sublet_host::files;

/// The name of the mark. The file is beside the store, so that it remains if the store is lost.
const MARK: &str = "ledger.begun";

/// Returns whether a ledger was begun in this data directory.
pub(super) fn is_begun(data: &Path) -> bool {
    data.join(MARK).exists()
}

/// Refuses an empty ledger if one was begun in this data directory.
pub(super) fn check(data: &Path, store: &Store) -> Result<(), Fault> {
    if store.published()?.tree.size() > 0 || !is_begun(data) {
        return Ok(());
    }
    let mark = data.join(MARK);
    Err(Fault::Internal(format!(
        "a ledger was begun in this data directory and the store holds none: restore it from a \
         backup, or begin another in an empty directory ({} says so)",
        mark.display()
    )))
}

/// Writes the mark. Call it when the first record is durable.
pub(crate) fn mark(data: &Path, origin: &str) -> Result<(), Fault> {
    let mark = data.join(MARK);
    let fault = |error: std::io::Error| Fault::Store(format!("{}: {error}", mark.display()));
    if mark.exists() {
        return Ok(());
    }
    files::create(&mark, 0o644, format!("{origin}\n").as_bytes()).map_err(fault)
}
