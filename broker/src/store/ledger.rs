//! The stored ledger. The committer appends to it, and everyone else reads it. docs/SPEC section 9;
//! docs/DESIGN, "Append".
//!
//! Owns: the check of a stored ledger before it is continued, the signing of its checkpoints, and what
//! readers see of it. Does not own: the tree (`sublet_ledger`), how bytes are stored on disk (a backend).
//!
//! Invariants: a checkpoint is signed after its records are durable, and once for every size. Every
//! signed checkpoint is stored; the last one is stored with the next batch, and after a restart it is
//! signed again to the same bytes. A ledger that contradicts its signed checkpoint is refused.

use std::ops::Range;
use std::sync::Arc;

use sublet_core::base::key::{Algorithm, PublicKey};
use sublet_core::refusal::Fault;
use sublet_core::trust::bundle::{KeyState, KeyUse, TrustBundle};
use sublet_ledger::Hash;
use sublet_ledger::checkpoint::{Checkpoint, CheckpointKey};
use sublet_ledger::tile::{self, Resource, Tiles, Tree, TreeView};
use sublet_ledger::tree::{consistency_proof, inclusion_proof, root_at};

use super::backend::StoredLedger;
use super::reader::LedgerReader;
use crate::keys::Signers;

/// Signs the checkpoints of one ledger.
#[derive(Clone)]
pub struct CheckpointSigner(Signers);

impl CheckpointSigner {
    /// A signer with these keys.
    pub fn new(signers: Signers) -> Self {
        CheckpointSigner(signers)
    }

    /// Returns the signed checkpoint of a tree, by the ledger key that is active in the bundle. The key
    /// is Ed25519, because signed notes need it and because it signs the same text to the same bytes.
    pub fn sign(&self, tree: Tree, bundle: &TrustBundle) -> Result<Arc<Published>, Fault> {
        let own = self.0.active(bundle, KeyUse::Ledger)?;
        let origin = bundle.trust_domain().ledger_origin();
        let key = checkpoint_key(&origin, own.signer.public_key());
        let detail = "the ledger key is no Ed25519 key that signed notes know";
        let key = key.ok_or_else(|| Fault::Internal(detail.to_owned()))?;
        let head = Checkpoint { origin, size: tree.size(), root: tree.root() };
        let signature = own.signer.sign(head.text().as_bytes())?;
        let note = head.signed(&key, &signature);
        let note = note.map_err(|bad| Fault::Internal(format!("the signed head: {bad}")))?;
        Ok(Arc::new(Published { tree, root: head.root, note }))
    }
}

fn checkpoint_key(origin: &str, public: &PublicKey) -> Option<CheckpointKey> {
    let ed25519 = (public.algorithm() == Algorithm::Ed25519).then_some(public.bytes());
    ed25519.and_then(|public| CheckpointKey::new(origin, public))
}

/// Returns the public keys that may have signed checkpoints of this domain's ledger: all ledger keys
/// except prepared ones. The broker uses them for its own ledger only.
pub fn checkpoint_keys(bundle: &TrustBundle) -> Vec<CheckpointKey> {
    let origin = bundle.trust_domain().ledger_origin();
    let keys = bundle.keys().iter().filter(|key| key.use_ == KeyUse::Ledger);
    let keys = keys.filter(|key| key.state != KeyState::Prepared);
    keys.filter_map(|key| checkpoint_key(&origin, &key.public)).collect()
}

/// The ledger at the moment when a checkpoint of it was signed.
#[derive(Debug)]
pub struct Published {
    /// The tree.
    pub tree: Tree,
    /// The root hash of the tree.
    pub root: Hash,
    /// The signed checkpoint.
    pub note: Vec<u8>,
}

impl Published {
    /// Returns the content of a published file; `None` if it is beyond this checkpoint, or if its leaves
    /// were pruned.
    pub fn content(
        &self,
        resource: Resource,
        reader: &dyn LedgerReader,
    ) -> Result<Option<Vec<u8>>, Fault> {
        match resource {
            Resource::Checkpoint => Ok(Some(self.note.clone())),
            Resource::Tile { level, index, width } => {
                let view = TreeView { tree: &self.tree, tiles: &Full(reader) };
                Ok(view.hashes(level, index, width))
            }
            Resource::Entries { index, width } => {
                let from = index.saturating_mul(u64::from(tile::WIDTH));
                if from.saturating_add(width.into()) > self.tree.size() {
                    return Ok(None);
                }
                let entries = reader.range(from, usize::from(width))?;
                let whole = entries.len() == usize::from(width)
                    && entries.first().is_some_and(|entry| entry.index == from);
                let leaves = entries.iter().map(|entry| entry.leaf.as_slice());
                Ok(whole.then(|| tile::bundle(leaves)))
            }
        }
    }

