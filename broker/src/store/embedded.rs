//! Opens the embedded store of a data directory.
//!
//! Owns: the check that the store is the right one: it was not lost (`inception`), and it is no older
//! copy (`reached`). Does not own: the store.

use std::path::Path;

use sublet_core::base::id::UnixMillis;
use sublet_core::refusal::Fault;
use sublet_core::trust::bundle::SignedBundle;

use super::ledger::CheckpointSigner;
use super::open::Store;
use super::sled::Sled;
use super::{inception, reached};
use crate::config::Durability;

/// Opens the embedded store of a data directory. A fault if the store was lost or is an older copy.
pub fn open_embedded(
    data: &Path,
    trust: SignedBundle,
    durability: Durability,
    notary: CheckpointSigner,
    now: UnixMillis,
) -> Result<Store, Fault> {
    let marked = reached::Marked::read(data, now)?;
    let backend = Sled::open(&data.join("store"), durability)?;
    let store = Store::open_in(backend, trust, notary, marked.epoch)?;
    inception::check(data, &store)?;
    marked.check(&store)?;
    Ok(store)
}
