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
use sublet_ledger::checkpoint::{BadCheckpoint, Checkpoint, HeadKey};
use sublet_ledger::fork::Fork;
use sublet_ledger::policy::Policy;
use sublet_ledger::tile::{Content, FullTile, Resource, Tree, TreeView, WIDTH, leaves};
use sublet_ledger::tree::root_at;
use sublet_ledger::{Hash, leaf_hash};

use crate::error::Error;

/// Returns the keys that may sign checkpoints of this trust domain's ledger.
pub fn head_keys(bundle: &TrustBundle) -> Vec<HeadKey> {
    let origin = bundle.trust_domain().ledger_origin();
    // A checkpoint states no time, so a prepared key is accepted as soon as it is published. A
    // tainted key is never accepted.
    let keys = bundle.keys().iter();
    let keys = keys.filter(|key| key.use_ == KeyUse::Ledger && key.state != KeyState::Tainted);
    keys.filter_map(|key| HeadKey::new(&origin, key.public.bytes())).collect()
}

/// A checkpoint together with its signed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// The content of the checkpoint.
    pub head: Checkpoint,
    /// The signed note.
    pub note: Vec<u8>,
}

impl SignedHead {
    /// Verifies a checkpoint that one of these keys must have signed.
    pub fn open(note: Vec<u8>, keys: &[HeadKey]) -> Result<Self, BadCheckpoint> {
        Ok(SignedHead { head: Checkpoint::open(&note, keys)?, note })
    }
}

/// The name of the witnessed checkpoint's file, beside the checkpoint of a copy or a bundle.
pub const WITNESSED: &str = "witnessed";

/// A source of a ledger's files; it returns `None` for a file that is missing.
pub type Source<'a> = &'a dyn Fn(Resource) -> Option<Vec<u8>>;

/// Returns a copy in a directory as a source.
pub fn in_directory(directory: &Path) -> impl Fn(Resource) -> Option<Vec<u8>> {
    move |resource| std::fs::read(directory.join(resource.path())).ok()
}

/// A verified published ledger.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its checkpoint.
    pub signed: SignedHead,
    /// How many records were pruned. Their hashes are in the tiles.
    pub pruned: u64,
    tree: Tree,
}

impl Published {
    /// Verifies a ledger: hashes every leaf, recomputes every tile, and compares the root hash with
    /// the checkpoint, which one of these keys must have signed. The codes of the errors are
    /// `ledger_invalid` and `ledger_incomplete`.
    pub fn verify(source: Source<'_>, keys: &[HeadKey]) -> Result<Self, Error> {
        let note = there(source, Resource::Checkpoint)?;
        let signed = SignedHead::open(note, keys);
        let signed = signed.map_err(|bad| invalid(format!("its checkpoint: {bad}")))?;
        let size = signed.head.size;
        let (mut tree, mut full, mut pruned) = (Tree::default(), Vec::new(), 0);
        for resource in Resource::of_size(size) {
            let Resource::Entries { index, width } = resource else { continue };
            let hashes = match source(resource) {
                Some(bytes) => hashes_of(&bytes, width).ok_or_else(|| {
                    invalid(format!("{} is not a bundle of {width} records", resource.path()))
                })?,
                None => {
                    pruned += u64::from(width);
                    let tile = there(source, Resource::Tile { level: 0, index, width })?;
                    tile.as_chunks::<32>().0.to_vec()
                }
            };
            hashes.into_iter().for_each(|hash| tree.append(hash, &mut full));
            for FullTile { level, index, bytes } in full.drain(..) {
                same(source, Resource::Tile { level, index, width: WIDTH }, &bytes)?;
            }
        }
        for resource in Resource::of_size(size) {
            match resource {
                Resource::Tile { level, width, .. } if width < WIDTH => {
                    same(source, resource, &tree.partial(level))?;
                }
                _ => {}
            }
        }
        if (tree.size(), tree.root()) != (size, signed.head.root) {
            return Err(invalid(
                "the root hash of its records is not that of its checkpoint".to_owned(),
            ));
        }
        Ok(Published { signed, pruned, tree })
    }

    /// Compares the ledger with checkpoints that were kept elsewhere. Returns the proof of a fork
    /// if one contradicts it; `None` if it extends all of them. It is an error if the ledger is
    /// smaller than one of them.
    pub fn against(&self, source: Source<'_>, kept: &[SignedHead]) -> Result<Option<Fork>, Error> {
        let view = TreeView { tree: &self.tree, tiles: &Content(source) };
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
    keys: &[HeadKey],
) -> Result<(SignedHead, BTreeSet<String>), Error> {
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
    Ok((SignedHead { head: found.head, note: note.to_vec() }, found.by))
}

fn there(source: Source<'_>, resource: Resource) -> Result<Vec<u8>, Error> {
    let missing = || Error::local("ledger_incomplete", format!("{} is missing", resource.path()));
    source(resource).ok_or_else(missing)
}

/// Checks that a file has exactly these computed bytes.
fn same(source: Source<'_>, resource: Resource, bytes: &[u8]) -> Result<(), Error> {
    if there(source, resource)? == bytes {
        return Ok(());
    }
    Err(invalid(format!("{} is not what its records make", resource.path())))
}

fn hashes_of(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let leaves = leaves(bytes).filter(|leaves| leaves.len() == usize::from(width))?;
    leaves.into_iter().map(|leaf| leaf_hash(leaf).ok()).collect()
}

fn invalid(detail: String) -> Error {
    Error::local("ledger_invalid", detail)
}
