//! Turns: how many calls are in work at once, and which is next. SPEC 5.11; docs/RELIABILITY, "Overload".
//!
//! Owns: one lane: its turns, its waiting calls, and their order. Does not own: which lane a call is in
//! (`lanes`), what a call does.
//!
//! The order is fair queueing by processor time. Each share has a tag: the time that it was served for.
//! The next turn goes to the waiting share with the smallest tag. When the call ends, its real cost is
//! added to the tag. A share that comes back after it was idle starts at the tag of the share served
//! last, so that no share saves turns.
//!
//! Invariants: no more turns are given than there are. A share waits only for shares that were served
//! less. No share has more calls in the lane than its room, which is what the lane does in half a
//! second, divided by the active shares. A call that does not fit is refused at once, at the cost of one
//! look into a table.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sublet_core::refusal::Overload;
use tokio::sync::oneshot;

use super::link::Link;
use super::share::Share;

/// The longest wait for a turn. The room of a share is half of this, so few calls wait so long.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(1);

/// The room of a share as time, in milliseconds: what the lane does in it is divided by the active shares.
const ROOM_MS: u64 = 500;

/// The least room of a share in calls, however busy the lane and however slow the machine.
const ROOM_MIN: usize = 16;

/// The most room of a share in calls: the streams of eight connections.
const ROOM_MAX: usize = 1_024;

/// A share with fewer calls than this is let in when the lane is full.
const FEW: usize = 2;

/// The assumed pace of a lane in calls a second, until it is measured to be higher.
const PACE_MIN: u64 = 1_000;

/// The window in which the pace and refusals are counted.
const WINDOW: Duration = Duration::from_millis(100);

/// The refusals of all shares in one window that are answered at once: 5,000 a second. At about 20 us
/// each (docs/BENCHMARKS, "Overload") they use a tenth of one core. If a share exceeds its part of them,
/// its connections are paused until half of its room is free.
const REFUSED_MAX: usize = 500;

/// The least part of one share.
const REFUSED_MIN: usize = 8;

/// The assumed cost of a call before it is measured, in microseconds.
const COST_GUESS_US: u64 = 300;

/// A failed proof is charged this many times its cost.
const FAILED_COST: u64 = 8;

/// The shortest and longest time after which a refused caller is told to retry, in milliseconds.
const RETRY_MS: (u64, u64) = (50, 2_000);

/// The bounds of one lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnBounds {
    /// The most calls in work at once.
    pub(crate) turns: usize,
    /// The most calls in work, or waiting for the disk after work.
    pub(crate) begun: usize,
    /// The most calls in the lane, in work or waiting; twice as many if each share has few.
    pub(crate) total: usize,
}

/// There is no turn for this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy {
    /// After how many milliseconds to retry.
    pub(crate) retry_ms: u64,
}

impl From<Busy> for Overload {
    fn from(busy: Busy) -> Self {
        Overload::Busy { retry_ms: busy.retry_ms }
    }
}

/// One lane.
#[derive(Debug)]
pub(crate) struct Turns {
    bounds: TurnBounds,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Calls that have a turn.
    at_work: usize,
    /// Calls that have a turn, or had one and wait.
    begun: usize,
    /// Calls in the lane.
    entered: usize,
    /// Shares with a call in the lane.
    active: usize,
    shares: HashMap<Share, Entry>,
    /// Shares with a call that waits for a turn, by tag.
    waiting: BTreeSet<(u64, Share)>,
    /// The tag of the share served last.
    now: u64,
    pace: Pace,
}

#[derive(Debug, Default)]
struct Entry {
    tag: u64,
    entered: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    /// The window of its last refusal, and the number of refusals in it.
    refused: (u64, usize),
    /// Connections that are paused until there is room.
    paused: Vec<Weak<Link>>,
}

