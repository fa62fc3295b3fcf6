//! The whole ledger as a history: who did what, on whose behalf, through which hops, with every
//! decision made again. docs/DESIGN, "Replay"; SPEC section 9.
//!
//! Owns: combining records, and deciding again with the functions that tools use. Does not own:
//! reading records (`records`), the questions (`questions`), one delegation's chain (`replay`).
//!
//! Invariants: only records under the checkpoint count; a decision is called reproduced only if it
//! was made again from recorded inputs alone and had the same result; a decision that could not be
//! made again is reported with the reason.

use std::collections::{BTreeMap, HashMap, HashSet};

use sublet_core::authorize::{Bound, CallView, decide_call, prove};
use sublet_core::base::id::{DelegationId, HopId, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::proof::CallProof;
use sublet_core::evidence::receipt::Receipt;
use sublet_core::evidence::record::UseVerdict;
use sublet_core::revocation::feed::{FeedPosition, Revocation, RevocationView};
use sublet_core::token::BlockPayload;
use sublet_core::token::verify::{Coverage, VerifiedToken};
use sublet_core::trust::bundle::{KeyState, KeyUse, TrustBundle};
use sublet_ledger::checkpoint::{Checkpoint, CheckpointKey};
use sublet_ledger::tree::Checked;
use sublet_proto::convert::hop_id;
use sublet_proto::record::payload::Content;
use sublet_proto::record::record::Body;
use sublet_proto::record::{BrokerKey, RefusalCount, Use, UseEvidence};

use crate::audit::chain::HopReport;
use crate::audit::consents::RecordedConsent;
use crate::audit::entry::Actor;
use crate::audit::entry::Entry;
use crate::audit::names::Names;
use crate::audit::published::checkpoint_keys;
use crate::audit::rebuild::{Unproven, block_payload, rebuild, walk};
use crate::audit::records::Records;
use crate::audit::replay::{self, RecordedRefusal, Report};
use crate::trust::Trust;

/// A recorded use, and the result of deciding it again.
#[derive(Clone, Debug)]
pub struct RecordedUse {
    /// The index of its record.
    pub index: u64,
    /// The broker's time of its record.
    pub recorded_at: UnixMillis,
    /// The tool that reported it.
    pub verifier: String,
    /// The delegation of the use.
    pub delegation: DelegationId,
    /// The content of the record.
    pub used: Use,
    /// The evidence in the payload; `None` when it was erased.
    pub evidence: Option<UseEvidence>,
    /// The chain, put together again; else why not.
    pub token: Result<VerifiedToken, Unproven>,
    /// The call as it was made; else why it is not known.
    pub call: Result<Call, Unproven>,
    /// The decision, made again.
    pub again: Again,
}

impl RecordedUse {
    /// Whether the tool allowed it.
    pub fn allowed(&self) -> bool {
        self.verdict().is_allowed()
    }

    /// What the tool decided.
    pub fn verdict(&self) -> UseVerdict {
        UseVerdict::of_code(self.used.code.clone())
    }

    /// Returns the tool's time of the decision.
    pub fn decided_at(&self) -> UnixMillis {
        UnixMillis(self.used.decided_at_ms)
    }

    /// Returns the position in the revocation feed that the tool had applied when it decided.
    pub fn position(&self) -> FeedPosition {
        FeedPosition::new(self.used.revocation_epoch, self.used.revocation_sequence)
    }
}

/// The result of deciding a use again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// The result is the recorded one.
    Reproduced,
    /// The result is another one, which the text names.
    Diverged(String),
    /// The decision could not be made again, for the reason in the text.
    NotShown(String),
}

impl Again {
    /// Returns the name of the result: `reproduced`, `diverged` or `not_shown`.
    pub fn name(&self) -> &'static str {
        match self {
            Again::Reproduced => "reproduced",
            Again::Diverged(_) => "diverged",
            Again::NotShown(_) => "not_shown",
        }
    }

    /// Returns the text of the result; empty for a reproduced one.
    pub fn detail(&self) -> &str {
        match self {
            Again::Reproduced => "",
            Again::Diverged(detail) | Again::NotShown(detail) => detail,
        }
    }
}

