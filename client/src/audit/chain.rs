//! Tokens that are assembled again from recorded blocks, and what each hop took away.
//!
//! Owns: the tree of a delegation's hops, and the text of an attenuation. Does not own: whether a
//! chain is authentic; `sublet_core::token::verify` decides that on the assembled token.
//!
//! Invariants: a hop is called verified only if the token that ends in it, assembled from blocks
//! alone, verifies, its id is the recorded one, and every field of the record equals the block's.

use std::collections::HashMap;
use std::sync::Arc;

use sublet_core::base::id::{DelegationId, HopId, UnixMillis};
use sublet_core::base::key::{Algorithm, PublicKey};
use sublet_core::biscuit::block::Block;
use sublet_core::token::BlockPayload;
use sublet_core::token::UnverifiedToken;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::{KeyUse, TrustBundle};
use sublet_proto::convert::hop_id;
use sublet_proto::record::{Hop, HopPayload};

use crate::audit::entry::Entry;
use crate::audit::entry::recorded_id;

/// One hop of a delegation, as the ledger shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct HopReport {
    /// The id of the hop.
    pub hop: HopId,
    /// The id of the hop before it; `None` for the root.
    pub parent: Option<HopId>,
    /// The position in the chain: 0 for the root.
    pub position: u32,
    /// The index of its record in the ledger.
    pub index: u64,
    /// The broker's time of its record.
    pub recorded_at: UnixMillis,
    /// The name of the party that recorded it.
    pub recorded_by: String,
    /// The id of the trace that the recording was part of (W3C Trace Context); `None` when there
    /// was none.
    pub trace: Option<String>,
    /// The delegator: the holder of the hop before it, or the issuer for the root.
    pub from: String,
    /// The delegate: the holder of this hop.
    pub holder: String,
    /// When the hop ends, in seconds since 1970.
    pub expires: i64,
    /// The content of its block; `None` when the chain does not verify.
    pub block: Option<Block>,
    /// What the hop took away, as text; empty for the root and for a hop that took nothing away.
    pub narrowing: Vec<String>,
    /// `Ok` if signatures, id and record hold from the root to this hop. Otherwise the reason.
    pub verified: Result<(), String>,
    /// The revoked hop that ended it, itself or one before it, with the index of the revocation's
    /// record; `None` when it is not revoked.
    pub revoked: Option<(HopId, u64)>,
}

struct Recorded {
    hop: HopId,
    parent: Option<HopId>,
    record: Hop,
    block: BlockPayload,
    index: u64,
    recorded_at: UnixMillis,
    recorded_by: String,
    trace: Option<String>,
}

/// A hop above the hops that are read. The reader has it in its own token.
struct Above {
    hop: HopId,
    holder: String,
    block: BlockPayload,
}

/// The hops of one delegation, while they are read.
pub(crate) struct Chains {
    bundle: Arc<TrustBundle>,
    /// The hops above, the root first; empty when all hops are read.
    above: Vec<Above>,
    revoked: HashMap<HopId, u64>,
    order: Vec<HopId>,
    hops: HashMap<HopId, Recorded>,
}

impl Chains {
    pub(crate) fn new(bundle: Arc<TrustBundle>, revoked: HashMap<HopId, u64>) -> Self {
        let above = Vec::new();
        Chains { bundle, above, revoked, order: Vec::new(), hops: HashMap::new() }
    }

    /// Restricts this to the hops at and below the last hop of a token.
    pub(crate) fn below(mut self, token: &VerifiedToken) -> Self {
        let above = token.hops().take(token.signed_blocks().len().saturating_sub(1)).enumerate();
        let above = above.map(|(position, (hop, signed))| Above {
            hop,
            holder: token.prefix(position).map(|to| to.holder().to_string()).unwrap_or_default(),
            block: signed.into(),
        });
        self.above = above.collect();
        self
    }

    fn holder_above(&self, hop: &HopId) -> Option<&str> {
        self.above.iter().find(|above| above.hop == *hop).map(|above| above.holder.as_str())
    }

