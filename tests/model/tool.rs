//! A tool that follows the feed and decides calls, by the shipped `authorize` and nothing of the broker.

use std::sync::Arc;

use sublet_core::authorize::{AgedView, Anew, Authorizer, Credentials};
use sublet_core::base::id::UnixMillis;
use sublet_core::base::limits::STALENESS_MS_DEFAULT;
use sublet_core::evidence::call::Call;
use sublet_core::evidence::replay_cache::{Bounds, ReplayCache};
use sublet_core::refusal::Refusal;
use sublet_core::revocation::feed::{FeedPosition, RevocationView, SignedHead};
use sublet_core::trust::bundle::{KeyUse, SignedBundle};
use sublet_tests::AUDIENCE;

use crate::broker::Broker;

/// A tool.
pub(crate) struct Tool {
    view: RevocationView,
    bundle: Arc<SignedBundle>,
    seen: ReplayCache,
    started: UnixMillis,
    /// Whether it hears nothing of the broker.
    pub(crate) cut_off: bool,
    /// How old its revocations may be.
    pub(crate) staleness_ms_max: i64,
}

impl Tool {
    /// A tool that was started a minute before `now`.
    pub(crate) fn new(broker: &Broker, now: UnixMillis) -> Self {
        let started = now.plus_ms(-60_000);
        Tool {
            view: RevocationView::new(broker.state().domain().clone()),
            bundle: broker.state().trust().clone(),
            seen: ReplayCache::new(Bounds::default(), started),
            started,
            cut_off: false,
            staleness_ms_max: STALENESS_MS_DEFAULT,
        }
    }

    /// How far it has come with revocations.
    pub(crate) fn position(&self) -> FeedPosition {
        self.view.position()
    }

    fn monotonic_ms(&self, now: UnixMillis) -> u64 {
        u64::try_from(now.since(self.started)).unwrap()
    }

    /// Takes in all that the feed has, with a head that the broker signs at `at`. Returns whether it knows all
    /// that the feed has: not where it is cut off, nor where the broker's clock was set back behind the time of
    /// the key that signs heads.
    pub(crate) fn follow(
        &mut self,
        broker: &Broker,
        at: UnixMillis,
        now: UnixMillis,
    ) -> Result<bool, String> {
        let trust = broker.state().trust().clone();
        let key = trust.bundle().active(KeyUse::Feed).unwrap();
        if self.cut_off || at < key.not_before {
            return Ok(false);
        }
        self.bundle = trust.clone();
        let (held, head) = (self.view.position(), broker.feed.head(at));
        let is_earlier = self.view.head().is_some_and(|held| held.time > head.time);
        if is_earlier && held.sequence == head.sequence {
            // The broker's clock was set back: its next head is not later than the one that is held.
            return Ok(true);
        }
        for (_, delta) in broker.feed.deltas_after(held.epoch, held.sequence) {
            self.view.apply_delta(delta).map_err(|bad| bad.to_string())?;
        }
        let signed = SignedHead::sign(head, key.id, broker.signers.of(key)).unwrap().encode();
        let monotonic_ms = self.monotonic_ms(now);
        let taken = self.view.apply_head(&signed, self.bundle.bundle(), now, monotonic_ms);
        taken.map(|()| true).map_err(|bad| bad.to_string())
    }

    /// Decides a call.
    pub(crate) fn decide(
        &self,
        shown: &Credentials,
        call: &Call,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        let age_ms = self.view.age_ms(now, self.monotonic_ms(now));
        let authorizer = Authorizer {
            audience: AUDIENCE,
            bundle: self.bundle.bundle(),
            chains: &Anew,
            revocations: AgedView { view: &self.view, age_ms },
            staleness_ms_max: self.staleness_ms_max,
            seen: &self.seen,
        };
        authorizer.authorize(shown, call, now).verdict.map(drop)
    }
}
