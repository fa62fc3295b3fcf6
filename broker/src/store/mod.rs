//! The store: one read before a decision, one atomic write after it. architecture.md, "The store".
//!
//! Owns: the state in memory, the one committer thread, the ledger's records. Does not own: what
//! is decided (`sublet_core::decide`), how bytes lie on disk (a [`Backend`]).
//!
//! Invariants: a commit is applied whole or not at all, and only if what the decision read still
//! holds; nothing is visible or answered before it is durable; the queue is bounded; after a
//! failed write nothing is granted any more.

mod blobs;
mod codec;
mod committer;
pub(crate) mod inception;
mod ledger;
mod memory;
pub(crate) mod reached;
mod segment;
mod sled;

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};

use sublet_core::bundle::SignedBundle;
use sublet_core::feed::FeedWriter;
use sublet_core::id::{DelegationId, TrustDomain, UnixMillis};
use sublet_core::no::{Fault, No, Overload};
use sublet_core::record::Record;
use sublet_core::state::{Guard, Row, RowKey, State, Write};
use sublet_ledger::Hash;
use sublet_ledger::tile::FullTile;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Durability;
use crate::record::{self, Draft};

pub(crate) use codec::{cbor, from_cbor};
pub(crate) use committer::PRUNE_MAX;
pub use ledger::{LedgerReader, Notary, Published, StoredLedger, head_keys};
pub use memory::Memory;
pub use sled::Sled;

/// Commits that wait for the committer. At 30,000 a second this is a wait of 0.15 s; beyond it
/// callers hear `queue_full`.
pub const QUEUE_MAX: usize = 4096;

/// A ledger entry as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// The leaf, verbatim.
    pub leaf: Vec<u8>,
    /// What lies beside it; `None` too when it was erased.
    pub payload: Option<Vec<u8>>,
}

/// What one round of the committer writes, atomically.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Rows, the last of equals winning.
    pub rows: Vec<Row>,
    /// Rows that are forgotten.
    pub forgotten: Vec<RowKey>,
    /// New entries.
    pub entries: Vec<Entry>,
    /// Which of them belong to a delegation, by index.
    pub of_delegations: Vec<(DelegationId, u64)>,
    /// Older entries of which the payload is erased, by index.
    pub erased: Vec<u64>,
    /// Older entries that are forgotten: ranges of indices, each a whole entry bundle.
    pub pruned: Vec<Range<u64>>,
    /// Which of them belonged to a delegation, by index.
    pub unlisted: Vec<(DelegationId, u64)>,
    /// Tiles that they fill.
    pub tiles: Vec<FullTile>,
    /// Size and root of the ledger after them; `None` when nothing was recorded.
    pub head: Option<(u64, Hash)>,
    /// The signed head of the ledger before them, with its size.
    pub checkpoint: Option<(u64, Vec<u8>)>,
}

/// Everything that a backend holds when it is opened.
#[derive(Debug)]
pub struct Loaded {
    /// All rows, in any order but revocations by sequence.
    pub rows: Vec<Row>,
    /// What there is of the ledger.
    pub ledger: StoredLedger,
}

/// A place where batches lie. Called by the committer thread alone.
pub trait Backend: Send + 'static {
    /// Reads everything, and refuses a store that is not as it was left.
    fn load(&mut self, domain: &TrustDomain) -> Result<Loaded, Fault>;

    /// Writes a batch, whole; durable when it returns.
    fn persist(&mut self, batch: &Batch) -> Result<(), Fault>;

    /// A reader of entries, for other threads.
    fn reader(&self) -> Arc<dyn LedgerReader>;

    /// What it is, for people.
    fn name(&self) -> &'static str;
}

/// What is committed: a verdict's consequences.
#[derive(Clone, Debug)]
pub struct Commit {
    /// What must still hold.
    pub guards: Vec<Guard>,
    /// What changes.
    pub writes: Vec<Write>,
    /// What is recorded.
    pub records: Vec<Record>,
    /// Random: keeps payloads beside the ledger from being guessed by their digests.
    pub salt: [u8; 16],
    /// The trace that the request belongs to (W3C Trace Context), if it said so.
    pub trace: Option<[u8; 16]>,
    /// The time of the decision.
    pub now: UnixMillis,
}