/// A recorded revocation, suspension or resumption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRevocation {
    /// The index of its record.
    pub index: u64,
    /// Its number in the revocation feed.
    pub sequence: u64,
    /// The broker's time of its record.
    pub time: UnixMillis,
    /// The party that requested it.
    pub actor: Actor,
    /// The reason; empty when it was erased.
    pub reason: String,
    /// The subject; `None` when it is a principal whose name was erased.
    pub revocation: Option<Revocation>,
}

/// Refusals of one caller that were too many to be recorded one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedRefusals {
    /// The index of the record.
    pub index: u64,
    /// The time of the first of them.
    pub from: UnixMillis,
    /// The time of the last of them.
    pub to: UnixMillis,
    /// The agent that is responsible for the caller.
    pub actor: String,
    /// Method, code and number. Where there were more than 31 pairs, the rest is one entry with
    /// empty method and code.
    pub counts: Vec<(String, String, u64)>,
}

/// A tool's report of the revocations that it has applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The tool.
    pub verifier: String,
    /// The broker's time of the report.
    pub time: UnixMillis,
    /// The position in the revocation feed that the tool had reached.
    pub position: FeedPosition,
}

/// A checkpoint that a tool was shown and reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCheckpoint {
    /// The index of the report's record.
    pub index: u64,
    /// The tool.
    pub verifier: String,
    /// The checkpoint, as it was signed.
    pub note: Vec<u8>,
    /// How many records the checkpoint covers; `None` when no trusted key signed it.
    pub size: Option<u64>,
    /// Whether these records begin with the records of the checkpoint.
    pub consistent: Checked,
}

/// The history of a ledger.
#[derive(Debug)]
pub struct History {
    /// The checkpoint that covers all records.
    pub head: Checkpoint,
    /// Each delegation, replayed.
    pub delegations: BTreeMap<DelegationId, Report>,
    /// Every use, in the order of the ledger.
    pub uses: Vec<RecordedUse>,
    /// Every revocation, in the order of the ledger.
    pub revocations: Vec<RecordedRevocation>,
    /// Every refusal, in the order of the ledger.
    pub refusals: Vec<RecordedRefusal>,
    /// Every consent, in the order of the ledger.
    pub consents: Vec<RecordedConsent>,
    /// The reports of tools about the revocations that they have applied.
    pub syncs: Vec<Sync>,
    /// The checkpoints that tools were shown, compared with these records.
    pub shown: Vec<ShownCheckpoint>,
    /// Ranges of pruned records: first and last index.
    pub pruned: Vec<(u64, u64)>,
    /// The records whose payload was erased.
    pub erased: Vec<u64>,
    /// The refusals that were only counted, in the order of the ledger.
    pub counted: Vec<CountedRefusals>,
    /// The agent that each key belongs to, by enrollments and rotations.
    owners: HashMap<Thumbprint, String>,
    /// The delegation of each recorded hop, and the hop's index in its report.
    places: HashMap<HopId, (DelegationId, usize)>,
    /// The ids of all recorded hops.
    recorded: HashSet<HopId>,
    /// The names of agents and principals in the records.
    pub(crate) names: Names,
    /// The trust bundle that the records are verified with.
    bundle: TrustBundle,
}

