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
use sublet_ledger::source::{BadLog, LogSource, TilesOf, WholeLog};
use sublet_ledger::tile::{Resource, Tree, TreeView};
use sublet_ledger::tree::root_at;

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

/// A copy in a directory, as a source.
pub fn in_directory(directory: &Path) -> impl LogSource {
    let directory = directory.to_owned();
    move |resource: Resource| std::fs::read(directory.join(resource.path())).ok()
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
    pub fn verify(source: &dyn LogSource, keys: &[HeadKey]) -> Result<Self, Error> {
        let missing = BadLog::Missing(Resource::Checkpoint);
        let note = source.get(Resource::Checkpoint).ok_or(missing).map_err(refused)?;
        let signed = SignedHead::open(note, keys);
        let signed = signed.map_err(|bad| invalid(format!("its head: {bad}")))?;
        let whole = WholeLog::read(source, signed.head.size, &signed.head.root);
        let WholeLog { tree, pruned } = whole.map_err(refused)?;
        Ok(Published { signed, pruned, tree })
    }

    /// Holds it against heads that were kept elsewhere: each must be of its beginning. A proof when one
    /// shows that two histories were signed; an error when it ends before one.
    pub fn against(
        &self,
        source: &dyn LogSource,
        kept: &[SignedHead],
    ) -> Result<Option<Fork>, Error> {
        let view = TreeView { tree: &self.tree, tiles: &TilesOf(source) };
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
