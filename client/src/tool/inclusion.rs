//! Proofs that every hop of a chain is in the ledger. SPEC section 9.
//!
//! Owns: the check of a tool that requires inclusion, and which hops are already proven. Does not
//! own: trees and checkpoints (`sublet_ledger`), receipts.
//!
//! Invariants: a hop counts as included only if a checkpoint signed by a ledger key of the bundle
//! covers a leaf that records this very hop; a proof counts for one version of the bundle; nothing
//! is stored about a hop that was refused.

use prost::Message as _;
use quick_cache::sync::Cache;
use sublet_core::base::id::HopId;
use sublet_core::refusal::{Deny, Malformed, Refusal};
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::TrustBundle;
use sublet_ledger::checkpoint::Checkpoint;
use sublet_ledger::tree::{Checked, verify_inclusion};
use sublet_ledger::{Hash, leaf_hash};
use sublet_proto::record::record::Body;
use sublet_proto::v1;

use crate::audit::published::checkpoint_keys;
use sublet_proto::leaf;

/// How many proven hops are remembered, at about 100 bytes each.
const HOPS_MAX: usize = 100_000;

/// The hops that were proven to be in the ledger, each with the version of the bundle at that time.
pub(crate) struct Included(Cache<HopId, u64>);

impl std::fmt::Debug for Included {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Included({} hops)", self.0.len())
    }
}

impl Included {
    pub(crate) fn new() -> Self {
        Included(Cache::new(HOPS_MAX))
    }

    /// Checks that every hop of the chain is in the ledger, by these bytes (`sublet.v1.Inclusion`)
    /// or by an earlier proof. Returns the checkpoint, with its number of records, if it was
    /// needed; `None` when all hops were proven before.
    pub(crate) fn check(
        &self,
        token: &VerifiedToken,
        shown: Option<&[u8]>,
        bundle: &TrustBundle,
    ) -> Result<Option<(u64, Vec<u8>)>, Refusal> {
        let version = bundle.version();
        let known = |id: &HopId| self.0.get(id) == Some(version);
        let missing: Vec<(usize, HopId)> = (0usize..)
            .zip(token.hops())
            .map(|(hop, (id, _))| (hop, id))
            .filter(|(_, id)| !known(id))
            .collect();
        let Some((first, _)) = missing.first() else { return Ok(None) };
        let Some(shown) = shown else {
            let detail = "no inclusion proof was shown".to_owned();
            return Err(Deny::NotInLog { hop: *first, detail }.into());
        };
        let bad = |detail: String| Malformed::Field { field: "inclusion", detail };
        let shown = v1::Inclusion::decode(shown).map_err(|_| bad("not readable".to_owned()))?;
        let head = Checkpoint::open(&shown.checkpoint, &checkpoint_keys(bundle))
            .map_err(|detail| bad(format!("the checkpoint of the ledger: {detail}")))?;
        for (hop, id) in missing {
            let leaf = shown.hops.iter().find(|leaf| records(&leaf.leaf, &id));
            let included = leaf.is_some_and(|leaf| is_included(leaf, &head) == Checked::Holds);
            if !included {
                let what = if leaf.is_some() {
                    "its inclusion proof does not hold"
                } else {
                    "no inclusion proof"
                };
                let detail = format!("{what} under the checkpoint of {} records", head.size);
                return Err(Deny::NotInLog { hop, detail }.into());
            }
            self.0.insert(id, version);
        }
        Ok(Some((head.size, shown.checkpoint)))
    }
}

/// Returns whether a leaf records this hop.
fn records(leaf: &[u8], id: &HopId) -> bool {
    let body = leaf::decode(leaf).ok().and_then(|record| record.body);
    matches!(body, Some(Body::Issued(hop) | Body::HopRecorded(hop)) if hop.hop == id.0)
}

fn is_included(leaf: &v1::IncludedLeaf, head: &Checkpoint) -> Checked {
    let proof = leaf.proof.iter().map(|hash| Hash::try_from(hash.as_slice()));
    match (leaf_hash(&leaf.leaf), proof.collect::<Result<Vec<_>, _>>()) {
        (Ok(hash), Ok(proof)) => verify_inclusion(&hash, leaf.index, head.size, &proof, &head.root),
        _ => Checked::NotShown,
    }
}
