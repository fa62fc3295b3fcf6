//! The only thread that writes. It takes one commit, drains the queue, writes one batch, syncs once, and
//! then answers everyone who waits. Batches form while it writes (group commit); there is no timer.
//!
//! Owns: batches and their order. Does not own: what a commit does to the state (`State::apply`), how
//! bytes are stored on disk (a [`Backend`]).
//!
//! Invariants: the committer applies commits to its own copy of the state. This copy is ahead of the
//! shared state by the batch in work. The shared state follows after the sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use sublet_core::refusal::{Fault, Refusal};
use sublet_core::revocation::feed::{Delta, FeedFloor};
use sublet_core::state::{Applied, Basis, Change, LedgerEnd, Row, RowKey, State};
use sublet_ledger::tile::{self, Tree};
use tokio::sync::{mpsc, oneshot};

use super::backend::{Backend, Batch};
use super::commit::{Committed, Drafted, Job, NotCommitted, Shared, damaged, stopped};
use super::draft::Draft;
use super::entry::Entry;
use super::ledger::{CheckpointSigner, Published};
use super::reader::LedgerReader;
use sublet_proto::leaf;

/// The most commits in one batch: half a MiB at 2 KiB each.
const BATCH_MAX: usize = 256;

/// The most rows, records or deltas that one pruning removes. It keeps the batch short, because commits
/// wait for it.
pub(crate) const PRUNE_MAX: usize = 10_000;

/// The first pause before a checkpoint is signed again.
const SIGN_AGAIN_MIN: Duration = Duration::from_millis(100);

/// The longest pause before a checkpoint is signed again.
const SIGN_AGAIN_MAX: Duration = Duration::from_secs(2);

type Answer = oneshot::Sender<Result<Committed, NotCommitted>>;

/// Starts the committer. It ends when every [`super::Store`] is dropped, or after a failed write.
pub(super) fn start(
    backend: impl Backend,
    mut state: State,
    notary: CheckpointSigner,
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
) -> Result<(), Fault> {
    let published = shared.ledger.read().map_err(|_| damaged())?.clone();
    let tree = published.tree.clone();
    let last = last_time(backend.reader().as_ref(), tree.size())?;
    state.resume_ledger(LedgerEnd { size: tree.size(), last });
    let committer =
        Committer { backend, ahead: state, tree, published, swept: 0, notary, shared, next: None };
    std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(move || committer.run(jobs))
        .map(drop)
        .map_err(|error| Fault::Store(format!("the committer did not start: {error}")))
}

/// Returns the time of the ledger's last record; the earliest time if the ledger is empty or the leaf's
/// form is not understood. The last record is never pruned, because pruning itself adds a record.
fn last_time(reader: &dyn LedgerReader, size: u64) -> Result<UnixMillis, Fault> {
    let Some(index) = size.checked_sub(1) else { return Ok(UnixMillis(i64::MIN)) };
    let last = reader.range(index, 1)?.pop().filter(|entry| entry.index == index);
    let time = last.and_then(|entry| leaf::time(&entry.leaf));
    Ok(time.unwrap_or(UnixMillis(i64::MIN)))
}

struct Committer<B> {
    backend: B,
    ahead: State,
    tree: Tree,
    /// The last signed checkpoint. The next batch with records stores it.
    published: Arc<Published>,
    /// Entry bundles below this index were already examined for pruning.
    swept: u64,
    notary: CheckpointSigner,
    shared: Arc<Shared>,
    /// A job that must begin the next batch.
    next: Option<Job>,
}

/// A batch that is being put together.
#[derive(Default)]
struct Round {
    batch: Batch,
    deltas: Vec<Delta>,
    /// The new floor of the feed after this batch, if it rises.
    floor: Option<FeedFloor>,
    /// The callers that wait, each with the state that its answer is made from.
    granted: Vec<(Answer, Basis)>,
    refused: Vec<(Answer, NotCommitted)>,
    pruned: Vec<(oneshot::Sender<Result<usize, NotCommitted>>, usize)>,
}

