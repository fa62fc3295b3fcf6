//! Following the revocation feed.
//!
//! Owns: a shared view of the revocations, keeping it current over the network, reading it from a
//! snapshot. Does not own: what a view accepts (`sublet_core::revocation::feed`), which age is too
//! old (`checker`).
//!
//! Invariants: only what the view accepted under the trust bundle counts; after any failure (no
//! connection, a gap, a fork, a feed that was rolled back) the view stays as it is and grows stale,
//! and the failure is reported; nothing makes a view younger than its head. SPEC section 7.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sublet_core::authorize::RevocationSource;
use sublet_core::base::id::{TrustDomain, UnixMillis};
use sublet_core::revocation::feed::{
    FeedPosition, RevocationView, SnapshotLine, read_snapshot, snapshot_text,
};
use sublet_proto::v1::watch_event::Event;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Streaming;

use crate::broker::connect::Broker;
use crate::broker::credential::Caller;
use crate::broker::repeats::back_off;
use crate::error::Error;
use crate::ports::Ports;
use crate::trust::Trust;

/// The longest silence of a stream before it counts as broken. The broker sends a head every
/// second.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// The longest life of one stream. Opening the next one shows the current credential.
const SESSION_MAX: Duration = Duration::from_secs(3600);

/// The wait after the first failure, in milliseconds. It doubles up to 6.4 s, which is below the
/// default staleness bound of 10 s.
const BACK_OFF_MS: u64 = 100;

/// A revocation view that one task writes and every checker reads. Clones share it.
#[derive(Clone, Debug)]
pub struct SharedView(Arc<RwLock<RevocationView>>);

impl SharedView {
    /// Returns a view that knows no revocations. A call is then permitted only with a fresh
    /// receipt.
    pub fn empty(feed: TrustDomain) -> Self {
        SharedView::new(RevocationView::new(feed))
    }

    /// Shares this view.
    pub fn new(view: RevocationView) -> Self {
        SharedView(Arc::new(RwLock::new(view)))
    }

    /// Reads the text of a snapshot, as `sublet` writes it to a file. The view is as old as the
    /// snapshot's head.
    pub fn from_snapshot(text: &str, trust: &Trust, ports: &Ports) -> Result<Self, Error> {
        let view = SharedView::empty(trust.domain());
        for line in read_snapshot(text)? {
            match line {
                SnapshotLine::Delta(bytes) => view.write(|view| view.apply_delta(&bytes))?,
                SnapshotLine::Head(bytes) => view.apply_head(&bytes, trust, ports)?,
            }
        }
        Ok(view)
    }

    /// Calls `look` with the view and its age in milliseconds (`None` when it has no head). Updates
    /// wait meanwhile, so `look` should be short.
    pub fn read<T>(
        &self,
        ports: &Ports,
        look: impl FnOnce(&RevocationView, Option<i64>) -> T,
    ) -> T {
        // A writer that panicked may have left an incomplete view, so it gets no age.
        let (view, whole) = match self.0.read() {
            Ok(view) => (view, true),
            Err(poisoned) => (poisoned.into_inner(), false),
        };
        let age = view.age_ms(ports.clock.now(), ports.clock.monotonic_ms()).filter(|_| whole);
        look(&view, age)
    }

    /// Returns the view with these clocks, as a decision needs it.
    pub(crate) fn by<'a>(&'a self, ports: &'a Ports) -> ViewBy<'a> {
        ViewBy { view: self, ports }
    }

    /// Returns the age of the view in milliseconds; `None` when it has no head.
    pub fn age_ms(&self, ports: &Ports) -> Option<i64> {
        self.read(ports, |_, age| age)
    }

    /// Returns the position in the feed up to which the view has applied revocations.
    pub fn position(&self) -> FeedPosition {
        let view = self.0.read().unwrap_or_else(PoisonError::into_inner);
        view.position()
    }

    fn write<T>(&self, change: impl FnOnce(&mut RevocationView) -> T) -> T {
        // The poison stays, so that `read` sees it.
        match self.0.write() {
            Ok(mut view) => change(&mut view),
            Err(poisoned) => change(&mut poisoned.into_inner()),
        }
    }

    fn apply_head(&self, bytes: &[u8], trust: &Trust, ports: &Ports) -> Result<(), Error> {
        let (bundle, now) = (trust.current(), ports.clock.now());
        let monotonic_ms = ports.clock.monotonic_ms();
        self.write(|view| {
            view.apply_head(bytes, &bundle, now, monotonic_ms)?;
            view.prune(now);
            Ok(())
        })
    }

