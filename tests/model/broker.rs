//! The broker in memory: the shipped decisions and `State::apply`, over a disk of rows.
//!
//! It has two states, as the committer has: the one that decisions read, which is on the disk, and the one that
//! runs ahead by what is not written yet. A crash loses the second.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{DelegationId, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::base::sign::{SecretKey, Signer};
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{Context, Entropy, Settings, View};
use sublet_core::evidence::record::{Actor, Body, Record};
use sublet_core::revocation::feed::{Delta, FeedFloor, FeedWriter};
use sublet_core::state::{
    Applied, Change, Effects, LedgerEnd, Outdated, Place, Placed, Row, RowKey, State,
};
use sublet_core::trust::bundle::{KeyUse, SignedBundle, TrustedKey};
use sublet_core::trust::rotation::{NextBundle, Schedule};
use sublet_tests::Fleet;

use crate::ask::{Ask, Decided};
use crate::fault::Fault;

/// How many hops that live one agent may have made: few, so that the bound is met.
pub(crate) const HOPS_LIVE_MAX: u32 = 24;

/// A record at its place in the log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What is recorded.
    pub(crate) record: Record,
    /// Where.
    pub(crate) place: Option<Place>,
    /// The hash of its leaf.
    pub(crate) leaf: [u8; 32],
}

impl Placed for Entry {
    fn delegation(&self) -> Option<DelegationId> {
        self.record.delegation
    }

    fn is_hop(&self) -> bool {
        matches!(self.record.body, Body::HopRecorded(_))
    }

    fn place(&mut self, place: &Place) -> [u8; 32] {
        self.place = Some(*place);
        self.leaf = sha256(format!("{place:?} {:?}", self.record.actor).as_bytes());
        self.leaf
    }
}

/// The private halves of the broker's keys, by their thumbprints.
#[derive(Default)]
pub(crate) struct Signers(HashMap<Thumbprint, Arc<SecretKey>>);

impl Signers {
    /// The private half of a key.
    pub(crate) fn of(&self, key: &TrustedKey) -> &dyn Signer {
        self.0[&key.public.thumbprint()].as_ref()
    }

    /// Keeps a key.
    pub(crate) fn keep(&mut self, key: Arc<SecretKey>) {
        self.0.insert(key.public_key().thumbprint(), key);
    }

    /// The next trust bundle, signed.
    pub(crate) fn trust(&self, next: &NextBundle) -> SignedBundle {
        let text = next.bundle.sign(next.signer.id, self.of(&next.signer)).unwrap();
        SignedBundle::read(text.into_bytes()).unwrap()
    }
}

/// What outlives the process: rows by key, in the order in which a store reads them, and the log.
#[derive(Clone, Default)]
struct Disk {
    rows: BTreeMap<String, Row>,
    log: Vec<Entry>,
}

impl Disk {
    fn name(key: &RowKey) -> String {
        match key {
            RowKey::Revocation(sequence, _) => format!("Revocation {sequence:020}"),
            other => format!("{other:?}"),
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Put(row) => drop(self.rows.insert(Disk::name(&row.key()), (**row).clone())),
            Change::Forget(key) => drop(self.rows.remove(&Disk::name(key))),
        }
    }
}

/// What was applied and is not written.
#[derive(Default)]
struct Staged {
    changes: Vec<Change>,
    entries: Vec<Entry>,
    floor: Option<FeedFloor>,
}

/// A broker without sockets.
pub(crate) struct Broker {
    shared: State,
    ahead: State,
    settings: Settings,
    disk: Disk,
    staged: Staged,
    first_trust: SignedBundle,
    /// The revocation feed, as far as it is written.
    pub(crate) feed: FeedWriter,
    /// The keys that it signs with.
    pub(crate) signers: Signers,
    /// What is broken on purpose.
    pub(crate) fault: Option<Fault>,
}

impl Broker {
    /// A new broker, with its first records written.
    pub(crate) fn new(now: UnixMillis, fault: Option<Fault>) -> Self {
        let first_trust = Fleet::new().signed_bundle();
        let state = State::new(first_trust.clone());
        let mut signers = Signers::default();
        for use_ in KeyUse::ALL {
            signers.keep(Arc::new(Fleet::signer(use_)));
        }
        let mut broker = Broker {
            feed: FeedWriter::new(state.domain().clone(), 1),
            shared: state.clone(),
            ahead: state,
            settings: Settings {
                identity_ttl_seconds: 3600,
                schedule: Schedule { rotate_ms: 86_400_000, lead_ms: 3_600_000 },
                hops_live_max: HOPS_LIVE_MAX,
            },
            disk: Disk::default(),
            staged: Staged::default(),
            first_trust: first_trust.clone(),
            signers,
            fault,
        };
        let mutations = vec![first_trust.into()];
        let _ = broker.apply(Effects { mutations, ..Effects::default() }, now);
        broker.write();
        broker
    }

