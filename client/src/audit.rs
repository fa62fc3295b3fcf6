//! What happened to one delegation, put together again from its records. SPEC section 9.
//!
//! Owns: reading a replay, and checking that it is whole: numbers without a gap, each record bound
//! to the one before, each payload to its record, and every hop's signature and id recomputed from
//! the blocks. Does not own: whether the ledger as a whole is the one that others saw (a later
//! checkpoint says that), who may read it (the broker).
//!
//! Invariants: nothing that a record says about a hop is taken for shown by its block unless it
//! was recomputed; what does not fit is told as a problem, and the rest is still shown.

use std::collections::HashMap;

use prost::Message as _;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{DelegationId, HopId, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::token::verify::VerifiedToken;
use sublet_proto::convert::hop_id;
use sublet_proto::record::payload::Content;
use sublet_proto::record::record::Body;
use sublet_proto::record::{Hop, HopPayload, Payload, Record, Use, Words};
use sublet_proto::v1::ReplayEntry;

use crate::ask::Credential;
use crate::chain::{Chains, HopReport};
use crate::connect::{Broker, DEADLINE_DEFAULT};
use crate::error::Error;
use crate::trust::Trust;

/// The version byte of a leaf that is understood here.
pub(crate) const LEAF_VERSION: u8 = 1;

/// Entries of one replay: at about 1 KiB each 200 MiB. What is longer is read from
/// `Broker::replay_stream` entry by entry.
pub const ENTRIES_MAX: usize = 200_000;

/// One record, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its index in the ledger.
    pub index: u64,
    /// The hash of its leaf.
    pub leaf_hash: [u8; 32],
    /// What it says.
    pub record: Record,
    /// What lies beside it; `None` when nothing does, and when it was erased.
    pub content: Option<Content>,
}

impl Entry {
    /// Reads one entry: the leaf, and the payload that its digest binds.
    pub fn read(entry: &ReplayEntry) -> Result<Self, Error> {
        let bad = |detail: &str| Error::answer(format!("record {}: {detail}", entry.index));
        let leaf_hash = sublet_ledger::leaf_hash(&entry.leaf)
            .map_err(|too_large| bad(&too_large.to_string()))?;
        let Some((&LEAF_VERSION, message)) = entry.leaf.split_first() else {
            return Err(bad("of a version that is not known here"));
        };
        let record = Record::decode(message).map_err(|_| bad("not a record"))?;
        let content = match entry.payload.as_slice() {
            [] => None,
            payload if record.payload_digest != sha256(payload) => {
                return Err(bad("what lies beside it is not what it names"));
            }
            payload => {
                let payload = Payload::decode(payload);
                payload.map_err(|_| bad("what lies beside it is not readable"))?.content
            }
        };
        Ok(Entry { index: entry.index, leaf_hash, record, content })
    }

    /// Who acted, and what shows that it was them.
    pub fn actor(&self) -> Actor {
        let key = self.record.actor_key.as_slice().try_into().ok().map(Thumbprint);
        let recorded = Some(self.record.recorded_holder.clone()).filter(|name| !name.is_empty());
        Actor { name: self.record.actor.clone(), key, recorded }
    }

    /// Whether something lay beside it that is there no more.
    pub fn is_erased(&self) -> bool {
        self.content.is_none() && !self.record.payload_digest.is_empty()
    }

    /// A hop's own signed block.
    pub fn block(&self) -> Option<&HopPayload> {
        match &self.content {
            Some(Content::Hop(block)) => Some(block),
            _ => None,
        }
    }

    /// What was said; empty where nothing was or it was erased.
    pub fn words(&self) -> Words {
        match &self.content {
            Some(Content::Words(words)) => words.clone(),
            _ => Words::default(),
        }
    }

    /// When it was recorded, by the broker's clock.
    pub fn time(&self) -> UnixMillis {
        UnixMillis(self.record.time_ms)
    }

    /// The trace that the call was part of which made it (W3C Trace Context): the one that its caller named,
    /// or one that the broker began where it sends spans.
    pub fn trace(&self) -> Option<String> {
        let id: [u8; 16] = self.record.trace.as_slice().try_into().ok()?;
        Some(format!("{:032x}", u128::from_be_bytes(id)))
    }

    /// The hop that it records, if it records one.
    pub fn hop(&self) -> Option<&Hop> {
        hop_of(&self.record)
    }

    /// The use that it records, if it records one.
    pub fn used(&self) -> Option<&Use> {
        match &self.record.body {
            Some(Body::Used(used)) => Some(used),
            _ => None,
        }
    }