/// Why a commit did not happen.
#[derive(Clone, Debug, PartialEq)]
pub enum NotCommitted {
    /// What the decision read has changed: decide again.
    Changed,
    /// It cannot be done now.
    No(No),
}

/// A commit as the committer takes it: its records are written, but for their places.
struct Drafted {
    guards: Vec<Guard>,
    writes: Vec<Write>,
    drafts: Vec<Draft>,
    now: UnixMillis,
}

impl Drafted {
    fn of(commit: Commit) -> Result<Self, Fault> {
        let Commit { guards, writes, records, salt, trace, now } = commit;
        let draft = |(number, record)| Draft::of(record, now, trace, record::salt(&salt, number));
        let drafts: Vec<Draft> = (0u64..).zip(&records).map(draft).collect();
        if !drafts.iter().all(Draft::fits) {
            return Err(Fault::Internal("a record is larger than a ledger leaf may be".to_owned()));
        }
        Ok(Drafted { guards, writes, drafts, now })
    }
}

enum Job {
    Commit(Drafted, oneshot::Sender<Result<(), NotCommitted>>),
    Prune(UnixMillis, oneshot::Sender<Result<usize, NotCommitted>>),
}

/// What readers share with the committer, changed only after a batch is durable.
struct Shared {
    state: RwLock<State>,
    feed: RwLock<FeedWriter>,
    ledger: RwLock<Arc<Published>>,
    revocations: watch::Sender<u64>,
    /// Batches that were begun, and that were ended.
    begun: AtomicU64,
    ended: AtomicU64,
}

/// An open store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
    reader: Arc<dyn LedgerReader>,
    name: &'static str,
}

impl Store {
    /// Opens the embedded store of a data directory. One that is lost, or older than it was, is refused.
    pub fn open_sled(
        data: &Path,
        trust: SignedBundle,
        durability: Durability,
        notary: Notary,
        now: UnixMillis,
    ) -> Result<Self, Fault> {
        let marked = reached::Marked::read(data, now)?;
        let backend = Sled::open(&data.join("store"), durability)?;
        let store = Store::open_in(backend, trust, notary, marked.epoch)?;
        inception::check(data, &store)?;
        marked.check(&store)?;
        Ok(store)
    }

    /// Opens a store over a backend and starts its committer. It goes by this trust bundle, unless it
    /// holds a newer one.
    pub fn open(backend: impl Backend, trust: SignedBundle, notary: Notary) -> Result<Self, Fault> {
        Store::open_in(backend, trust, notary, FIRST_EPOCH)
    }

    /// The same, with the revocation feed in this epoch.
    fn open_in(
        mut backend: impl Backend,
        trust: SignedBundle,
        notary: Notary,
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
        Ok(Store { shared, queue, reader, name })
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
    pub async fn commit(&self, commit: Commit) -> Result<(), NotCommitted> {
        let (answer, answered) = oneshot::channel();
        let drafted = Drafted::of(commit).map_err(|fault| NotCommitted::No(fault.into()))?;
        self.send(Job::Commit(drafted, answer))?;
        answered.await.map_err(|_| NotCommitted::No(stopped().into()))?
    }

    /// Forgets rows that ended before `before`, and records that were given up; returns how many.
    /// Bounded work each time.
    pub async fn prune(&self, before: UnixMillis) -> Result<usize, NotCommitted> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Prune(before, answer))?;
        answered.await.map_err(|_| NotCommitted::No(stopped().into()))?
    }

    fn send(&self, job: Job) -> Result<(), NotCommitted> {
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                NotCommitted::No(Overload::Queue("commits").into())
            }
            mpsc::error::TrySendError::Closed(_) => NotCommitted::No(stopped().into()),
        })
    }

    /// The revocation feed, as far as it is durable.
    pub fn feed(&self) -> Result<RwLockReadGuard<'_, FeedWriter>, Fault> {
        self.shared.feed.read().map_err(|_| damaged())
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
        let says = format!(
            "trust.json is version {found}, the store knows version {held}: it is from an older \
             backup than its keys"
        );
        return Err(Fault::Internal(says));
    }
    Ok(stored.clone())
}

/// The epoch of a feed that was never restored from a backup.
const FIRST_EPOCH: u64 = 1;

fn damaged() -> Fault {
    Fault::Internal("a thread died while it held the state".to_owned())
}

fn stopped() -> Fault {
    Fault::Store("the committer has stopped after a failed write; the broker ends".to_owned())
}