impl History {
    /// Combines the records up to `as_of`, or all of them if it is `None`.
    pub fn of(records: Records, trust: &Trust, as_of: Option<UnixMillis>) -> Self {
        let pruned = records.pruned();
        let heads = checkpoint_keys(&trust.current());
        let shown = shown_checkpoints(&records, &heads);
        let known = |entry: &Entry| as_of.is_none_or(|as_of| entry.time() <= as_of);
        let entries: Vec<Entry> = records.entries.into_iter().filter(known).collect();
        let mut history = History {
            head: records.head,
            delegations: BTreeMap::new(),
            uses: Vec::new(),
            revocations: entries.iter().filter_map(revocation).collect(),
            refusals: entries.iter().filter_map(replay::refusal).collect(),
            consents: entries.iter().filter_map(RecordedConsent::of).collect(),
            syncs: entries.iter().filter_map(sync).collect(),
            shown,
            pruned,
            erased: entries.iter().filter(|e| e.is_erased()).map(|e| e.index).collect(),
            counted: entries.iter().filter_map(counted).collect(),
            owners: entries.iter().filter_map(owner).collect(),
            recorded: entries.iter().filter_map(|e| hop_id("hop", &e.hop()?.hop).ok()).collect(),
            places: HashMap::new(),
            names: Names::of(&entries),
            bundle: trust.current().for_replay(),
        };
        let mut blocks = Blocks::of(&entries);
        let uses = entries.iter().filter_map(|entry| history.used(entry, &mut blocks)).collect();
        history.uses = uses;
        let mut of_delegations: BTreeMap<DelegationId, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            if let Ok(id) = hop_id("delegation", &entry.record.delegation) {
                of_delegations.entry(id).or_default().push(entry);
            }
        }
        let report = |(id, entries)| (id, replay::report(&id, entries, trust));
        history.delegations = of_delegations.into_iter().map(report).collect();
        let places = history.delegations.iter().flat_map(|(id, report)| {
            report.hops.iter().enumerate().map(move |(at, hop)| (hop.hop, (*id, at)))
        });
        history.places = places.collect();
        let names = std::mem::take(&mut history.names);
        let used = history.uses.iter().filter_map(|used| used.token.as_ref().ok());
        history.names = names.with(history.delegations.values(), used);
        history
    }

    /// Returns what the ledger shows of a recorded hop; `None` when no record has it.
    pub fn hop(&self, hop: &HopId) -> Option<&HopReport> {
        let (delegation, at) = self.places.get(hop)?;
        self.delegations.get(delegation)?.hops.get(*at)
    }

    fn used(&self, entry: &Entry, blocks: &mut Blocks) -> Option<RecordedUse> {
        let Some(Body::Used(used)) = &entry.record.body else { return None };
        let evidence = match &entry.content {
            Some(Content::Use(evidence)) => Some(evidence.clone()),
            _ => None,
        };
        let shown = evidence.as_ref().ok_or(Unproven::EvidenceErased);
        let token = shown.clone().and_then(|evidence| blocks.token(used, evidence, &self.bundle));
        let call = shown.and_then(|evidence| call(used, evidence));
        let mut recorded = RecordedUse {
            index: entry.index,
            recorded_at: entry.time(),
            verifier: entry.record.actor.clone(),
            delegation: hop_id("delegation", &entry.record.delegation).ok()?,
            used: used.clone(),
            evidence,
            token,
            call,
            again: Again::Reproduced,
        };
        recorded.again = self.again(&recorded);
        Some(recorded)
    }

    /// Decides a use again from the records and compares the result with the recorded one.
    fn again(&self, recorded: &RecordedUse) -> Again {
        // The inputs of a tool's additional requirements are not recorded.
        if recorded.used.code == "not_in_log" {
            return Again::NotShown(
                "the tool demanded inclusion proofs, which are not kept".to_owned(),
            );
        }
        if let Some(unnamed) = self.unnamed(recorded) {
            return unnamed;
        }
        match self.decide(recorded, None) {
            Err(why) => Again::NotShown(why.to_string()),
            Ok(verdict) if verdict == recorded.verdict() => Again::Reproduced,
            Ok(verdict) => {
                let was = recorded.verdict();
                Again::Diverged(format!("recorded: {was}, decided again: {verdict}"))
            }
        }
    }

    /// Returns a result if the chain of a use names an agent that no record shows to hold it: the
    /// hop is not recorded, and the key is not one that the agent enrolled with or rotated to.
    /// Anyone who has a token can append a hop in any name with a key of its own.
    fn unnamed(&self, recorded: &RecordedUse) -> Option<Again> {
        let token = recorded.token.as_ref().ok()?;
        let hops = token.hops().zip(token.thumbprints()).enumerate();
        let unnamed = hops.filter(|(_, ((id, signed), key))| {
            let block = signed.block();
            let owned = self.owners.get(key).is_some_and(|owner| owner == block.agent.as_str());
            block.helper.is_none() && !owned && !self.recorded.contains(id)
        });
        let (hop, ((_, signed), _)) = unnamed.into_iter().next()?;
        let agent = &signed.block().agent;
        let detail =
            format!("hop {hop} names {agent}, and no record shows that this agent holds it");
        // Refusing such a chain is right, and is no evidence that this agent tried.
        Some(match self.pruned.is_empty() {
            true if recorded.allowed() => Again::Diverged(detail),
            true => Again::NotShown(detail),
            false => Again::NotShown(format!("{detail}; records are missing that may show it")),
        })
    }

    /// What a use gets when it is decided again; with one more revocation, if one is given. An error says what
    /// is missing to decide it.
    pub fn decide(
        &self,
        used: &RecordedUse,
        more: Option<&Revocation>,
    ) -> Result<UseVerdict, Unproven> {
        let evidence = used.evidence.as_ref().ok_or(Unproven::EvidenceErased)?;
        let token = used.token.as_ref().map_err(Clone::clone)?;
        let call = used.call.as_ref().map_err(Clone::clone)?;
        let proof = CallProof::decode(&evidence.proof)?;
        let now = used.decided_at();
        let possession = prove(token, &proof, &Bound::of(call), now);
        let possession = possession.map_err(|bad| Unproven::Possession(bad.into()))?;
        let coverage = match evidence.receipt.as_slice() {
            [] => None,
            receipt => {
                let coverage = Coverage::verify(Receipt::decode(receipt)?, token, &self.bundle);
                Some(coverage.map_err(|bad| Unproven::Receipt(bad.into()))?)
            }
        };
        let known =
            self.revocations.iter().filter(|known| known.sequence <= used.position().sequence);
        let known: Option<Vec<_>> =
            known.map(|known| known.revocation.clone().zip(Some(known.time))).collect();
        let known = known.ok_or(Unproven::PrincipalErased)?;
        let known = known.into_iter().chain(more.map(|more| (more.clone(), now)));
        let view =
            RevocationView::recorded(self.bundle.trust_domain().clone(), used.position(), known);
        let view = CallView {
            revocations: &view,
            age_ms: evidence.age_ms,
            staleness_ms_max: evidence.staleness_ms_max,
            coverage: coverage.as_ref(),
        };
        match decide_call(token, &possession, call, view, now) {
            Ok(_) => Ok(UseVerdict::Allowed),
            Err(refusal) => Ok(UseVerdict::Denied(refusal.code().to_owned())),
        }
    }
}

