//! Commits, their results, and what the committer shares with readers.
//!
//! Owns: the types between a caller that commits and the thread that writes. Does not own: the writing
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

/// A commit: the effects of a verdict.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The preconditions, the changes and the records.
    pub effects: Effects,
    /// The recorded hop that the answer needs a receipt for; `None` if it needs none.
    pub receipt: Option<HopId>,
    /// Random bytes from which each payload's salt is made. They keep a payload from being guessed from
    /// its digest.
    pub salt: [u8; 16],
    /// The trace-id of the request (W3C Trace Context); `None` if it has none.
    pub trace: Option<[u8; 16]>,
    /// The time of the decision.
    pub now: UnixMillis,
}

/// A durable commit, with what its answer is made from.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The parts of the new state that the answer needs.
    pub basis: Basis,
    /// The ledger up to a signed checkpoint that includes the commit's records.
    pub ledger: Arc<Published>,
}

/// Why a commit did not happen.
#[derive(Clone, Debug, PartialEq)]
pub enum NotCommitted {
    /// What the decision read has changed. The request must be decided again.
    Changed,
    /// The store cannot take the commit now.
    Refusal(Refusal),
}

impl From<Outdated> for NotCommitted {
    fn from(Outdated: Outdated) -> Self {
        NotCommitted::Changed
    }
}

/// A commit whose records are encoded, except for their place in the ledger.
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

/// What readers share with the committer. It changes only after a batch is durable.
pub(super) struct Shared {
    pub(super) state: RwLock<State>,
    pub(super) feed: RwLock<FeedWriter>,
    pub(super) ledger: RwLock<Arc<Published>>,
    pub(super) revocations: watch::Sender<u64>,
    /// The numbers of batches that were started and finished.
    pub(super) begun: AtomicU64,
    pub(super) ended: AtomicU64,
}

pub(super) fn damaged() -> Fault {
    Fault::Internal("a thread died while it held the state".to_owned())
}

pub(super) fn stopped() -> Fault {
    Fault::Store("the committer has stopped after a failed write; the broker ends".to_owned())
}