    /// What kind of record it is, in `snake_case`.
    pub fn kind(&self) -> &'static str {
        match &self.record.body {
            Some(Body::AgentCreated(_)) => "agent_created",
            Some(Body::AgentEnrolled(_)) => "agent_enrolled",
            Some(Body::AgentRenewed(_)) => "agent_renewed",
            Some(Body::KeyRotated(_)) => "key_rotated",
            Some(Body::AgentSuspended(_)) => "agent_suspended",
            Some(Body::AgentResumed(_)) => "agent_resumed",
            Some(Body::KeyRevoked(_)) => "key_revoked",
            Some(Body::ProfileApplied(_)) => "profile_applied",
            Some(Body::JoinTokenCreated(_)) => "join_token_created",
            Some(Body::JoinTokenRevoked(_)) => "join_token_revoked",
            Some(Body::Issued(_)) => "issued",
            Some(Body::HopRecorded(_)) => "hop_recorded",
            Some(Body::Refused(_)) => "refused",
            Some(Body::RefusalsCounted(_)) => "refusals_counted",
            Some(Body::Revoked(_)) => "revoked",
            Some(Body::PrincipalRestored(_)) => "principal_restored",
            Some(Body::Exported(_)) => "exported",
            Some(Body::BrokerKey(_)) => "broker_key",
            Some(Body::Erased(_)) => "erased",
            Some(Body::Used(_)) => "used",
            Some(Body::VerifierSynced(_)) => "verifier_synced",
            Some(Body::Pruned(_)) => "pruned",
            Some(Body::HoldPlaced(_)) => "hold_placed",
            Some(Body::HoldReleased(_)) => "hold_released",
            Some(Body::Consented(_)) => "consented",
            Some(Body::SessionEnded(_)) => "session_ended",
            None => "unknown",
        }
    }
}

fn hop_of(record: &Record) -> Option<&Hop> {
    match &record.body {
        Some(Body::Issued(hop) | Body::HopRecorded(hop)) => Some(hop),
        _ => None,
    }
}

/// Who acted, as a record says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name: an agent, `agent#helper`, `admin:<thumbprint>`, ….
    pub name: String,
    /// The key that signed the request; `None` for the broker itself, for a user, and in records from
    /// before it was kept.
    pub key: Option<Thumbprint>,
    /// The last holder of the actor's chain that was recorded, where the actor's own hop was not.
    pub recorded: Option<String>,
}

/// Of a helper, whose name its parent chose, the key too; of a hop that was not recorded, whom the ledger
/// knows it by.
impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        let key = self.key.filter(|_| self.name.contains('#') || self.recorded.is_some());
        if let Some(key) = key {
            write!(f, " (key {key})")?;
        }
        match &self.recorded {
            Some(recorded) => {
                write!(f, " (its hop is not recorded; the last recorded holder is {recorded})")
            }
            None => Ok(()),
        }
    }
}

/// A refusal that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRefusal {
    /// Its index in the ledger.
    pub index: u64,
    /// When.
    pub time: UnixMillis,
    /// Who asked.
    pub actor: Actor,
    /// The full method path.
    pub method: String,
    /// The stable code.
    pub code: String,
    /// The reason, as the ledger has it.
    pub detail: String,
    /// What was asked.
    pub asked: String,
    /// The trace that it was asked in; see [`Entry::trace`].
    pub trace: Option<String>,
}

/// A revocation that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its index in the ledger.
    pub index: u64,
    /// When.
    pub time: UnixMillis,
    /// By whom.
    pub actor: Actor,
    /// What kind of thing.
    pub kind: String,
    /// Which, as text.
    pub target: String,
    /// Why.
    pub reason: String,
}

/// One delegation, replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Its id.
    pub delegation: DelegationId,
    /// On whose behalf; `None` when the root could not be read.
    pub on_behalf_of: Option<String>,
    /// Every hop, in the order in which they were recorded; parents before children.
    pub hops: Vec<HopReport>,
    /// What was refused.
    pub refusals: Vec<RecordedRefusal>,
    /// What was revoked.
    pub revocations: Vec<Revoked>,
    /// Every record, in order.
    pub entries: Vec<Entry>,
    /// What does not fit; empty when everything does.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether the records are whole and every hop's signature, id and link holds.
    pub fn holds(&self) -> bool {
        self.problems.is_empty() && self.hops.iter().all(|hop| hop.verified.is_ok())
    }
}

/// Asks for all records of a delegation, and puts them together.
pub async fn replay(
    broker: &Broker,
    who: &Credential,
    trust: &Trust,
    delegation: &DelegationId,
) -> Result<Report, Error> {
    let mut stream = broker.replay_stream(who, delegation).await?;
    let mut entries = Vec::new();
    loop {
        let next = tokio::time::timeout(DEADLINE_DEFAULT, stream.message()).await;
        let next = next.map_err(|_| Error::deadline("the replay", DEADLINE_DEFAULT))?;
        match next.map_err(|status| Error::from_status(&status))? {
            Some(_) if entries.len() >= ENTRIES_MAX => {
                let detail = format!("the replay has over {ENTRIES_MAX} records: read the stream");
                return Err(Error::local("replay_too_long", detail));
            }
            Some(entry) => entries.push(Entry::read(&entry)?),
            None => return Ok(report_to(who, delegation, entries, trust)),
        }
    }
}