impl<B: Backend> Committer<B> {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = self.next.take().or_else(|| jobs.blocking_recv()) {
            self.shared.begun.fetch_add(1, Ordering::SeqCst);
            let mut round = Round::default();
            self.take(first, &mut round);
            for _ in 1..BATCH_MAX {
                match jobs.try_recv() {
                    // The feed is trimmed as it is stored, and this batch has deltas that are not stored yet.
                    Ok(job @ Job::Prune(..)) if !round.deltas.is_empty() => {
                        self.next = Some(job);
                        break;
                    }
                    Ok(job) => self.take(job, &mut round),
                    Err(_) => break,
                }
            }
            if let Err(fault) = self.finish(round) {
                tracing::error!(%fault, "the store did not take a batch; nothing is granted any more");
                // The committer's copy of the state is ahead of the disk, so it must not go on. Callers
                // get a fault; a restart recovers.
                return;
            }
            self.shared.ended.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn take(&mut self, job: Job, round: &mut Round) {
        match job {
            Job::Commit(Drafted { effects, receipt, now }, answer) => {
                match self.ahead.apply(effects, now) {
                    Ok(applied) => {
                        self.stage(applied, round);
                        round.granted.push((answer, self.ahead.basis(receipt.as_ref())));
                    }
                    Err(outdated) => round.refused.push((answer, outdated.into())),
                }
            }
            Job::Prune(before, answer) => {
                let mut changes = self.ahead.expire(before, PRUNE_MAX);
                let rows = changes.len();
                let (trimmed, deltas) = self.trim_feed(before, round);
                changes.extend(trimmed);
                match self.sweep(&mut round.batch) {
                    Ok(records) => {
                        let forgotten = rows.saturating_add(records).saturating_add(deltas);
                        round.pruned.push((answer, forgotten));
                    }
                    Err(fault) => drop(answer.send(Err(NotCommitted::Refusal(fault.into())))),
                }
                round.batch.changes.extend(changes);
            }
        }
    }

    /// Raises the floor of the revocation feed over deltas that have no effect any more. Returns the
    /// changes and the number of deltas below the new floor. Does nothing if the batch has deltas,
    /// because they are not in the feed yet.
    fn trim_feed(&mut self, before: UnixMillis, round: &mut Round) -> (Vec<Change>, usize) {
        if round.floor.is_some() || !round.deltas.is_empty() {
            return (Vec::new(), 0);
        }
        let trim = {
            let Ok(feed) = self.shared.feed.read() else { return (Vec::new(), 0) };
            feed.trim(|delta| self.ahead.is_in_force(delta, before), PRUNE_MAX)
        };
        let Some(trim) = trim else { return (Vec::new(), 0) };
        let count = trim.passed.len();
        let changes = self.ahead.raise_feed_floor(trim.floor, trim.passed, trim.again);
        round.deltas.extend(deltas(&changes).cloned());
        round.floor = Some(trim.floor);
        (changes, count)
    }

    /// Deletes records that were pruned, whole entry bundles at a time, and returns how many. A bundle
    /// is deleted if it is durable, full, below the floor and under no legal hold.
    fn sweep(&mut self, batch: &mut Batch) -> Result<usize, Fault> {
        let (reader, width) = (self.backend.reader(), u64::from(tile::WIDTH));
        let floor = self.ahead.retention().floor().min(self.published.tree.size());
        let mut forgotten = 0;
        while forgotten < PRUNE_MAX && self.swept < floor {
            let Some(next) = reader.range(self.swept, 1)?.pop() else { break };
            let start = next.index - next.index % width;
            let bundle = start..start.saturating_add(width);
            if bundle.end > floor {
                break;
            }
            self.swept = bundle.end;
            if batch.pruned.contains(&bundle) || !self.ahead.retention().may_go(&bundle) {
                continue;
            }
            for entry in reader.range(start, tile::WIDTH.into())? {
                if bundle.contains(&entry.index) {
                    let delegation = leaf::delegation(&entry.leaf);
                    batch.unlisted.extend(delegation.map(|id| (id, entry.index)));
                    forgotten += 1;
                }
            }
            batch.pruned.push(bundle);
        }
        Ok(forgotten)
    }

