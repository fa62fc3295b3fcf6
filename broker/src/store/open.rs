//! An open store: what reads and commits go through.
//!
//! Owns: the handle, the bounded queue to the committer, opening over a backend. Does not own: which
//! backend, whether it is the one of before (`embedded`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};

use sublet_core::base::id::UnixMillis;
use sublet_core::refusal::{Fault, Overload};
use sublet_core::revocation::feed::FeedWriter;
use sublet_core::state::{Row, State};
use sublet_core::trust::bundle::SignedBundle;
use tokio::sync::{mpsc, oneshot, watch};

use super::backend::{Backend, Loaded};
use super::commit::{Commit, Committed, Drafted, Job, NotCommitted, Shared, damaged, stopped};
use super::committer;
use super::ledger::{self, CheckpointSigner, Published, head_keys};
use super::reader::LedgerReader;

/// Commits that wait for the committer. At 30,000 a second this is a wait of 0.15 s; beyond it
/// callers hear `queue_full`.
pub const QUEUE_MAX: usize = 4096;

/// An open store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
    reader: Arc<dyn LedgerReader>,
    name: &'static str,
    epoch: u64,
}

impl Store {
    /// Opens a store over a backend and starts its committer. It goes by this trust bundle, unless it
    /// holds a newer one.
    pub fn open(
        backend: impl Backend,
        trust: SignedBundle,
        notary: CheckpointSigner,
    ) -> Result<Self, Fault> {
        Store::open_in(backend, trust, notary, FIRST_EPOCH)
    }

    /// The same, with the revocation feed in this epoch.
    pub(super) fn open_in(
        mut backend: impl Backend,
        trust: SignedBundle,
        notary: CheckpointSigner,
        epoch: u64,
    ) -> Result<Self, Fault> {
        let domain = trust.bundle().trust_domain().clone();
        let Loaded { rows, ledger } = backend.load(&domain)?;
        let (reader, name) = (backend.reader(), backend.name());
        let trust = newest(trust, &rows)?;
        // Its first step of a key would lose what is not understood, and so would every tool.
        let understood = trust.bundle().check_understood();
        understood.map_err(|later| Fault::Internal(later.to_string()))?;
        let tree = ledger::resume(&ledger, reader.as_ref(), &head_keys(trust.bundle()))?;
        let published = notary.sign(tree, trust.bundle())?;
        let deltas = rows.iter().filter_map(|row| match row {
            Row::Revocation(delta) => Some(delta.clone()),
            _ => None,
        });
        let floor = rows.iter().rev().find_map(|row| match row {
            Row::FeedFloor(floor) => Some(*floor),
            _ => None,
        });
        let feed = match floor {
            Some(floor) => FeedWriter::resume_from(domain, epoch, floor, deltas),
            None => FeedWriter::resume(domain, epoch, deltas),
        };
        let feed = feed.map_err(|bad| Fault::Internal(format!("the stored revocations: {bad}")))?;
        let mut state = State::new(trust);
        // Where every revocation of it has gone, the feed still goes on from its number.
        state.resume_revocations(feed.sequence());
        rows.into_iter().for_each(|row| state.put(row));
        let (revocations, _) = watch::channel(feed.sequence());
        let shared = Arc::new(Shared {
            state: RwLock::new(state.clone()),
            feed: RwLock::new(feed),
            ledger: RwLock::new(published),
            revocations,
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        });
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        committer::start(backend, state, notary, shared.clone(), jobs)?;
        Ok(Store { shared, queue, reader, name, epoch })
    }

    /// Ready when the store takes nothing any more, as a write has failed.
    pub async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Whether it takes nothing any more.
    pub fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    /// The batch that is being written; `None` when nothing is. One that stays the same for long is
    /// one that hangs.
    pub fn at_work(&self) -> Option<u64> {
        let ended = self.shared.ended.load(Ordering::SeqCst);
        let begun = self.shared.begun.load(Ordering::SeqCst);
        (begun != ended).then_some(begun)
    }

    /// What a decision may read. Held only while deciding: the committer waits for it.
    pub fn view(&self) -> Result<RwLockReadGuard<'_, State>, Fault> {
        self.shared.state.read().map_err(|_| damaged())
    }

    /// Commits, and returns once it is durable and visible.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, NotCommitted> {
        let (answer, answered) = oneshot::channel();
        let drafted = Drafted::of(commit).map_err(|fault| NotCommitted::Refusal(fault.into()))?;
        self.send(Job::Commit(drafted, answer))?;
        answered.await.map_err(|_| NotCommitted::Refusal(stopped().into()))?
    }

    /// Forgets rows that ended before `before`, and records that were pruned; returns how many.
    /// Bounded work each time.
    pub async fn prune(&self, before: UnixMillis) -> Result<usize, NotCommitted> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Prune(before, answer))?;
        answered.await.map_err(|_| NotCommitted::Refusal(stopped().into()))?
    }

    fn send(&self, job: Job) -> Result<(), NotCommitted> {
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                NotCommitted::Refusal(Overload::Queue("commits").into())
            }
            mpsc::error::TrySendError::Closed(_) => NotCommitted::Refusal(stopped().into()),
        })
    }

    /// The revocation feed, as far as it is durable.
    pub fn feed(&self) -> Result<RwLockReadGuard<'_, FeedWriter>, Fault> {
        self.shared.feed.read().map_err(|_| damaged())
    }

    /// The epoch of the revocation feed.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Tells of every revocation, by its number, once it is durable.
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.shared.revocations.subscribe()
    }

    /// The ledger, as far as its head is signed: all that was answered for.
    pub fn published(&self) -> Result<Arc<Published>, Fault> {
        self.shared.ledger.read().map(|ledger| ledger.clone()).map_err(|_| damaged())
    }

    /// Reads the ledger.
    pub fn reader(&self) -> Arc<dyn LedgerReader> {
        self.reader.clone()
    }

    /// Which backend it is, for people.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The bundle that a store goes by: its own, or the first one. One that was published and that the
/// store does not know is from after the store was backed up.
fn newest(given: SignedBundle, rows: &[Row]) -> Result<SignedBundle, Fault> {
    let stored = rows.iter().rev().find_map(|row| match row {
        Row::Trust(trust) => Some(trust),
        _ => None,
    });
    let Some(stored) = stored else { return Ok(given) };
    let (held, found) = (stored.bundle().version(), given.bundle().version());
    if found > held {
        let detail = format!(
            "trust.json is version {found}, the store knows version {held}: it is from an older \
             backup than its keys"
        );
        return Err(Fault::Internal(detail));
    }
    Ok(stored.clone())
}

/// The epoch of a feed that was never restored from a backup.
pub(super) const FIRST_EPOCH: u64 = 1;