    /// Applies one event of the feed. Returns whether it was a head.
    pub(crate) fn apply(&self, event: &Event, trust: &Trust, ports: &Ports) -> Result<bool, Error> {
        match event {
            Event::Delta(bytes) => self.write(|view| view.apply_delta(bytes))?,
            Event::Head(bytes) => self.apply_head(bytes, trust, ports)?,
            Event::TrustBundle(text) => match trust.update(text, ports.clock.now()) {
                Ok(_) => {}
                // The current bundle stays in use until it expires.
                Err(failure) => {
                    tracing::warn!(code = %failure.code(), "trust bundle not taken: {failure}");
                }
            },
        }
        Ok(matches!(event, Event::Head(_)))
    }
}

/// A shared view with the clocks that measure its age.
pub(crate) struct ViewBy<'a> {
    view: &'a SharedView,
    ports: &'a Ports,
}

impl RevocationSource for ViewBy<'_> {
    fn read<T>(&self, look: impl FnOnce(&RevocationView, Option<i64>) -> T) -> T {
        self.view.read(self.ports, look)
    }
}

/// Fetches one snapshot from a broker: everything up to the first head. Returns the verified view,
/// and its text for a file.
pub async fn snapshot(
    broker: &Broker,
    who: Option<&dyn Caller>,
    trust: &Trust,
) -> Result<(SharedView, String), Error> {
    let view = SharedView::empty(trust.domain());
    let mut events = open(broker, who, FeedPosition::BEGINNING).await?;
    let mut deltas = Vec::new();
    loop {
        let event = next(&mut events).await?;
        view.apply(&event, trust, broker.ports())?;
        match event {
            Event::Delta(bytes) => deltas.push(bytes),
            Event::TrustBundle(_) => {}
            Event::Head(bytes) => {
                return Ok((view, snapshot_text(deltas.iter().map(Vec::as_slice), &bytes)));
            }
        }
    }
}

async fn open(
    broker: &Broker,
    who: Option<&dyn Caller>,
    after: FeedPosition,
) -> Result<Streaming<sublet_proto::v1::WatchEvent>, Error> {
    let credential = who.map(|who| who.credential()).transpose()?;
    broker.watch(credential.as_ref(), after).await
}

async fn next(events: &mut Streaming<sublet_proto::v1::WatchEvent>) -> Result<Event, Error> {
    let event = tokio::time::timeout(SILENCE_MAX, events.message()).await;
    let event = event.map_err(|_| Error::deadline("the revocation feed", SILENCE_MAX))?;
    let event = event.map_err(|status| Error::from_status(&status))?;
    let event = event.ok_or_else(|| Error::local("feed_ended", "the revocation feed ended"))?;
    event.event.ok_or_else(|| Error::answer("an event of the feed is empty"))
}

/// The state of a [`Follower`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The position in the feed that was reached.
    pub position: FeedPosition,
    /// How many heads were accepted since the start.
    pub heads: u64,
    /// The issuer's time in the last accepted head; `None` before the first.
    pub head_time: Option<UnixMillis>,
    /// Why the last attempt ended; `None` again after the next accepted head.
    pub failure: Option<Error>,
}

/// The task that follows the feed. Dropping it ends the task; the view stays and grows stale.
#[derive(Debug)]
pub struct Follower {
    view: SharedView,
    ports: Ports,
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Starts to follow a broker's feed. `who` may be `None` at a broker in `--dev` mode. Must be
    /// called inside a Tokio runtime.
    pub fn start(broker: Broker, who: Option<Arc<dyn Caller>>, trust: Trust) -> Self {
        let view = SharedView::empty(trust.domain());
        let (told, progress) = watch::channel(Progress::default());
        let ports = broker.ports().clone();
        let task = tokio::spawn(follow(Feed { broker, who, trust, view: view.clone(), told }));
        Follower { view, ports, progress, task }
    }

    /// Returns the view, for a checker.
    pub fn view(&self) -> SharedView {
        self.view.clone()
    }

    /// Returns the age of the view in milliseconds; `None` before the first head.
    pub fn age_ms(&self) -> Option<i64> {
        self.view.age_ms(&self.ports)
    }

    /// Returns why the feed is not followed at present; `None` when it is.
    pub fn last_error(&self) -> Option<Error> {
        self.progress.borrow().failure.clone()
    }

    /// Returns the current state.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Returns a receiver that gets the state after every head and every failure.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits for at most `at_most` for the first head. Otherwise returns the last failure.
    pub async fn ready(&self, at_most: Duration) -> Result<(), Error> {
        let mut progress = self.progress.clone();
        let first = tokio::time::timeout(at_most, progress.wait_for(|now| now.heads > 0)).await;
        match first {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self
                .last_error()
                .unwrap_or_else(|| Error::deadline("the revocation feed", at_most))),
        }
    }

    /// Stops following.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Feed {
    broker: Broker,
    who: Option<Arc<dyn Caller>>,
    trust: Trust,
    view: SharedView,
    told: watch::Sender<Progress>,
}

