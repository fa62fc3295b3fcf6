//! A published ledger, verified by itself: tiles, entries and a checkpoint from any source. SPEC
//! section 9.
//!
//! Owns: which keys sign checkpoints, that the files have the signed root hash, that the ledger
//! extends checkpoints that were kept elsewhere. Does not own: how the files got there (`mirror`,
//! `bundle`), the meaning of records (`records`).
//!
//! Invariants: every leaf is hashed and every tile is recomputed; what is missing is counted and
//! never guessed; a fork is proven, or not claimed.

use std::collections::BTreeSet;
use std::path::Path;

use sublet_core::trust::bundle::{KeyState, KeyUse, TrustBundle};
use sublet_ledger::checkpoint::{BadCheckpoint, Checkpoint, CheckpointKey};
use sublet_ledger::fork::Fork;
use sublet_ledger::policy::Policy;
use sublet_ledger::source::{BadLog, LogSource, TilesOf, WholeLog};
use sublet_ledger::tile::{Resource, Tree, TreeView};
use sublet_ledger::tree::root_at;

use crate::error::Error;

/// Returns the keys that may sign checkpoints of this trust domain's ledger.
pub fn checkpoint_keys(bundle: &TrustBundle) -> Vec<CheckpointKey> {
    let origin = bundle.trust_domain().ledger_origin();
    // A checkpoint states no time, so a prepared key is accepted as soon as it is published. A
    // tainted key is never accepted.
    let keys = bundle.keys().iter();
    let keys = keys.filter(|key| key.use_ == KeyUse::Ledger && key.state != KeyState::Tainted);
    keys.filter_map(|key| CheckpointKey::new(&origin, key.public.bytes())).collect()
}

/// A checkpoint together with its signed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The content of the checkpoint.
    pub head: Checkpoint,
    /// The signed note.
    pub note: Vec<u8>,
}

impl SignedCheckpoint {
    /// Verifies a checkpoint that one of these keys must have signed.
    pub fn open(note: Vec<u8>, keys: &[CheckpointKey]) -> Result<Self, BadCheckpoint> {
        Ok(SignedCheckpoint { head: Checkpoint::open(&note, keys)?, note })
    }
}

/// The name of the witnessed checkpoint's file, beside the checkpoint of a copy or a bundle.
pub const WITNESSED: &str = "witnessed";

/// A copy in a directory, as a source.
pub fn in_directory(directory: &Path) -> impl LogSource {
    let directory = directory.to_owned();
    move |resource: Resource| std::fs::read(directory.join(resource.path())).ok()
}

/// A verified published ledger.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its checkpoint.
    pub signed: SignedCheckpoint,
    /// How many records were pruned. Their hashes are in the tiles.
    pub pruned: u64,
    tree: Tree,
}

impl Published {
    /// Checks it by itself: every leaf is hashed, every tile recomputed, and the root held against the
    /// head, which one of these keys must have signed.
    pub fn verify(source: &dyn LogSource, keys: &[CheckpointKey]) -> Result<Self, Error> {
        let missing = BadLog::Missing(Resource::Checkpoint);
        let note = source.get(Resource::Checkpoint).ok_or(missing).map_err(refused)?;
        let signed = SignedCheckpoint::open(note, keys);
        let signed = signed.map_err(|bad| invalid(format!("its checkpoint: {bad}")))?;
        let whole = WholeLog::read(source, signed.head.size, &signed.head.root);
        let WholeLog { tree, pruned } = whole.map_err(refused)?;
        Ok(Published { signed, pruned, tree })
    }

    /// Holds it against heads that were kept elsewhere: each must be of its beginning. A proof when one
    /// shows that two histories were signed; an error when it ends before one.
    pub fn against(
        &self,
        source: &dyn LogSource,
        kept: &[SignedCheckpoint],
    ) -> Result<Option<Fork>, Error> {
        let view = TreeView { tree: &self.tree, tiles: &TilesOf(source) };
        let (head, note) = (&self.signed.head, self.signed.note.as_slice());
        for kept in kept {
            if kept.head.size > head.size {
                let detail = format!(
                    "it has {} records, and a checkpoint over {} was signed",
                    head.size, kept.head.size
                );
                return Err(Error::local("ledger_incomplete", detail));
            }
            if root_at(&view, kept.head.size) == Some(kept.head.root) {
                continue;
            }
            let fork = Fork::find((&kept.head, &kept.note), (head, note), &view);
            return match fork {
                Some(fork) => Ok(Some(fork)),
                None => Err(invalid("a tile has disappeared while it was read".to_owned())),
            };
        }
        Ok(None)
    }
}

/// Opens a checkpoint that the witnesses of a policy cosigned, and returns it with the names of
/// these witnesses. It is an error if the quorum of the policy is not met. Whether a ledger extends
/// it, [`Published::against`] tells.
pub fn witnessed(
    note: &[u8],
    policy: &Policy,
    keys: &[CheckpointKey],
) -> Result<(SignedCheckpoint, BTreeSet<String>), Error> {
    if note.is_empty() {
        let detail = "no witness cosigned a checkpoint of it".to_owned();
        return Err(Error::local("ledger_incomplete", detail));
    }
    let found = policy.open(note, keys);
    let found = found.map_err(|bad| invalid(format!("its witnessed checkpoint: {bad}")))?;
    if !found.enough {
        let detail =
            format!("its checkpoint was cosigned by {:?}, and the policy requires more", found.by);
        return Err(Error::local("ledger_incomplete", detail));
    }
    Ok((SignedCheckpoint { head: found.head, note: note.to_vec() }, found.by))
}

/// What is missing may lie elsewhere; what does not hold was altered.
fn refused(bad: BadLog) -> Error {
    match bad {
        BadLog::Missing(_) => Error::local("ledger_incomplete", bad.to_string()),
        BadLog::Bundle { .. } | BadLog::Tile(_) | BadLog::Root => invalid(bad.to_string()),
    }
}

fn invalid(detail: String) -> Error {
    Error::local("ledger_invalid", detail)
}