    /// Adds a recorded hop. Its parent must have been added before.
    pub(crate) fn add(
        &mut self,
        entry: &Entry,
        record: &Hop,
        payload: &HopPayload,
    ) -> Result<(), String> {
        let hop = recorded_id(record).map_err(|bad| bad.to_string())?;
        let parent = match record.parent.as_slice() {
            [] => None,
            bytes => Some(hop_id("parent", bytes).map_err(|bad| bad.to_string())?),
        };
        let is_here = |hop: &HopId| self.hops.contains_key(hop) || self.holder_above(hop).is_some();
        if parent.is_some_and(|parent| !is_here(&parent)) {
            return Err(format!("hop {hop} was recorded before its parent"));
        }
        if self.hops.contains_key(&hop) {
            return Err(format!("hop {hop} was recorded twice"));
        }
        let block = block_payload(payload).ok_or_else(|| format!("hop {hop} names no key"))?;
        let (record, index) = (record.clone(), entry.index);
        let (recorded_at, recorded_by) = (entry.time(), entry.record.actor.clone());
        self.order.push(hop);
        let trace = entry.trace();
        let recorded =
            Recorded { hop, parent, record, block, index, recorded_at, recorded_by, trace };
        self.hops.insert(hop, recorded);
        Ok(())
    }

    /// Verifies every hop. Returns the reports, and the principal if the root verifies.
    pub(crate) fn finish(
        self,
        delegation: &DelegationId,
        problems: &mut Vec<String>,
    ) -> (Vec<HopReport>, Option<String>) {
        if self.above.is_empty() && self.order.first() != Some(delegation) {
            problems.push("the first hop recorded is not the root of this delegation".to_owned());
        }
        let verified = self.verify_all();
        let reports = self.order.iter().filter_map(|hop| self.report(hop, &verified)).collect();
        let root = self.order.first().and_then(|hop| verified.get(hop));
        let principal = root
            .and_then(|root| root.as_ref().ok())
            .and_then(|root| root.token.principal().map(ToString::to_string));
        (reports, principal)
    }

    /// Verifies from the last hops on, so that each chain is verified once and not once for each
    /// hop.
    fn verify_all(&self) -> HashMap<HopId, Result<Place, String>> {
        let mut verified = HashMap::new();
        for hop in self.order.iter().rev() {
            if verified.contains_key(hop) {
                continue;
            }
            match self.verify(hop) {
                Ok(token) => {
                    let token = Arc::new(token);
                    for (position, (id, _)) in token.hops().enumerate() {
                        let place = Place { token: token.clone(), position };
                        verified.entry(id).or_insert(Ok(place));
                    }
                }
                Err(detail) => {
                    verified.insert(*hop, Err(detail));
                }
            }
        }
        verified
    }

    /// Assembles the token that ends in this hop and verifies it. The root key's number is not
    /// recorded because no signature covers it, so every delegation key is tried.
    fn verify(&self, hop: &HopId) -> Result<VerifiedToken, String> {
        let chain = self.chain(hop);
        let mut detail = "the trust bundle lists no key for delegations".to_owned();
        for key in self.bundle.keys().iter().filter(|key| key.use_ == KeyUse::Delegation) {
            let above = self.above.iter().map(|above| &above.block);
            let blocks = above.chain(chain.iter().map(|recorded| &recorded.block));
            let token = UnverifiedToken::assemble(key.id, blocks).map_err(|bad| bad.to_string())?;
            match VerifiedToken::verify(token, &self.bundle) {
                Ok(token) if token.id() == *hop => return Ok(token),
                Ok(token) => {
                    detail = format!("its blocks make hop {}, recorded is {hop}", token.id());
                }
                Err(refusal) => detail = refusal.to_string(),
            }
        }
        Err(detail)
    }

    /// Returns the recorded hops from the root to this one.
    fn chain(&self, hop: &HopId) -> Vec<&Recorded> {
        let mut chain = Vec::new();
        let mut at = self.hops.get(hop);
        // Parents are recorded first, so this loop ends.
        while let Some(recorded) = at {
            chain.push(recorded);
            at = recorded.parent.and_then(|parent| self.hops.get(&parent));
        }
        chain.reverse();
        chain
    }