/// The pace of the lane.
#[derive(Debug, Default)]
struct Pace {
    window: u64,
    since: Option<Instant>,
    done: u64,
    /// Calls a second, in the last window.
    per_second: u64,
    /// Shares that were refused in this window.
    refused: usize,
}

impl Pace {
    fn look(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed < WINDOW {
            return;
        }
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
        self.per_second = self.done.saturating_mul(1_000) / millis;
        *self = Pace {
            window: self.window.saturating_add(1),
            since: Some(now),
            per_second: self.per_second,
            ..Pace::default()
        };
    }

    fn per_second(&self) -> u64 {
        self.per_second.max(PACE_MIN)
    }
}

impl Table {
    /// Returns how many calls each share may have in the lane now.
    fn room(&self) -> usize {
        let shares = u64::try_from(self.active.max(1)).unwrap_or(u64::MAX);
        let room = self.pace.per_second().saturating_mul(ROOM_MS) / 1_000 / shares;
        usize::try_from(room).unwrap_or(ROOM_MAX).clamp(ROOM_MIN, ROOM_MAX)
    }

    /// Returns the milliseconds until a full share has done half of its calls.
    fn retry_ms(&self, entered: usize) -> u64 {
        let shares = u64::try_from(self.active.max(1)).unwrap_or(u64::MAX);
        let ahead = u64::try_from(entered).unwrap_or(u64::MAX).saturating_mul(shares);
        let (least, most) = RETRY_MS;
        (ahead.saturating_mul(500) / self.pace.per_second()).clamp(least, most)
    }

    /// Changes the tag of a share.
    fn charge(&mut self, share: &Share, change: impl FnOnce(u64) -> u64) {
        let Some(entry) = self.shares.get_mut(share) else { return };
        let (before, is_waiting) = (entry.tag, !entry.waiting.is_empty());
        entry.tag = change(before);
        if is_waiting && self.waiting.remove(&(before, share.clone())) {
            self.waiting.insert((entry.tag, share.clone()));
        }
    }

    /// Counts a turn that is given.
    fn begin(&mut self) {
        self.at_work = self.at_work.saturating_add(1);
        self.begun = self.begun.saturating_add(1);
    }

    /// Returns whether a turn is free.
    fn has_turn(&self, bounds: &TurnBounds) -> bool {
        self.at_work < bounds.turns && self.begun < bounds.begun
    }

    /// Returns the next waiting call and counts its turn; `None` if none waits.
    fn next(&mut self) -> Option<(Share, oneshot::Sender<Turn>)> {
        while let Some((tag, share)) = self.waiting.pop_first() {
            let Some(entry) = self.shares.get_mut(&share) else { continue };
            let next = std::iter::from_fn(|| entry.waiting.pop_front())
                // Skips callers that are gone.
                .find(|waiting| !waiting.is_closed());
            let is_served = next.is_some();
            if is_served {
                entry.tag = tag.saturating_add(COST_GUESS_US);
            }
            if !entry.waiting.is_empty() {
                self.waiting.insert((entry.tag, share.clone()));
            }
            if let Some(next) = next {
                self.now = self.now.max(tag);
                self.begin();
                return Some((share, next));
            }
        }
        None
    }

    /// Removes a call from the lane, and returns the connections to resume. A share whose tag is not
    /// ahead of the last served one is removed from the table.
    fn leave(&mut self, share: &Share) -> Vec<Weak<Link>> {
        self.entered = self.entered.saturating_sub(1);
        let (now, room) = (self.now, self.room());
        let Some(entry) = self.shares.get_mut(share) else { return Vec::new() };
        entry.entered = entry.entered.saturating_sub(1);
        let resumed = match entry.entered <= room / 2 {
            true => std::mem::take(&mut entry.paused),
            false => Vec::new(),
        };
        if entry.entered == 0 {
            let is_over = entry.tag <= now;
            self.active = self.active.saturating_sub(1);
            if self.entered == 0 {
                // No share is left to compare with.
                self.shares.clear();
            } else if is_over {
                self.shares.remove(share);
            }
        }
        resumed
    }