    /// The state that decisions read: all of it is written.
    pub(crate) fn state(&self) -> &State {
        &self.shared
    }

    /// The state that the next effects are applied to.
    pub(crate) fn ahead(&self) -> &State {
        &self.ahead
    }

    /// What a decision rests on.
    pub(crate) fn view(&self) -> View<'_> {
        View { state: &self.shared, settings: &self.settings }
    }

    /// The log, as far as it is written.
    pub(crate) fn log(&self) -> &[Entry] {
        &self.disk.log
    }

    /// The broker, as records name it.
    pub(crate) fn own_name(&self) -> Actor {
        self.shared.domain().issuer().to_string().into()
    }

    /// Decides on what is written.
    pub(crate) fn decide(
        &self,
        caller: &Caller,
        ask: &Ask,
        now: UnixMillis,
        entropy: &Entropy,
    ) -> Decided {
        let decided =
            ask.decide(&Context { view: self.view(), caller, now, entropy }, &self.signers);
        match self.fault {
            Some(fault) => fault.decided(decided, ask, caller),
            None => decided,
        }
    }

    /// Applies what was decided, to be written.
    pub(crate) fn apply(
        &mut self,
        effects: Effects,
        now: UnixMillis,
    ) -> Result<Applied<Entry>, Outdated> {
        let Effects { preconditions, mutations, records } = effects;
        let entry = |record| Entry { record, place: None, leaf: [0; 32] };
        let records = records.into_iter().map(entry).collect();
        let applied = self.ahead.apply(Effects { preconditions, mutations, records }, now)?;
        self.staged.changes.extend(applied.changes.clone());
        self.staged.entries.extend(applied.records.clone());
        Ok(applied)
    }

    /// Forgets all rows that ended before `before`, and as many deltas of the feed as may go.
    pub(crate) fn forget(&mut self, before: UnixMillis) {
        // All of them: which ones are found first is not the same in every run.
        self.staged.changes.extend(self.ahead.expire(before, usize::MAX));
        let trim = self.feed.trim(|delta| self.ahead.is_in_force(delta, before), usize::MAX);
        if let Some(trim) = trim {
            self.staged.floor = Some(trim.floor);
            let changes = self.ahead.raise_feed_floor(trim.floor, trim.passed, trim.again);
            self.staged.changes.extend(changes);
        }
    }

    /// Writes what was applied: from here on it is durable and visible.
    pub(crate) fn write(&mut self) {
        let Staged { changes, entries, floor } = std::mem::take(&mut self.staged);
        for change in &changes {
            self.disk.change(change);
            if let Some(Delta { revocation, at, expires, .. }) = delta(change) {
                self.feed.append(revocation.clone(), *at, *expires);
            }
        }
        if let Some(floor) = floor {
            self.feed.raise_floor(&floor);
        }
        self.disk.log.extend(entries);
        self.shared.follow(changes, self.ahead.ledger());
    }

    /// Dies with what is not written, and starts again from the disk.
    pub(crate) fn restart(&mut self) {
        self.staged = Staged::default();
        let mut rows: Vec<Row> = self.disk.rows.values().cloned().collect();
        let size = u64::try_from(self.disk.log.len()).unwrap();
        let last = self.disk.log.last().and_then(|entry| entry.place).map(|place| place.time);
        let mut end = LedgerEnd { size, last: last.unwrap_or(UnixMillis(i64::MIN)) };
        let floor = rows.iter().find_map(|row| match row {
            Row::FeedFloor(floor) => Some(*floor),
            _ => None,
        });
        let deltas = rows.iter().filter_map(|row| match row {
            Row::Revocation(delta) => Some(delta.clone()),
            _ => None,
        });
        let domain = self.first_trust.bundle().trust_domain().clone();
        let feed = match floor {
            Some(floor) => FeedWriter::resume_from(domain, 1, floor, deltas),
            None => FeedWriter::resume(domain, 1, deltas),
        };
        self.feed = feed.unwrap();
        if let Some(fault) = self.fault {
            fault.restarted(&mut rows, &mut end);
        }
        let mut state = State::new(self.first_trust.clone());
        state.resume_revocations(self.feed.sequence());
        rows.into_iter().for_each(|row| state.put(row));
        state.resume_ledger(end);
        self.shared = state.clone();
        self.ahead = state;
    }
}

/// The revocation that a change puts.
fn delta(change: &Change) -> Option<&Delta> {
    let Change::Put(row) = change else { return None };
    match &**row {
        Row::Revocation(delta) => Some(delta),
        _ => None,
    }
}
