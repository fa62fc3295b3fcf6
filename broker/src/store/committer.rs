//! The one thread that writes. Takes one commit, drains what is queued, writes one batch, syncs
//! once, then wakes all who wait: group commit by natural batching, no timer.
//!
//! Invariants: the committer decides what holds on its own copy of the state, which runs ahead of
//! the shared one by the batch that is being written; the shared one changes after the sync.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sublet_core::feed::{Delta, FeedFloor};
use sublet_core::id::{DelegationId, UnixMillis};
use sublet_core::no::{Fault, No};
use sublet_core::state::{Delegation, Row, RowKey, State, Write};
use sublet_ledger::tile::{self, Tree};
use tokio::sync::{mpsc, oneshot};

use super::{
    Backend, Batch, Drafted, Entry, Job, LedgerReader, NotCommitted, Notary, Published, Shared,
    damaged, stopped,
};
use crate::record::{self, Draft, Place};

/// Commits in one batch: at 2 KiB each half a MiB.
const BATCH_MAX: usize = 256;

/// Rows that one pruning forgets: keeps a batch short beside the commits that wait.
pub(crate) const PRUNE_MAX: usize = 10_000;

/// Between attempts to sign a head.
const SIGN_AGAIN_MIN: Duration = Duration::from_millis(100);

/// The same, after some of them.
const SIGN_AGAIN_MAX: Duration = Duration::from_secs(2);

type Answer = oneshot::Sender<Result<(), NotCommitted>>;

/// Starts the committer; it ends when every [`super::Store`] is gone, or after a failed write.
pub(super) fn start(
    backend: impl Backend,
    state: State,
    notary: Notary,
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
) -> Result<(), Fault> {
    let published = shared.ledger.read().map_err(|_| damaged())?.clone();
    let tree = published.tree.clone();
    let last = last_time(backend.reader().as_ref(), tree.size())?;
    let committer = Committer {
        backend,
        ahead: state,
        tree,
        published,
        swept: 0,
        last,
        notary,
        shared,
        next: None,
    };
    std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(move || committer.run(jobs))
        .map(drop)
        .map_err(|error| Fault::Store(format!("the committer did not start: {error}")))
}

/// When the last record of a ledger was recorded. It is there: what gives records up is itself a record
/// behind them. A leaf of an earlier form, of which the time is not understood, bounds nothing.
fn last_time(reader: &dyn LedgerReader, size: u64) -> Result<UnixMillis, Fault> {
    let Some(index) = size.checked_sub(1) else { return Ok(UnixMillis(i64::MIN)) };
    let last = reader.range(index, 1)?.pop().filter(|entry| entry.index == index);
    let time = last.and_then(|entry| record::time(&entry.leaf));
    Ok(time.unwrap_or(UnixMillis(i64::MIN)))
}

struct Committer<B> {
    backend: B,
    ahead: State,
    tree: Tree,
    /// The last signed head. The next batch that records keeps it.
    published: Arc<Published>,
    /// Records below this index were looked at, whether they may go.
    swept: u64,
    /// The time of the last record. No record is of an earlier time than the one before it.
    last: UnixMillis,
    notary: Notary,
    shared: Arc<Shared>,
    /// A job that begins the next batch.
    next: Option<Job>,
}