/// The blocks of recorded hops, by hop id.
struct Blocks {
    blocks: HashMap<HopId, (Option<HopId>, BlockPayload)>,
    /// Chains that records alone show, verified once.
    verified: HashMap<HopId, Result<VerifiedToken, Unproven>>,
}

impl Blocks {
    fn of(entries: &[Entry]) -> Self {
        let block = |entry: &Entry| {
            let hop = entry.hop()?;
            let parent = hop_id("parent", &hop.parent).ok();
            let id = hop_id("hop", &hop.hop).ok()?;
            Some((id, (parent, block_payload(entry.block()?).ok()?)))
        };
        let blocks = entries.iter().filter_map(block).collect();
        Blocks { blocks, verified: HashMap::new() }
    }

    /// Returns the chain that was used: recorded hops from the records, other hops from the
    /// evidence.
    fn token(
        &mut self,
        used: &Use,
        evidence: &UseEvidence,
        bundle: &TrustBundle,
    ) -> Result<VerifiedToken, Unproven> {
        let id = hop_id("hop", &used.hop).map_err(Unproven::id)?;
        if let Some(known) = self.verified.get(&id).filter(|_| evidence.blocks.is_empty()) {
            return known.clone();
        }
        let token = self.verify(id, evidence, bundle);
        if evidence.blocks.is_empty() {
            self.verified.insert(id, token.clone());
        }
        token
    }

    fn verify(
        &self,
        id: HopId,
        evidence: &UseEvidence,
        bundle: &TrustBundle,
    ) -> Result<VerifiedToken, Unproven> {
        let from = match (evidence.blocks.as_slice(), evidence.behind.as_slice()) {
            ([], _) => Some(id),
            (_, []) => None,
            (_, behind) => Some(hop_id("behind", behind).map_err(Unproven::id)?),
        };
        let recorded =
            walk(from, |hop| self.blocks.get(hop).map(|(parent, block)| (*parent, block)))?;
        let shown = evidence.blocks.iter().map(block_payload);
        let blocks = recorded.into_iter().cloned().map(Ok).chain(shown);
        let receipt = Some(evidence.receipt.as_slice()).filter(|receipt| !receipt.is_empty());
        rebuild(&blocks.collect::<Result<Vec<_>, _>>()?, &id, receipt, bundle)
    }
}

fn call(used: &Use, evidence: &UseEvidence) -> Result<Call, Unproven> {
    if evidence.arguments.is_empty() {
        return Err(Unproven::ArgumentsNotKept);
    }
    let proof = CallProof::decode(&evidence.proof)?;
    let digest = proof.claims.arguments_hash;
    let arguments = Arguments::from_evidence(&evidence.arguments, digest)?;
    Ok(Call { audience: used.audience.clone(), action: used.action.clone(), arguments })
}

