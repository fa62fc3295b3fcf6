//! The replay of one delegation from its records. SPEC section 9.
//!
//! Owns: reading the records, and checking that they are complete: numbers without a gap, each
//! record bound to the one before, each payload to its record, and every hop's signature and id
//! recomputed from the blocks. Does not own: whether the whole ledger is the one that others saw (a
//! later checkpoint shows that), who may read it (the broker decides).
//!
//! Invariants: what a record says about a hop counts as shown by its block only if it was
//! recomputed; what does not fit is reported as a problem, and the rest is still shown.

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

/// The greatest number of records in one replay: about 200 MiB at 1 KiB each. Read a longer one
/// from `Broker::replay_stream` record by record.
pub const ENTRIES_MAX: usize = 200_000;

/// A recorded refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRefusal {
    /// The index of its record.
    pub index: u64,
    /// The broker's time of its record.
    pub time: UnixMillis,
    /// The caller.
    pub actor: Actor,
    /// The full path of the method.
    pub method: String,
    /// The stable code.
    pub code: String,
    /// The reason, as it is recorded; empty when it was erased.
    pub detail: String,
    /// The request that was refused, as text; empty when it was erased.
    pub asked: String,
    /// The id of the trace of the request; see [`Entry::trace`].
    pub trace: Option<String>,
}

/// A recorded revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The index of its record.
    pub index: u64,
    /// The broker's time of its record.
    pub time: UnixMillis,
    /// The party that requested it.
    pub actor: Actor,
    /// The kind of the subject, such as `hop` or `principal`.
    pub kind: String,
    /// The subject, as text; empty when it is a principal whose name was erased.
    pub target: String,
    /// The reason; empty when there was none or it was erased.
    pub reason: String,
}

/// One replayed delegation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The id of the delegation.
    pub delegation: DelegationId,
    /// The principal; `None` when the root does not verify.
    pub on_behalf_of: Option<String>,
    /// Every hop, in the order of the records: parents before children.
    pub hops: Vec<HopReport>,
    /// The refusals.
    pub refusals: Vec<RecordedRefusal>,
    /// The revocations.
    pub revocations: Vec<Revoked>,
    /// Every record, in the order of the ledger.
    pub entries: Vec<Entry>,
    /// What is missing or wrong, as text; empty when the records are complete.
    pub problems: Vec<String>,
}

impl Report {
    /// Returns whether the records are complete and every hop's signature, id and link holds.
    pub fn holds(&self) -> bool {
        self.problems.is_empty() && self.hops.iter().all(|hop| hop.verified.is_ok())
    }
}

/// Reads all records of a delegation from the broker and replays them.
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

/// Replays a delegation from all of its records.
pub fn report(delegation: &DelegationId, entries: Vec<Entry>, trust: &Trust) -> Report {
    put_together(delegation, entries, trust, None)
}

/// Replays a delegation for a caller that is shown only the records at or below its own hop. The
/// hops above are in its own token.
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

/// Lists what is wrong with the sequence: records of another delegation or out of order, and if
/// `all` is set, missing records and records that are not bound to the one before.
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

/// Returns the hops that were revoked themselves, each with the index of the revocation's record.
fn revoked_hops(delegation: &DelegationId, revocations: &[Revoked]) -> HashMap<HopId, u64> {
    let hop = |revoked: &Revoked| match revoked.kind.as_str() {
        "delegation" => Some((*delegation, revoked.index)),
        "hop" => revoked.target.parse().ok().map(|hop| (hop, revoked.index)),
        _ => None,
    };
    revocations.iter().filter_map(hop).collect()
}

/// Returns the ids of a token's hops, to find them in a report.
pub fn hops_of(token: &VerifiedToken) -> Vec<HopId> {
    token.hops().map(|(id, _)| id).collect()
}
