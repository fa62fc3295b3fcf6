//! An open store, for reads and commits.
//!
//! Owns: the handle, the bounded queue to the committer, opening over a backend. Does not own: the
//! choice of the backend, the check for a lost or older store (`embedded`).

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
use super::ledger::{self, CheckpointSigner, Published, checkpoint_keys};
use super::reader::LedgerReader;

/// The most commits that wait for the committer. At 30,000 a second the last one waits 0.15 s. Further
/// callers get `queue_full`.
pub const QUEUE_MAX: usize = 4096;

/// An open store. A clone is another handle on it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
    reader: Arc<dyn LedgerReader>,
    name: &'static str,
    epoch: u64,
}

impl Store {
    /// Opens a store over a backend and starts its committer. It uses this trust bundle, unless the
    /// stored one is newer. A fault if the stored ledger or revocations are damaged.
    pub fn open(
        backend: impl Backend,
        trust: SignedBundle,
        notary: CheckpointSigner,
    ) -> Result<Self, Fault> {
        Store::open_in(backend, trust, notary, FIRST_EPOCH)
    }

    /// Like [`Store::open`], with the revocation feed in this epoch.
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
        // Otherwise the first change of a key would drop the fields that this version does not understand.
        let understood = trust.bundle().check_understood();
        understood.map_err(|later| Fault::Internal(later.to_string()))?;
        let tree = ledger::resume(&ledger, reader.as_ref(), &checkpoint_keys(trust.bundle()))?;
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
        // If all its revocations were removed below the floor, the feed still continues from its last number.
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

    /// Returns when the store accepts nothing any more, because a write has failed.
    pub async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Returns whether the store accepts nothing any more.
    pub fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    /// Returns the number of the batch that is being written, `None` while the committer is idle. The
    /// heartbeat treats a number that does not change as a hanging store.
    pub fn at_work(&self) -> Option<u64> {
        let ended = self.shared.ended.load(Ordering::SeqCst);
        let begun = self.shared.begun.load(Ordering::SeqCst);
        (begun != ended).then_some(begun)
    }

    /// Returns the state that a decision reads. Hold the guard only while deciding, because the
    /// committer waits for it.
    pub fn view(&self) -> Result<RwLockReadGuard<'_, State>, Fault> {
        self.shared.state.read().map_err(|_| damaged())
    }

    /// Commits, and returns when the commit is durable and visible.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, NotCommitted> {
        let (answer, answered) = oneshot::channel();
        let drafted = Drafted::of(commit).map_err(|fault| NotCommitted::Refusal(fault.into()))?;
        self.send(Job::Commit(drafted, answer))?;
        answered.await.map_err(|_| NotCommitted::Refusal(stopped().into()))?
    }

    /// Removes rows that ended before `before`, and pruned records. Returns how many. Each call does a
    /// bounded amount of work.
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

    /// Returns the durable part of the revocation feed.
    pub fn feed(&self) -> Result<RwLockReadGuard<'_, FeedWriter>, Fault> {
        self.shared.feed.read().map_err(|_| damaged())
    }

    /// Returns the epoch of the revocation feed.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns a receiver of the sequence number of the last durable revocation.
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.shared.revocations.subscribe()
    }

    /// Returns the ledger up to its last signed checkpoint, which includes every answered commit.
    pub fn published(&self) -> Result<Arc<Published>, Fault> {
        self.shared.ledger.read().map(|ledger| ledger.clone()).map_err(|_| damaged())
    }

    /// Returns a reader of the ledger.
    pub fn reader(&self) -> Arc<dyn LedgerReader> {
        self.reader.clone()
    }

    /// Returns the name of the backend, for people.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Returns the stored trust bundle; for a new store, the given one. A fault if the given bundle is newer
/// than the stored one, because the store is then an older backup.
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

/// The epoch of a revocation feed that was never restored from a backup.
pub(super) const FIRST_EPOCH: u64 = 1;
