//! A published ledger, checked by itself: tiles, entries and a signed head, wherever they lie. SPEC
//! section 9.
//!
//! Owns: which keys sign heads, that what is there makes the root that was signed, that it goes on
//! from heads that were kept elsewhere. Does not own: how it got there (`mirror`, `bundle`), what the
//! records say (`records`).
//!
//! Invariants: every leaf that is there is hashed and every tile recomputed; what is missing is
//! counted and never guessed; two histories are proven, or not claimed.

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

/// The keys by which a trust bundle's ledger signs its heads.
pub fn head_keys(bundle: &TrustBundle) -> Vec<HeadKey> {
    let origin = bundle.trust_domain().ledger_origin();
    // A head says no time, so one by a prepared key is believed as soon as that is published; what a
    // tainted one signed holds no more.
    let keys = bundle.keys().iter();
    let keys = keys.filter(|key| key.use_ == KeyUse::Ledger && key.state != KeyState::Tainted);
    keys.filter_map(|key| HeadKey::new(&origin, key.public.bytes())).collect()
}

/// A head as it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// What it says.
    pub head: Checkpoint,
    /// Its bytes.
    pub note: Vec<u8>,
}

impl SignedHead {
    /// Opens a head that one of these keys signed.
    pub fn open(note: Vec<u8>, keys: &[HeadKey]) -> Result<Self, BadCheckpoint> {
        Ok(SignedHead { head: Checkpoint::open(&note, keys)?, note })
    }
}

/// The name of the witnessed head, beside the checkpoint of a copy or a bundle.
pub const WITNESSED: &str = "witnessed";

/// Whatever gives the bytes of a resource; `None` for what is not there.
pub type Source<'a> = &'a dyn Fn(Resource) -> Option<Vec<u8>>;

/// A copy in a directory, as a source.
pub fn in_directory(directory: &Path) -> impl Fn(Resource) -> Option<Vec<u8>> {
    move |resource| std::fs::read(directory.join(resource.path())).ok()
}

/// A published ledger that holds.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its head.
    pub signed: SignedHead,
    /// Records of which the leaf is not there: forgotten; their hashes are in the tiles.
    pub pruned: u64,
    tree: Tree,
}

impl Published {
    /// Checks it by itself: every leaf is hashed, every tile recomputed, and the root held against the
    /// head, which one of these keys must have signed.
    pub fn verify(source: Source<'_>, keys: &[HeadKey]) -> Result<Self, Error> {
        let note = there(source, Resource::Checkpoint)?;
        let signed = SignedHead::open(note, keys);
        let signed = signed.map_err(|bad| invalid(format!("its head: {bad}")))?;
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
            return Err(invalid("its records have another root than its head".to_owned()));
        }
        Ok(Published { signed, pruned, tree })
    }

    /// Holds it against heads that were kept elsewhere: each must be of its beginning. A proof when one
    /// shows that two histories were signed; an error when it ends before one.
    pub fn against(&self, source: Source<'_>, kept: &[SignedHead]) -> Result<Option<Fork>, Error> {
        let view = TreeView { tree: &self.tree, tiles: &Content(source) };
        let (head, note) = (&self.signed.head, self.signed.note.as_slice());
        for kept in kept {
            if kept.head.size > head.size {
                let detail = format!(
                    "it ends at record {}, and a head over {} was signed",
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
                None => Err(invalid("a tile that was there is there no more".to_owned())),
            };
        }
        Ok(None)
    }
}

/// A head that the witnesses of a policy cosigned, and that this policy says is enough; with their
/// names in it. Whether a ledger goes on from it is for [`Published::against`].
pub fn witnessed(
    note: &[u8],
    policy: &Policy,
    keys: &[HeadKey],
) -> Result<(SignedHead, BTreeSet<String>), Error> {
    if note.is_empty() {
        let detail = "no head of it was cosigned by witnesses".to_owned();
        return Err(Error::local("ledger_incomplete", detail));
    }
    let found = policy.open(note, keys);
    let found = found.map_err(|bad| invalid(format!("its witnessed head: {bad}")))?;
    if !found.enough {
        let detail = format!("its head was cosigned by {:?}, the policy asks for more", found.by);
        return Err(Error::local("ledger_incomplete", detail));
    }
    Ok((SignedHead { head: found.head, note: note.to_vec() }, found.by))
}

fn there(source: Source<'_>, resource: Resource) -> Result<Vec<u8>, Error> {
    let missing = || Error::local("ledger_incomplete", format!("{} is not there", resource.path()));
    source(resource).ok_or_else(missing)
}

/// Whether what is there is what was computed.
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
