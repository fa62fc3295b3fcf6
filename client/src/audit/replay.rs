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

use sublet_core::base::id::{DelegationId, HopId, UnixMillis};
use sublet_core::token::verify::VerifiedToken;
use sublet_proto::record::record::Body;

use crate::audit::chain::{Chains, HopReport};
use crate::audit::entry::{Actor, Entry};
use crate::audit::rebuild::Unproven;
use crate::broker::connect::{Broker, DEADLINE_DEFAULT};
use crate::broker::credential::Credential;
use crate::error::Error;
use crate::trust::Trust;

/// Entries of one replay: at about 1 KiB each 200 MiB. What is longer is read from
/// `Broker::replay_stream` entry by entry.
pub const ENTRIES_MAX: usize = 200_000;

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
            None => Err(Unproven::BlockErased),
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