    fn report(
        &self,
        hop: &HopId,
        verified: &HashMap<HopId, Result<Place, String>>,
    ) -> Option<HopReport> {
        let recorded = self.hops.get(hop)?;
        let place = verified.get(hop)?;
        let block = place.as_ref().ok().and_then(Place::block);
        let parent = place.as_ref().ok().and_then(Place::parent);
        let holds = match (place, block) {
            (Err(detail), _) => Err(detail.clone()),
            (Ok(place), Some(block)) => recorded.agrees(block, place),
            (Ok(_), None) => Err("the chain has no such hop".to_owned()),
        };
        let holder = match recorded.record.helper.as_str() {
            "" => recorded.record.agent_id.clone(),
            helper => format!("{}#{helper}", recorded.record.agent_id),
        };
        let above = recorded.parent.and_then(|parent| self.holder_above(&parent));
        let from = match recorded.parent.and_then(|parent| self.hops.get(&parent)) {
            None if above.is_some() => above.unwrap_or_default().to_owned(),
            None => self.bundle.trust_domain().issuer().to_string(),
            Some(parent) if parent.record.helper.is_empty() => parent.record.agent_id.clone(),
            Some(parent) => format!("{}#{}", parent.record.agent_id, parent.record.helper),
        };
        let killed = |at: &&Recorded| self.revoked.contains_key(&at.hop);
        let revoked = self.chain(hop).into_iter().find(killed).map(|at| at.hop);
        Some(HopReport {
            hop: *hop,
            parent: recorded.parent,
            position: recorded.record.position,
            index: recorded.index,
            recorded_at: recorded.recorded_at,
            recorded_by: recorded.recorded_by.clone(),
            trace: recorded.trace.clone(),
            from,
            holder,
            expires: recorded.record.expires_seconds,
            block: block.cloned(),
            narrowing: parent.zip(block).map(|(p, c)| narrowing(p, c)).unwrap_or_default(),
            verified: holds,
            revoked: revoked.and_then(|hop| self.revoked.get(&hop).map(|index| (hop, *index))),
        })
    }
}

impl Recorded {
    /// Checks that the record states the same as the block.
    fn agrees(&self, block: &Block, place: &Place) -> Result<(), String> {
        let helper = block.helper.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = place.token.signed_blocks().get(place.position).map(|b| b.next_key());
        let key = key.map(|key| key.thumbprint().0.to_vec()).unwrap_or_default();
        let position = usize::try_from(self.record.position).unwrap_or(usize::MAX);
        let fields = [
            ("position", position == place.position),
            (
                "parent",
                self.parent == place.position.checked_sub(1).and_then(|p| place.token.id_at(p)),
            ),
            ("agent", self.record.agent_id == block.agent.as_str()),
            ("helper", self.record.helper == helper),
            ("key", self.record.key == key),
            ("expiry", self.record.expires_seconds == block.not_after),
        ];
        match fields.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((field, _)) => Err(format!("the record states another {field} than the block")),
        }
    }
}

/// The place of a hop in a verified token.
struct Place {
    token: Arc<VerifiedToken>,
    position: usize,
}

impl Place {
    fn block(&self) -> Option<&Block> {
        self.token.signed_blocks().get(self.position).map(|signed| signed.block())
    }

    fn parent(&self) -> Option<&Block> {
        let before = self.position.checked_sub(1)?;
        self.token.signed_blocks().get(before).map(|signed| signed.block())
    }
}

/// Lists as text what a hop took away from the one before it; empty when nothing.
pub fn narrowing(parent: &Block, child: &Block) -> Vec<String> {
    let mut words = Vec::new();
    if parent.scope != child.scope {
        let texts = |block: &Block| {
            let capabilities = block.scope.iter().flat_map(|scope| scope.capabilities());
            capabilities.map(ToString::to_string).collect::<Vec<_>>()
        };
        let (had, has) = (texts(parent), texts(child));
        for lost in had.iter().filter(|text| !has.contains(text)) {
            words.push(format!("no longer all of {lost}"));
        }
        for kept in has.iter().filter(|text| !had.contains(text)) {
            words.push(format!("only {kept}"));
        }
    }
    let earlier = parent.not_after.saturating_sub(child.not_after);
    if earlier > 0 {
        words.push(format!("ends {earlier} s earlier"));
    }
    if child.hops_max < parent.hops_max {
        words.push(format!("{} hops in all, not {}", child.hops_max, parent.hops_max));
    }
    if child.offline_hops_max < parent.offline_hops_max {
        let (has, had) = (child.offline_hops_max, parent.offline_hops_max);
        words.push(format!("{has} hops without a receipt, not {had}"));
    }
    words
}

/// Decodes a recorded block; `None` when its next key is not valid.
pub(crate) fn block_payload(payload: &HopPayload) -> Option<BlockPayload> {
    let algorithm = Algorithm::from_name(&payload.next_key_algorithm)?;
    let next_key = PublicKey::from_bytes(algorithm, &payload.next_key).ok()?;
    let (payload, signature) = (payload.block.clone(), payload.signature.clone());
    Some(BlockPayload { payload, next_key, signature })
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