/// A batch that is being put together.
#[derive(Default)]
struct Round {
    batch: Batch,
    delegations: BTreeMap<DelegationId, Delegation>,
    deltas: Vec<Delta>,
    /// Where the feed begins after this batch, if its floor rises.
    floor: Option<FeedFloor>,
    granted: Vec<Answer>,
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
                    // The feed is trimmed as it is, not as this batch makes it.
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
                // What runs ahead is not on disk. Whoever waits hears a fault; a restart recovers.
                return;
            }
            self.shared.ended.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn take(&mut self, job: Job, round: &mut Round) {
        match job {
            Job::Commit(commit, answer) if self.ahead.holds(&commit.guards) => {
                match self.stage(commit, round) {
                    Ok(()) => round.granted.push(answer),
                    Err(fault) => round.refused.push((answer, NotCommitted::No(fault.into()))),
                }
            }
            Job::Commit(_, answer) => round.refused.push((answer, NotCommitted::Changed)),
            Job::Prune(before, answer) => {
                let keys = self.ahead.expired(before, PRUNE_MAX);
                self.ahead.forget(&keys);
                let deltas = self.trim_feed(before, round);
                match self.sweep(&mut round.batch) {
                    Ok(records) => {
                        let forgotten = keys.len().saturating_add(records).saturating_add(deltas);
                        round.pruned.push((answer, forgotten));
                    }
                    Err(fault) => drop(answer.send(Err(NotCommitted::No(fault.into())))),
                }
                round.batch.forgotten.extend(keys);
            }
        }
    }

    /// Raises the floor of the revocation feed over what says nothing any more, and returns how many deltas
    /// it passes: once in a round, as what is staged is not in the feed yet.
    fn trim_feed(&mut self, before: UnixMillis, round: &mut Round) -> usize {
        if round.floor.is_some() || !round.deltas.is_empty() {
            return 0;
        }
        let trim = {
            let Ok(feed) = self.shared.feed.read() else { return 0 };
            feed.trim(|delta| self.ahead.is_in_force(delta, before), PRUNE_MAX)
        };
        let Some(trim) = trim else { return 0 };
        for delta in trim.again {
            let sequence = self.ahead.revocation_sequence().saturating_add(1);
            let again = Delta { sequence, ..delta };
            self.ahead.put(Row::Revocation(again.clone()));
            round.batch.rows.push(Row::Revocation(again.clone()));
            round.deltas.push(again);
        }
        let passed = trim.passed.into_iter();
        let passed: Vec<RowKey> =
            passed.map(|delta| RowKey::Revocation(delta.sequence, delta.revocation)).collect();
        self.ahead.forget(&passed);
        let count = passed.len();
        round.batch.forgotten.extend(passed);
        round.batch.rows.push(Row::FeedFloor(trim.floor));
        round.floor = Some(trim.floor);
        count
    }

    /// Forgets records that were given up, whole entry bundles at a time, and returns how many: what
    /// is durable, full, below the floor and under no hold.
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
                    let delegation = record::delegation(&entry.leaf);
                    batch.unlisted.extend(delegation.map(|id| (id, entry.index)));
                    forgotten += 1;
                }
            }
            batch.pruned.push(bundle);
        }
        Ok(forgotten)
    }

    /// Puts one commit into the batch, and into the state that runs ahead: all of it or nothing.
    fn stage(&mut self, commit: Drafted, round: &mut Round) -> Result<(), Fault> {
        let now = commit.now;
        let first_index = self.tree.size();
        for write in commit.writes {
            self.write(write, now, first_index, round);
        }
        let known = self.ahead.revocation_sequence();
        commit.drafts.into_iter().try_for_each(|draft| self.record(draft, known, round))
    }

    fn write(&mut self, write: Write, now: UnixMillis, first_index: u64, round: &mut Round) {
        let row = match write {
            Write::Agent(row) => Row::Agent(row),
            Write::KeyOwner(row) => Row::KeyOwner(row),
            Write::Profile(row) => Row::Profile(row),
            Write::JoinToken(row) => Row::JoinToken(row),
            Write::Answer(row) => {
                // One of this name may have been forgotten in this very batch.
                let name = RowKey::Answer(row.name.clone());
                round.batch.forgotten.retain(|forgotten| *forgotten != name);
                Row::Answer(row)
            }
            Write::Verifier(row) => Row::Verifier(row),
            Write::Delegation(row) => {
                round.delegations.insert(row.id, row);
                return;
            }
            Write::Spent(row) => Row::Spent(row),
            // What is stored never falls either: a restart reads it.
            Write::Floor(floor) => Row::Floor(floor.max(self.ahead.retention().floor())),
            Write::Hold(hold) => {
                // One of this name may have been released in this very batch.
                let name = RowKey::Hold(hold.name.clone());
                round.batch.forgotten.retain(|forgotten| *forgotten != name);
                Row::Hold(hold)
            }
            Write::Release(name) => {
                let name = RowKey::Hold(name);
                self.ahead.forget(std::slice::from_ref(&name));
                round.batch.forgotten.push(name);
                // What was passed over may be given up by now.
                self.swept = 0;
                return;
            }
            Write::Erase(index) => {
                round.batch.erased.push(index);
                return;
            }
            Write::Trust(trust) => Row::Trust(trust),
            Write::Session(session) => Row::Session(session),
            Write::Hop { mut hop, record } => {
                hop.index = first_index.saturating_add(record as u64);
                Row::Hop(hop)
            }
            Write::Revocation { revocation, expires_at } => {
                let sequence = self.ahead.revocation_sequence().saturating_add(1);
                let delta = Delta { sequence, at: now, expires: expires_at, revocation };
                round.deltas.push(delta.clone());
                Row::Revocation(delta)
            }
        };
        self.ahead.put(row.clone());
        round.batch.rows.push(row);
    }

    fn record(
        &mut self,
        draft: Draft,
        revocation_sequence: u64,
        round: &mut Round,
    ) -> Result<(), Fault> {
        let (delegation, is_hop) = (draft.delegation, draft.is_hop);
        let row = delegation.and_then(|id| {
            round.delegations.remove(&id).or_else(|| self.ahead.delegation(&id).cloned())
        });
        let (position, previous) =
            row.as_ref().map_or((0, [0; 32]), |row| (row.records, row.last_leaf));
        let not_before = self.last;
        self.last = draft.time_behind(not_before);
        let place = Place { position, previous, revocation_sequence, not_before };
        let (leaf, payload) = draft.at(&place);
        let leaf_hash = sublet_ledger::leaf_hash(&leaf);
        let leaf_hash = leaf_hash.map_err(|bad| Fault::Internal(bad.to_string()))?;
        let index = self.tree.size();
        self.tree.append(leaf_hash, &mut round.batch.tiles);
        if let Some(mut row) = row {
            row.records = row.records.saturating_add(1);
            row.last_leaf = leaf_hash;
            row.hops = row.hops.saturating_add(u64::from(is_hop));
            self.ahead.put(Row::Delegation(row.clone()));
            round.delegations.insert(row.id, row);
        }
        round.batch.entries.push(Entry { index, leaf, payload });
        round.batch.of_delegations.extend(delegation.map(|id| (id, index)));
        Ok(())
    }

    /// Writes, syncs, publishes, wakes.
    fn finish(&mut self, mut round: Round) -> Result<(), Fault> {
        round.batch.rows.extend(round.delegations.into_values().map(Row::Delegation));
        let recorded = !round.batch.entries.is_empty();
        if recorded {
            round.batch.head = Some((self.tree.size(), self.tree.root()));
            round.batch.checkpoint =
                Some((self.published.tree.size(), self.published.note.clone()));
        }
        let empty = round.batch.rows.is_empty()
            && round.batch.entries.is_empty()
            && round.batch.forgotten.is_empty()
            && round.batch.erased.is_empty()
            && round.batch.pruned.is_empty();
        let written = if empty { Ok(()) } else { self.backend.persist(&round.batch) };
        let published = written
            .and_then(|()| if recorded { self.sign() } else { Ok(()) })
            .and_then(|()| self.publish(round.batch, &round.deltas, round.floor));
        if let Err(fault) = published {
            for answer in round.granted {
                let _ = answer.send(Err(NotCommitted::No(No::Fault(fault.clone()))));
            }
            return Err(fault);
        }
        // A caller that went away meanwhile hears nothing; what it asked for is done.
        for answer in round.granted {
            let _ = answer.send(Ok(()));
        }
        for (answer, why) in round.refused {
            let _ = answer.send(Err(why));
        }
        for (answer, count) in round.pruned {
            let _ = answer.send(Ok(count));
        }
        Ok(())
    }

    /// Signs the head of what is durable now. A signer that is away is waited for, as a device is that
    /// was taken out or that nobody reaches: nobody hears of the batch until then, what waits behind it
    /// hears that the store is slow or full, and nobody has to start the broker anew.
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
            batch.rows.into_iter().for_each(|row| state.put(row));
            state.forget(&batch.forgotten);
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
