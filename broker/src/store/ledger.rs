//! The ledger as it lies in the store: grown by the committer, read by everyone else.
//! docs/SPEC section 9; docs/DESIGN, "Append".
//!
//! Owns: what is checked of a stored ledger before it goes on, who signs its heads, and what
//! readers see of it. Does not own: the tree (`sublet_ledger`), how bytes lie on disk (a backend).
//!
//! Invariants: a head is signed after what it covers is durable, and once for every size; every
//! signed head is kept, the last one with the batch behind it, so that a start signs it again to
//! the same bytes; a ledger that is not the one whose head was signed is refused.

use std::ops::Range;
use std::sync::Arc;

use sublet_core::base::key::{Algorithm, PublicKey};
use sublet_core::refusal::Fault;
use sublet_core::trust::bundle::{KeyState, KeyUse, TrustBundle};
use sublet_ledger::Hash;
use sublet_ledger::checkpoint::{Checkpoint, HeadKey};
use sublet_ledger::tile::{self, Resource, Tiles, Tree, TreeView};
use sublet_ledger::tree::{consistency_proof, inclusion_proof, root_at};

use super::backend::StoredLedger;
use super::reader::LedgerReader;
use crate::keys::Signers;

/// Signs the heads of one ledger.
#[derive(Clone)]
pub struct CheckpointSigner(Signers);

impl CheckpointSigner {
    /// A notary with these keys.
    pub fn new(signers: Signers) -> Self {
        CheckpointSigner(signers)
    }

    /// The signed head of a tree, by the ledger key that is active in the bundle. Ed25519 signs the
    /// same to the same bytes; signed notes know nothing else.
    pub fn sign(&self, tree: Tree, bundle: &TrustBundle) -> Result<Arc<Published>, Fault> {
        let own = self.0.active(bundle, KeyUse::Ledger)?;
        let origin = bundle.trust_domain().ledger_origin();
        let key = head_key(&origin, own.signer.public_key());
        let detail = "the ledger key is no Ed25519 key that signed notes know";
        let key = key.ok_or_else(|| Fault::Internal(detail.to_owned()))?;
        let head = Checkpoint { origin, size: tree.size(), root: tree.root() };
        let signature = own.signer.sign(head.text().as_bytes())?;
        let note = head.signed(&key, &signature);
        let note = note.map_err(|bad| Fault::Internal(format!("the signed head: {bad}")))?;
        Ok(Arc::new(Published { tree, root: head.root, note }))
    }
}

fn head_key(origin: &str, public: &PublicKey) -> Option<HeadKey> {
    let ed25519 = (public.algorithm() == Algorithm::Ed25519).then_some(public.bytes());
    ed25519.and_then(|public| HeadKey::new(origin, public))
}

/// The keys that may have signed heads of a domain's ledger, in any state but prepared: for a broker
/// that looks at its own.
pub fn head_keys(bundle: &TrustBundle) -> Vec<HeadKey> {
    let origin = bundle.trust_domain().ledger_origin();
    let keys = bundle.keys().iter().filter(|key| key.use_ == KeyUse::Ledger);
    let keys = keys.filter(|key| key.state != KeyState::Prepared);
    keys.filter_map(|key| head_key(&origin, &key.public)).collect()
}

/// The ledger as it was when a head of it was signed.
#[derive(Debug)]
pub struct Published {
    /// The tree.
    pub tree: Tree,
    /// Its root.
    pub root: Hash,
    /// The signed head.
    pub note: Vec<u8>,
}

impl Published {
    /// What is published under a name; `None` for what this head does not reach, and for leaves
    /// that were pruned.
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

    /// The hashes of leaves, 32 bytes each: those of the range that lie in one tile with its first.
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

    /// The root over the first `size` records; `None` when they are more.
    pub fn root_at(&self, size: u64, reader: &dyn LedgerReader) -> Option<Hash> {
        let view = TreeView { tree: &self.tree, tiles: &Full(reader) };
        (size <= self.tree.size()).then(|| root_at(&view, size)).flatten()
    }

    /// That the first `old` records are the beginning of these; `None` when they are more.
    pub fn consistency(&self, old: u64, reader: &dyn LedgerReader) -> Option<Vec<Hash>> {
        let view = TreeView { tree: &self.tree, tiles: &Full(reader) };
        consistency_proof(&view, old, self.tree.size())
    }

    /// That a record is among these; `None` when it is not.
    pub fn inclusion(&self, index: u64, reader: &dyn LedgerReader) -> Option<Vec<Hash>> {
        let view = TreeView { tree: &self.tree, tiles: &Full(reader) };
        inclusion_proof(&view, index, self.tree.size())
    }
}

/// The tree of a stored ledger: recomputed from its full tiles and its last leaves, and held
/// against the head that was stored and the head that was signed.
pub(super) fn resume(
    stored: &StoredLedger,
    reader: &dyn LedgerReader,
    keys: &[HeadKey],
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
        // The first batch keeps the head of the empty ledger.
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

/// A reader as a source of tiles.
struct Full<'a>(&'a dyn LedgerReader);

impl Tiles for Full<'_> {
    fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>> {
        self.0.tile(level, index)
    }
}