async fn follow(feed: Feed) {
    let mut failures = 0u32;
    loop {
        let before = feed.told.borrow().heads;
        let ended = tokio::time::timeout(SESSION_MAX, session(&feed)).await;
        let accepted = feed.told.borrow().heads > before;
        failures = if accepted { 1 } else { failures.saturating_add(1) };
        let Ok(failure) = ended else { continue };
        tracing::warn!(
            code = %failure.code(),
            age_ms = ?feed.view.age_ms(feed.broker.ports()),
            "the revocation feed broke off: {failure}"
        );
        feed.told.send_modify(|progress| progress.failure = Some(failure));
        tokio::time::sleep(back_off(feed.broker.ports(), failures, BACK_OFF_MS)).await;
    }
}

/// Reads one connection from the current position on. Returns the failure that ended it.
async fn session(feed: &Feed) -> Error {
    let ports = feed.broker.ports();
    let who = feed.who.as_deref();
    let mut events = match open(&feed.broker, who, feed.view.position()).await {
        Ok(events) => events,
        Err(failure) => return failure,
    };
    loop {
        let taken = match next(&mut events).await {
            Ok(event) => feed.view.apply(&event, &feed.trust, ports),
            Err(failure) => return failure,
        };
        match taken {
            Ok(true) => feed.tell_head(),
            Ok(false) => {}
            Err(failure) => return failure,
        }
    }
}

impl Feed {
    fn tell_head(&self) {
        let (position, head_time) = self.view.read(self.broker.ports(), |view, _| {
            (view.position(), view.head().map(|head| head.time))
        });
        self.told.send_modify(|progress| {
            let heads = progress.heads.saturating_add(1);
            *progress = Progress { position, heads, head_time, failure: None };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::World;
    use sublet_core::base::id::HopId;
    use sublet_core::revocation::feed::Revocation;

    fn events(world: &World) -> Vec<Event> {
        let event = |line| match line {
            SnapshotLine::Delta(bytes) => Event::Delta(bytes),
            SnapshotLine::Head(bytes) => Event::Head(bytes),
        };
        read_snapshot(&world.snapshot()).unwrap().into_iter().map(event).collect()
    }

    fn take(world: &World, view: &SharedView, events: &[Event]) -> Result<(), Error> {
        events
            .iter()
            .try_for_each(|event| view.apply(event, &world.trust, &world.ports).map(|_| ()))
    }

    #[test]
    fn a_feed_that_goes_wrong_leaves_the_view_to_go_stale() {
        let mut world = World::new();
        let before = events(&world);
        world.revoke_hop(HopId([7; 32]));
        let view = world.view();
        assert_eq!(
            (view.position(), view.age_ms(&world.ports)),
            (FeedPosition::new(1, 1), Some(0))
        );
        world.clock.pass(3_000);

        let rolled_back = take(&world, &view, &before).unwrap_err();
        assert_eq!(rolled_back.code(), "feed_rolled_back");
        let mut forked = World::new();
        forked.clock.pass(3_000);
        forked.revoke_hop(HopId([8; 32]));
        assert_eq!(take(&world, &view, &events(&forked)).unwrap_err().code(), "feed_forked");
        world.revoke_hop(HopId([9; 32]));
        world.revoke_hop(HopId([10; 32]));
        let mut gap = events(&world);
        gap.remove(1);
        assert_eq!(take(&world, &view, &gap).unwrap_err().code(), "feed_gap");

        assert_eq!(
            (view.position(), view.age_ms(&world.ports)),
            (FeedPosition::new(1, 1), Some(3_000))
        );
        let revoked = |hop| {
            view.read(&world.ports, |view, _| view.is_revoked(&Revocation::Hop(HopId([hop; 32]))))
        };
        assert!(revoked(7) && !revoked(8) && !revoked(9));

        take(&world, &view, &events(&world)).unwrap();
        assert_eq!(
            (view.position(), view.age_ms(&world.ports)),
            (FeedPosition::new(1, 3), Some(0))
        );
        assert!(revoked(9));
    }

    #[test]
    fn a_damaged_view_has_no_age() {
        let world = World::new();
        let view = world.view();
        let poisoner = view.clone();
        let died = std::thread::spawn(move || poisoner.write(|_| panic!("dies in the middle")));
        assert!(died.join().is_err());
        assert_eq!(view.age_ms(&world.ports), None);
    }
}
