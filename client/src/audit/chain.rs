//! Tokens that are assembled again from recorded blocks, and what each hop took away.
//!
//! Owns: the tree of a delegation's hops, and the text of an attenuation. Does not own: whether a
//! chain is authentic; `sublet_core::token::verify` decides that on the assembled token.
//!
//! Invariants: a hop is called verified only if the token that ends in it, assembled from blocks
//! alone, verifies, its id is the recorded one, and every field of the record equals the block's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sublet_core::base::id::{DelegationId, HopId, UnixMillis};
use sublet_core::base::utc::utc;
use sublet_core::biscuit::block::Block;
use sublet_core::capability::{Capability, Scope, Step};
use sublet_core::token::BlockPayload;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::TrustBundle;
use sublet_proto::convert::hop_id;
use sublet_proto::record::{Hop, HopPayload};

use crate::audit::entry::Entry;
use crate::audit::entry::recorded_id;
use crate::audit::rebuild::{Unproven, block_payload, rebuild, walk};

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
    /// Whether its signatures, id and record hold, from the root on; else what does not.
    pub verified: Result<(), Unproven>,
    /// The hop at which it was revoked: itself or one before it, with the index of the record.
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
    ) -> Result<(), Unproven> {
        let hop = recorded_id(record).map_err(Unproven::id)?;
        let parent = match record.parent.as_slice() {
            [] => None,
            bytes => Some(hop_id("parent", bytes).map_err(Unproven::id)?),
        };
        let is_here = |hop: &HopId| self.hops.contains_key(hop) || self.holder_above(hop).is_some();
        if parent.is_some_and(|parent| !is_here(&parent)) {
            return Err(Unproven::BeforeItsParent(hop));
        }
        if self.hops.contains_key(&hop) {
            return Err(Unproven::RecordedTwice(hop));
        }
        let block = block_payload(payload)?;
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

    /// Verifies from the leaves on, so that a chain is verified once and not once for each hop.
    fn verify_all(&self) -> HashMap<HopId, Result<Place, Unproven>> {
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
                Err(why) => {
                    verified.insert(*hop, Err(why));
                }
            }
        }
        verified
    }

    /// The verified token that ends in this hop.
    fn verify(&self, hop: &HopId) -> Result<VerifiedToken, Unproven> {
        let above = self.above.iter().map(|above| above.block.clone());
        let recorded = self.chain(hop)?;
        let blocks: Vec<_> = above.chain(recorded.iter().map(|at| at.block.clone())).collect();
        rebuild(&blocks, hop, None, &self.bundle)
    }

    /// The recorded hops from the first that is read to this one.
    fn chain(&self, hop: &HopId) -> Result<Vec<&Recorded>, Unproven> {
        walk(Some(*hop), |hop| {
            let recorded = self.hops.get(hop)?;
            let parent = recorded.parent.filter(|parent| self.hops.contains_key(parent));
            Some((parent, recorded))
        })
    }

    fn report(
        &self,
        hop: &HopId,
        verified: &HashMap<HopId, Result<Place, Unproven>>,
    ) -> Option<HopReport> {
        let recorded = self.hops.get(hop)?;
        let place = verified.get(hop)?;
        let block = place.as_ref().ok().and_then(Place::block);
        let parent = place.as_ref().ok().and_then(Place::parent);
        let holds = match (place, block) {
            (Err(why), _) => Err(why.clone()),
            (Ok(place), Some(block)) => recorded.agrees(block, place),
            (Ok(_), None) => Err(Unproven::NoSuchHop),
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
        // A parent is here before its child, so this ends, however long a chain is recorded.
        let parent_of = |at: &&Recorded| at.parent.and_then(|parent| self.hops.get(&parent));
        let chain = std::iter::successors(Some(recorded), parent_of);
        let revoked = chain.filter(killed).last().map(|at| at.hop);
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
    /// Whether the record says of the hop what its block says.
    fn agrees(&self, block: &Block, place: &Place) -> Result<(), Unproven> {
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
            Some((field, _)) => Err(Unproven::Differs(field)),
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
    let capabilities = |block: &Block| -> Vec<Capability> {
        block.scope.iter().flat_map(|scope| scope.capabilities()).cloned().collect()
    };
    let (had, has) = (capabilities(parent), capabilities(child));
    let several = had.len().max(has.len()) > 1;
    let mut lines = Vec::new();
    let mut continued = BTreeSet::new();
    for one in &has {
        let same = had.iter().position(|wider| wider == one);
        match same.or_else(|| had.iter().position(|wider| covers(wider, one))) {
            Some(at) => {
                continued.insert(at);
                let changes = had.get(at).map(|wider| changes(wider, one)).unwrap_or_default();
                if !changes.is_empty() {
                    let which = if several { format!("{one}: ") } else { String::new() };
                    lines.push(format!("narrowed: {which}{}", changes.join(", ")));
                }
            }
            None => lines.push(format!("not held before: {one}")),
        }
    }
    let removed = had.iter().enumerate().filter(|(at, _)| !continued.contains(at));
    lines.extend(removed.map(|(_, lost)| format!("removed: {lost}")));
    if child.not_after < parent.not_after {
        let (had, has) = (utc(parent.not_after), utc(child.not_after));
        lines.push(format!("narrowed: expires {had} → {has}"));
    }
    if child.hops_max < parent.hops_max {
        lines.push(format!("narrowed: hops {} → {}", parent.hops_max, child.hops_max));
    }
    if child.offline_hops_max < parent.offline_hops_max {
        let (had, has) = (parent.offline_hops_max, child.offline_hops_max);
        lines.push(format!("narrowed: offline hops {had} → {has}"));
    }
    lines
}

/// Whether `one` lies inside `wider`, in the hands of another agent.
fn covers(wider: &Capability, one: &Capability) -> bool {
    let scope = |capability: &Capability| Scope::new(vec![capability.clone()]).ok();
    let step = Step { hop: 0, to_another: true };
    scope(wider).zip(scope(one)).is_some_and(|(wider, one)| wider.covers_after(&one, step).is_ok())
}

/// Returns each part of a capability in which it is narrower than `wider`: `path under:/data → under:/data/q3`.
fn changes(wider: &Capability, one: &Capability) -> Vec<String> {
    let held = |capability: &Capability, name: &str| {
        let named = capability.args().find(|(other, _)| *other == name);
        let default = if capability.is_open() { "any" } else { "absent" };
        named.map_or(default.to_owned(), |(_, constraint)| constraint.to_string())
    };
    let open = |capability: &Capability| if capability.is_open() { "any" } else { "absent" };
    let hops = |capability: &Capability| {
        capability.travel().hops_max.map_or("any".to_owned(), |hops| hops.to_string())
    };
    let mut parts = vec![
        ("audience".to_owned(), wider.audience().to_string(), one.audience().to_string()),
        ("action".to_owned(), wider.action().to_string(), one.action().to_string()),
    ];
    let names: BTreeSet<&str> = wider.args().chain(one.args()).map(|(name, _)| name).collect();
    let named = names.into_iter();
    parts.extend(named.map(|name| (argument(name), held(wider, name), held(one, name))));
    parts.push(("other arguments".to_owned(), open(wider).to_owned(), open(one).to_owned()));
    parts.push(("capability hops".to_owned(), hops(wider), hops(one)));
    if one.travel().delegates_only && !wider.travel().delegates_only {
        parts.push(("use".to_owned(), "holder".to_owned(), "delegates".to_owned()));
    }
    let changed = parts.into_iter().filter(|(_, had, has)| had != has);
    changed.map(|(part, had, has)| format!("{part} {had} → {has}")).collect()
}

/// The name of an argument, quoted unless it is a plain word.
fn argument(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if plain && !name.is_empty() { name.to_owned() } else { format!("{name:?}") }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