    /// Returns leaf hashes, 32 bytes each: those of the range that are in the same tile as its first.
    pub fn leaf_hashes(
        &self,
        range: Range<u64>,
        reader: &dyn LedgerReader,
    ) -> Result<Vec<u8>, Fault> {
        let index = range.start / u64::from(tile::WIDTH);
        let first = index.saturating_mul(tile::WIDTH.into());
        let at = |index: u64| usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
        let tile = reader.tile(0, index).unwrap_or_else(|| self.tree.partial(0));
        let end = at(range.end).saturating_mul(32).min(tile.len());
        let hashes = tile.get(at(range.start).saturating_mul(32)..end);
        let hashes = hashes.filter(|hashes| !hashes.is_empty()).map(<[u8]>::to_vec);
        hashes.ok_or_else(|| Fault::Internal(format!("record {} is missing", range.start)))
    }

    /// Returns the root hash of the first `size` records; `None` if the ledger has fewer.
    pub fn root_at(&self, size: u64, reader: &dyn LedgerReader) -> Option<Hash> {
        let view = TreeView { tree: &self.tree, tiles: &Full(reader) };
        (size <= self.tree.size()).then(|| root_at(&view, size)).flatten()
    }

    /// Returns the consistency proof from the first `old` records; `None` if the ledger has fewer.
    pub fn consistency(&self, old: u64, reader: &dyn LedgerReader) -> Option<Vec<Hash>> {
        let view = TreeView { tree: &self.tree, tiles: &Full(reader) };
        consistency_proof(&view, old, self.tree.size())
    }

    /// Returns the inclusion proof of a record; `None` if the ledger does not have it.
    pub fn inclusion(&self, index: u64, reader: &dyn LedgerReader) -> Option<Vec<Hash>> {
        let view = TreeView { tree: &self.tree, tiles: &Full(reader) };
        inclusion_proof(&view, index, self.tree.size())
    }
}

/// Returns the tree of a stored ledger. It is computed again from the full tiles and the last leaves. A
/// fault if its root differs from the stored one or contradicts the last signed checkpoint.
pub(super) fn resume(
    stored: &StoredLedger,
    reader: &dyn LedgerReader,
    keys: &[CheckpointKey],
) -> Result<Tree, Fault> {
    let broken =
        |detail: String| Fault::Internal(format!("the ledger is not as it was left: {detail}"));
    let (size, root) = stored.head.unwrap_or((0, Tree::default().root()));
    let hashes = stored.tail.iter().map(|leaf| sublet_ledger::leaf_hash(leaf));
    let hashes = hashes.collect::<Result<Vec<_>, _>>().map_err(|bad| broken(bad.to_string()))?;
    let tree = Tree::resume(size, hashes, &Full(reader)).map_err(|bad| broken(bad.to_string()))?;
    if tree.root() != root {
        let detail = format!("its {size} records have another root than the one that was stored");
        return Err(broken(detail));
    }
    let Some(note) = &stored.checkpoint else {
        // The first batch stores the checkpoint of the empty ledger.
        let none = || broken("no signed head of it is kept".to_owned());
        return if size == 0 { Ok(tree) } else { Err(none()) };
    };
    let signed = Checkpoint::open(note, keys)
        .map_err(|bad| broken(format!("its last signed head: {bad}")))?;
    let view = TreeView { tree: &tree, tiles: &Full(reader) };
    if signed.size > size || root_at(&view, signed.size) != Some(signed.root) {
        let detail = format!(
            "a head of {} records was signed, and the {size} that are here do not begin with them",
            signed.size
        );
        return Err(broken(detail));
    }
    Ok(tree)
}

/// A ledger reader as a source of tiles.
struct Full<'a>(&'a dyn LedgerReader);

impl Tiles for Full<'_> {
    fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>> {
        self.0.tile(level, index)
    }
}
