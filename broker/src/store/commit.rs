//! What is committed, what comes of it, and what the committer shares with readers.
//!
//! Owns: the types between whoever commits and the one thread that writes. Does not own: the writing
//! (`committer`).

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::refusal::{Fault, Refusal};
use sublet_core::revocation::feed::FeedWriter;
use sublet_core::state::{Basis, Effects, Outdated, State};
use tokio::sync::{oneshot, watch};

use super::draft::{self, Draft};
use super::ledger::Published;

/// What is committed: a verdict's effects.
#[derive(Clone, Debug)]
pub struct Commit {
    /// What must still hold, what changes, what is recorded.
    pub effects: Effects,
    /// The recorded hop that the answer has a receipt of.
    pub receipt: Option<HopId>,
    /// Random: keeps payloads beside the ledger from being guessed by their digests.
    pub salt: [u8; 16],
    /// The trace that the request belongs to (W3C Trace Context), if it said so.
    pub trace: Option<[u8; 16]>,
    /// The time of the decision.
    pub now: UnixMillis,
}

/// A commit that is durable, and what its answer is made from.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The state that the commit made.
    pub basis: Basis,
    /// The ledger, as far as its head is signed: the commit's records are in it.
    pub ledger: Arc<Published>,
}

/// Why a commit did not happen.
#[derive(Clone, Debug, PartialEq)]
pub enum NotCommitted {
    /// What the decision read has changed: decide again.
    Changed,
    /// It cannot be done now.
    Refusal(Refusal),
}

impl From<Outdated> for NotCommitted {
    fn from(Outdated: Outdated) -> Self {
        NotCommitted::Changed
    }
}

/// A commit as the committer takes it: its records are written, but for their places.
pub(super) struct Drafted {
    pub(super) effects: Effects<Draft>,
    pub(super) receipt: Option<HopId>,
    pub(super) now: UnixMillis,
}

impl Drafted {
    pub(super) fn of(commit: Commit) -> Result<Self, Fault> {
        let Commit { effects, receipt, salt, trace, now } = commit;
        let Effects { preconditions, mutations, records } = effects;
        let draft = |(number, record)| Draft::of(record, now, trace, draft::salt(&salt, number));
        let records: Vec<Draft> = (0u64..).zip(&records).map(draft).collect();
        if !records.iter().all(Draft::fits) {
            return Err(Fault::Internal("a record is larger than a ledger leaf may be".to_owned()));
        }
        Ok(Drafted { effects: Effects { preconditions, mutations, records }, receipt, now })
    }
}

pub(super) enum Job {
    Commit(Drafted, oneshot::Sender<Result<Committed, NotCommitted>>),
    Prune(UnixMillis, oneshot::Sender<Result<usize, NotCommitted>>),
}

/// What readers share with the committer, changed only after a batch is durable.
pub(super) struct Shared {
    pub(super) state: RwLock<State>,
    pub(super) feed: RwLock<FeedWriter>,
    pub(super) ledger: RwLock<Arc<Published>>,
    pub(super) revocations: watch::Sender<u64>,
    /// Batches that were begun, and that were ended.
    pub(super) begun: AtomicU64,
    pub(super) ended: AtomicU64,
}

pub(super) fn damaged() -> Fault {
    Fault::Internal("a thread died while it held the state".to_owned())
}

pub(super) fn stopped() -> Fault {
    Fault::Store("the committer has stopped after a failed write; the broker ends".to_owned())
}