fn revocation(entry: &Entry) -> Option<RecordedRevocation> {
    let words = entry.words();
    let revocation = match &entry.record.body {
        Some(Body::Revoked(revoked)) => match revoked.kind.as_str() {
            "hop" | "delegation" => revoked.target.parse().ok().map(Revocation::Hop),
            "principal" => words.principal.parse().ok().map(Revocation::Principal),
            "agent" => revoked.target.parse().ok().map(Revocation::AgentSuspended),
            "key" => revoked.target.parse().ok().map(Revocation::AgentKey),
            _ => None,
        },
        Some(Body::PrincipalRestored(_)) => {
            words.principal.parse().ok().map(Revocation::PrincipalRestored)
        }
        Some(Body::AgentSuspended(change)) => {
            change.agent_id.parse().ok().map(Revocation::AgentSuspended)
        }
        Some(Body::AgentResumed(change)) => {
            change.agent_id.parse().ok().map(Revocation::AgentResumed)
        }
        Some(Body::KeyRevoked(change)) => {
            let key = change.key.as_slice().try_into().ok();
            key.map(|key| Revocation::AgentKey(Thumbprint(key)))
        }
        Some(Body::BrokerKey(key)) if is_tainted_root(key) => {
            let key = key.key.as_slice().try_into().ok();
            key.map(|key| Revocation::RootKey(Thumbprint(key)))
        }
        _ => return None,
    };
    Some(RecordedRevocation {
        index: entry.index,
        sequence: entry.record.revocation_sequence,
        time: entry.time(),
        actor: entry.actor(),
        reason: words.reason,
        revocation,
    })
}

/// Returns the agent that a record gives a key to.
fn owner(entry: &Entry) -> Option<(Thumbprint, String)> {
    match &entry.record.body {
        Some(
            Body::AgentEnrolled(change) | Body::KeyRotated(change) | Body::AgentRenewed(change),
        ) => {
            let key = change.key.as_slice().try_into().ok()?;
            Some((Thumbprint(key), change.agent_id.clone()))
        }
        _ => None,
    }
}

fn counted(entry: &Entry) -> Option<CountedRefusals> {
    let Some(Body::RefusalsCounted(counted)) = &entry.record.body else { return None };
    let line = |line: &RefusalCount| (line.method.clone(), line.code.clone(), line.count);
    Some(CountedRefusals {
        index: entry.index,
        from: UnixMillis(counted.from_ms),
        to: UnixMillis(counted.to_ms),
        actor: entry.record.actor.clone(),
        counts: counted.counts.iter().map(line).collect(),
    })
}

fn is_tainted_root(key: &BrokerKey) -> bool {
    let roots = [KeyUse::Delegation, KeyUse::Identity].map(KeyUse::name);
    key.state == KeyState::Tainted.name() && roots.contains(&key.r#use.as_str())
}

/// Returns the checkpoints that tools reported, in the order of their reports.
fn shown_checkpoints(records: &Records, keys: &[CheckpointKey]) -> Vec<ShownCheckpoint> {
    let reported = records.entries.iter().filter_map(|entry| match &entry.record.body {
        Some(Body::VerifierSynced(sync)) if !sync.checkpoint.is_empty() => Some((entry, sync)),
        _ => None,
    });
    let (mut shown, mut heads) = (Vec::new(), Vec::new());
    for (entry, sync) in reported {
        let head = Checkpoint::open(&sync.checkpoint, keys).ok();
        shown.push(ShownCheckpoint {
            index: entry.index,
            verifier: entry.record.actor.clone(),
            note: sync.checkpoint.clone(),
            size: head.as_ref().map(|head| head.size),
            consistent: Checked::NotShown,
        });
        heads.extend(head);
    }
    let mut checked = records.each_begins_with(&heads).into_iter();
    for head in shown.iter_mut().filter(|head| head.size.is_some()) {
        head.consistent = checked.next().unwrap_or(Checked::NotShown);
    }
    shown
}

fn sync(entry: &Entry) -> Option<Sync> {
    let Some(Body::VerifierSynced(sync)) = &entry.record.body else { return None };
    Some(Sync {
        verifier: entry.record.actor.clone(),
        time: entry.time(),
        position: FeedPosition::new(sync.epoch, sync.sequence),
    })
}