    /// Drops the waiting calls of this share whose callers are gone.
    fn forget_gone(&mut self, share: &Share) {
        let Some(entry) = self.shares.get_mut(share) else { return };
        entry.waiting.retain(|waiting| !waiting.is_closed());
        if entry.waiting.is_empty() {
            self.waiting.remove(&(entry.tag, share.clone()));
        }
    }
}

impl Turns {
    /// Makes an empty lane.
    pub(crate) fn new(bounds: TurnBounds) -> Arc<Self> {
        Arc::new(Turns { bounds, table: Mutex::default() })
    }

    /// Returns the number of calls in the lane, and of those in work.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let table = self.lock();
        (table.entered, table.at_work)
    }

    /// Enters a call. Refuses it if its share has no room. If a share is refused often, the connection
    /// is paused until [`Link::resume`] is called.
    pub(crate) fn enter(
        self: &Arc<Self>,
        share: Share,
        link: Option<&Arc<Link>>,
        now: Instant,
    ) -> Result<Ticket, Busy> {
        let mut table = self.lock();
        table.pace.look(now);
        let own = table.shares.get(&share).map_or(0, |entry| entry.entered);
        let is_few = own < FEW && table.entered < self.bounds.total.saturating_mul(2);
        if !is_few && (own >= table.room() || table.entered >= self.bounds.total) {
            let busy = Busy { retry_ms: table.retry_ms(own) };
            if let Some(link) = link.filter(|_| own > 0) {
                refused(&mut table, &share, link);
            }
            return Err(busy);
        }
        let since = table.now;
        let entry = table.shares.entry(share.clone()).or_default();
        if entry.entered == 0 {
            entry.tag = entry.tag.max(since);
        }
        entry.entered = entry.entered.saturating_add(1);
        if entry.entered == 1 {
            table.active = table.active.saturating_add(1);
        }
        table.entered = table.entered.saturating_add(1);
        Ok(Ticket { turns: self.clone(), share, state: State::Entered })
    }

    /// Returns a turn of this share; if none is free, a receiver for the next one.
    fn at_once(self: &Arc<Self>, share: &Share) -> Result<Turn, oneshot::Receiver<Turn>> {
        let mut table = self.lock();
        if table.has_turn(&self.bounds) && table.waiting.is_empty() {
            table.begin();
            let tag = table.shares.get(share).map_or(0, |entry| entry.tag);
            table.now = table.now.max(tag);
            table.charge(share, |tag| tag.saturating_add(COST_GUESS_US));
            return Ok(Turn::new(self.clone(), share.clone()));
        }
        let (tell, told) = oneshot::channel();
        if let Some(entry) = table.shares.get_mut(share) {
            entry.waiting.push_back(tell);
            if entry.waiting.len() == 1 {
                let first = (entry.tag, share.clone());
                table.waiting.insert(first);
            }
        }
        Err(told)
    }

    /// Ends a turn that cost this much. Its call waits or is done. Gives free turns to waiting calls.
    fn over(self: &Arc<Self>, share: &Share, cost: u64, waits: bool) {
        let mut table = self.lock();
        table.at_work = table.at_work.saturating_sub(1);
        if !waits {
            table.begun = table.begun.saturating_sub(1);
        }
        table.charge(share, |tag| tag.saturating_sub(COST_GUESS_US).saturating_add(cost));
        self.serve(table);
    }

    /// Removes a call that had its turn, or whose caller left while it waited.
    fn left(self: &Arc<Self>, share: &Share, state: State) {
        let mut table = self.lock();
        match state {
            State::Served => table.pace.done = table.pace.done.saturating_add(1),
            State::Waiting => table.forget_gone(share),
            State::Entered => {}
        }
        let resumed = table.leave(share);
        self.serve(table);
        resumed.iter().filter_map(Weak::upgrade).for_each(|link| link.resume());
    }

    /// Gives free turns to waiting calls.
    fn serve(self: &Arc<Self>, mut table: MutexGuard<'_, Table>) {
        let mut told = Vec::new();
        while table.has_turn(&self.bounds) {
            let Some(next) = table.next() else { break };
            told.push(next);
        }
        drop(table);
        for (share, tell) in told {
            // If the caller is gone, dropping the turn gives it back.
            drop(tell.send(Turn::new(self.clone(), share)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Numbers and sets change together, and nothing in between can panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a refusal, and pauses a connection with too many.
fn refused(table: &mut Table, share: &Share, link: &Arc<Link>) {
    let window = table.pace.window;
    let Some(entry) = table.shares.get_mut(share) else { return };
    if entry.refused.0 != window {
        entry.refused = (window, 0);
        table.pace.refused = table.pace.refused.saturating_add(1);
    }
    entry.refused.1 = entry.refused.1.saturating_add(1);
    let most = (REFUSED_MAX / table.pace.refused.max(1)).max(REFUSED_MIN);
    if entry.refused.1 > most && link.pause() {
        entry.paused.push(Arc::downgrade(link));
    }
}

/// The state of a call in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Entered,
    Waiting,
    Served,
}

/// A call in a lane. It leaves the lane when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    turns: Arc<Turns>,
    share: Share,
    state: State,
}

impl Ticket {
    /// Waits for a turn, for at most [`WAIT_MAX`].
    pub(crate) async fn turn(&mut self) -> Result<Turn, Busy> {
        let turn = match self.turns.at_once(&self.share) {
            Ok(turn) => {
                // Lets calls that came meanwhile enter first. Without this, calls that never wait would
                // form a queue in front of the lane, where no share is counted.
                tokio::task::yield_now().await;
                Ok(turn)
            }
            Err(told) => {
                self.state = State::Waiting;
                let waited = tokio::time::timeout(WAIT_MAX, told).await;
                // A waiting call is never dropped by the lane, so only the time limit ends it.
                waited.map_err(drop).and_then(|told| told.map_err(drop))
            }
        };
        match turn {
            Ok(turn) => {
                self.state = State::Served;
                Ok(turn)
            }
            Err(()) => {
                let table = self.turns.lock();
                let own = table.shares.get(&self.share).map_or(0, |entry| entry.entered);
                Err(Busy { retry_ms: table.retry_ms(own) })
            }
        }
    }

    /// Returns the share that the call counts for.
    pub(crate) fn share(&self) -> &Share {
        &self.share
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.turns.left(&self.share, self.state);
    }
}

/// A turn. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    share: Share,
    cost: u64,
    waits: bool,
}

impl Turn {
    fn new(turns: Arc<Turns>, share: Share) -> Self {
        Turn { turns, share, cost: 0, waits: false }
    }

    /// Adds processor time that was used in it.
    pub(crate) fn spent(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.cost = self.cost.saturating_add(micros);
    }

    /// Notes that a proof failed in it, which costs more.
    pub(crate) fn failed(&mut self) {
        self.cost = self.cost.saturating_mul(FAILED_COST);
    }

    /// Gives the turn back, because its call waits for something other than the processor.
    pub(crate) fn waits(mut self) -> Waits {
        self.waits = true;
        Waits { turns: self.turns.clone(), share: self.share.clone() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.over(&self.share, self.cost, self.waits);
    }
}

/// A call that had its turn and waits. It counts as begun until this is dropped or the time limit is over.
#[derive(Debug)]
pub(crate) struct Waits {
    turns: Arc<Turns>,
    share: Share,
}

impl Waits {
    /// Adds processor time that was used after waiting.
    pub(crate) fn spent(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.turns.lock().charge(&self.share, |tag| tag.saturating_add(micros));
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut table = self.turns.lock();
        table.begun = table.begun.saturating_sub(1);
        self.turns.serve(table);
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