/// Puts the records of a delegation together, all of them.
pub fn report(delegation: &DelegationId, entries: Vec<Entry>, trust: &Trust) -> Report {
    put_together(delegation, entries, trust, None)
}

/// The same for whoever is shown what lies at or below its own hop: what lies above is its own token's.
fn report_to(
    who: &Credential,
    delegation: &DelegationId,
    entries: Vec<Entry>,
    trust: &Trust,
) -> Report {
    put_together(delegation, entries, trust, who.below())
}

fn put_together(
    delegation: &DelegationId,
    entries: Vec<Entry>,
    trust: &Trust,
    below: Option<&VerifiedToken>,
) -> Report {
    let mut problems = sequence_problems(delegation, &entries, below.is_none());
    let revocations: Vec<Revoked> = entries.iter().filter_map(revoked).collect();
    let mut chains =
        Chains::new(trust.current().for_replay().into(), revoked_hops(delegation, &revocations));
    if let Some(token) = below {
        chains = chains.below(token);
    }
    for entry in &entries {
        let Some(hop) = entry.hop() else { continue };
        let added = match entry.block() {
            Some(block) => chains.add(entry, hop, block),
            None => Err("the block beside it was erased or left out".to_owned()),
        };
        if let Err(detail) = added {
            problems.push(format!("record {}: {detail}", entry.index));
        }
    }
    let (hops, on_behalf_of) = chains.finish(delegation, &mut problems);
    let refusals = entries.iter().filter_map(refusal).collect();
    let delegation = *delegation;
    Report { delegation, on_behalf_of, hops, refusals, revocations, entries, problems }
}

/// Whether these are records of this delegation, in order; and if they should be all of them, whether none is
/// missing and each is bound to the one before.
fn sequence_problems(delegation: &DelegationId, entries: &[Entry], all: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut before: Option<&Entry> = None;
    for (position, entry) in (0u64..).zip(entries) {
        let mut problem = |detail: &str| problems.push(format!("record {}: {detail}", entry.index));
        if entry.record.delegation != delegation.0 {
            problem("of another delegation");
        }
        if all && entry.record.position != position {
            problem("records are missing before it");
        }
        let previous = before.map(|before| before.leaf_hash.to_vec()).unwrap_or_default();
        if all && entry.record.previous != previous {
            problem("not bound to the record before it");
        }
        if before.is_some_and(|before| before.index >= entry.index) {
            problem("its index does not follow");
        }
        before = Some(entry);
    }
    if all && entries.is_empty() {
        problems.push("there are no records".to_owned());
    }
    problems
}

pub(crate) fn refusal(entry: &Entry) -> Option<RecordedRefusal> {
    let Some(Body::Refused(refused)) = &entry.record.body else { return None };
    let words = entry.words();
    Some(RecordedRefusal {
        index: entry.index,
        time: entry.time(),
        actor: entry.actor(),
        method: refused.method.clone(),
        code: refused.code.clone(),
        detail: words.detail,
        asked: words.asked,
        trace: entry.trace(),
    })
}

fn revoked(entry: &Entry) -> Option<Revoked> {
    let Some(Body::Revoked(revoked)) = &entry.record.body else { return None };
    let words = entry.words();
    let principal = revoked.target.is_empty();
    Some(Revoked {
        index: entry.index,
        time: entry.time(),
        actor: entry.actor(),
        kind: revoked.kind.clone(),
        target: if principal { words.principal } else { revoked.target.clone() },
        reason: words.reason,
    })
}

/// The hops that were revoked themselves, with the index of the record.
fn revoked_hops(delegation: &DelegationId, revocations: &[Revoked]) -> HashMap<HopId, u64> {
    let hop = |revoked: &Revoked| match revoked.kind.as_str() {
        "delegation" => Some((*delegation, revoked.index)),
        "hop" => revoked.target.parse().ok().map(|hop| (hop, revoked.index)),
        _ => None,
    };
    revocations.iter().filter_map(hop).collect()
}

/// The ids of a token's hops, for a reader that looks for them in a report.
pub fn hops_of(token: &VerifiedToken) -> Vec<HopId> {
    token.hops().map(|(id, _)| id).collect()
}

/// The id in a record of a hop.
pub(crate) fn recorded_id(hop: &Hop) -> Result<HopId, Error> {
    Ok(hop_id("hop", &hop.hop)?)
}