    /// Adds the result of one commit to the batch.
    fn stage(&mut self, applied: Applied<Draft>, round: &mut Round) {
        let Applied { changes, records, first, erased } = applied;
        round.deltas.extend(deltas(&changes).cloned());
        if changes.iter().any(|change| matches!(change, Change::Forget(RowKey::Hold(_)))) {
            // A hold was removed, so bundles that were skipped may now be deleted.
            self.swept = 0;
        }
        round.batch.changes.extend(changes);
        round.batch.erased.extend(erased);
        for (index, record) in (first..).zip(records) {
            let delegation = record.delegation();
            round.batch.of_delegations.extend(delegation.map(|id| (id, index)));
            let (leaf, hash, payload) = record.into_entry();
            self.tree.append(hash, &mut round.batch.tiles);
            round.batch.entries.push(Entry { index, leaf, payload });
        }
    }

    /// Writes the batch, syncs, publishes the new state and answers the callers.
    fn finish(&mut self, mut round: Round) -> Result<(), Fault> {
        let recorded = !round.batch.entries.is_empty();
        if recorded {
            round.batch.head = Some((self.tree.size(), self.tree.root()));
            round.batch.checkpoint =
                Some((self.published.tree.size(), self.published.note.clone()));
        }
        let empty = round.batch.changes.is_empty()
            && round.batch.entries.is_empty()
            && round.batch.erased.is_empty()
            && round.batch.pruned.is_empty();
        let written = if empty { Ok(()) } else { self.backend.persist(&round.batch) };
        let published = written
            .and_then(|()| if recorded { self.sign() } else { Ok(()) })
            .and_then(|()| self.publish(round.batch, &round.deltas, round.floor));
        if let Err(fault) = published {
            for (answer, _) in round.granted {
                let _ = answer.send(Err(NotCommitted::Refusal(Refusal::Fault(fault.clone()))));
            }
            return Err(fault);
        }
        // A caller that has hung up gets no answer; its commit is durable all the same.
        for (answer, basis) in round.granted {
            let ledger = self.published.clone();
            let _ = answer.send(Ok(Committed { basis, ledger }));
        }
        for (answer, why) in round.refused {
            let _ = answer.send(Err(why));
        }
        for (answer, count) in round.pruned {
            let _ = answer.send(Ok(count));
        }
        Ok(())
    }

    /// Signs the checkpoint of what is durable. If the signer is not available, such as an unplugged
    /// device, it tries again until the signer is back. Until then no caller of the batch is answered,
    /// and later callers get a deadline or `queue_full`. The broker needs no restart.
    fn sign(&mut self) -> Result<(), Fault> {
        let mut pause = SIGN_AGAIN_MIN;
        loop {
            match self.notary.sign(self.tree.clone(), self.ahead.trust().bundle()) {
                Ok(published) => {
                    self.published = published;
                    return Ok(());
                }
                Err(Fault::Signer(fault)) => {
                    tracing::error!(%fault, "the ledger's head is not signed; nothing is granted meanwhile");
                    std::thread::sleep(pause);
                    pause = pause.saturating_mul(2).min(SIGN_AGAIN_MAX);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    fn publish(
        &self,
        batch: Batch,
        deltas: &[Delta],
        floor: Option<FeedFloor>,
    ) -> Result<(), Fault> {
        {
            let mut state = self.shared.state.write().map_err(|_| stopped())?;
            state.follow(batch.changes, self.ahead.ledger());
        }
        if batch.head.is_some() {
            *self.shared.ledger.write().map_err(|_| stopped())? = self.published.clone();
        }
        if !deltas.is_empty() || floor.is_some() {
            let mut feed = self.shared.feed.write().map_err(|_| stopped())?;
            for delta in deltas {
                feed.append(delta.revocation.clone(), delta.at, delta.expires);
            }
            if let Some(floor) = floor {
                feed.raise_floor(&floor);
            }
            self.shared.revocations.send_replace(feed.sequence());
        }
        Ok(())
    }
}

/// Returns the numbered revocations among the changes.
fn deltas(changes: &[Change]) -> impl Iterator<Item = &Delta> {
    changes.iter().filter_map(|change| match change {
        Change::Put(row) => match &**row {
            Row::Revocation(delta) => Some(delta),
            _ => None,
        },
        Change::Forget(_) => None,
    })
}
