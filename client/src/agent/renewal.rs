//! Keeping an identity renewed, and its key from growing old.
//!
//! Owns: when to renew or rotate, and telling the owner how it goes. Does not own: how (`identity`).
//!
//! Invariants: renewal begins at half of the token's life, or once its root is known to be tainted, so that a broker that is away for less
//! than the other half is not noticed; the moment has jitter, so that a fleet that started together
//! does not come together; a failure is told and tried again, and never ends the task.

use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::agent::identity::Identity;
use crate::broker::repeats::back_off;
use crate::error::Error;

/// Between attempts after failures: half a second, doubled up to 32 s.
const BACK_OFF_MS: u64 = 500;

/// Between renewals, at least.
const SLEEP_MIN: Duration = Duration::from_millis(500);

/// The longest sleep without a look at the clock and at the trust bundle, so that a host that was
/// suspended finds out on waking, and an agent soon after its root was tainted.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// How renewing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalStatus {
    /// When the token held expires, in seconds.
    pub expires: i64,
    /// Renewals that were granted since the start.
    pub renewals: u64,
    /// Why the last attempt failed; `None` when it did not.
    pub failure: Option<Error>,
}

/// The task that renews. Ends when it is dropped.
#[derive(Debug)]
pub struct Renewal {
    status: watch::Receiver<RenewalStatus>,
    task: JoinHandle<()>,
    svids: Option<JoinHandle<()>>,
}

impl Renewal {
    /// How renewing goes now.
    pub fn status(&self) -> RenewalStatus {
        self.status.borrow().clone()
    }

    /// To be told of every renewal and failure.
    pub fn watch(&self) -> watch::Receiver<RenewalStatus> {
        self.status.clone()
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.task.abort();
        self.svids.iter().for_each(JoinHandle::abort);
    }
}

/// What else is kept up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenewalPolicy {
    /// How old a key may become before another takes its place, at the next renewal; never when it is
    /// `None`. Processes that share a directory go on with the other one.
    pub rotate_key_every: Option<Duration>,
}

impl Identity {
    /// Renews at half of each token's life, for as long as what is returned lives.
    pub fn keep_renewed(&self) -> Renewal {
        self.keep(RenewalPolicy::default())
    }

    /// The same, and keeps up more.
    pub fn keep(&self, upkeep: RenewalPolicy) -> Renewal {
        let first = RenewalStatus { expires: self.expires(), renewals: 0, failure: None };
        let (told, status) = watch::channel(first);
        let task = tokio::spawn(keep(self.clone(), upkeep, told));
        let svids = self.follow_svids().map(tokio::spawn);
        Renewal { status, task, svids }
    }

    /// Another identity: for another key, if this one is too old.
    async fn renew_or_rotate(&self, upkeep: RenewalPolicy) -> Result<(), Error> {
        let age = self.directory().key_age(self.ports().clock.now());
        let old = upkeep.rotate_key_every.zip(age).is_some_and(|(most, age)| age >= most);
        if old { self.rotate_key().await } else { self.renew().await }
    }
}

async fn keep(identity: Identity, upkeep: RenewalPolicy, told: watch::Sender<RenewalStatus>) {
    let mut failures = 0u32;
    loop {
        match failures {
            // Also where a token lives so short, or a clock is so wrong, that it is always due.
            0 => tokio::time::sleep(SLEEP_MIN).await,
            n => tokio::time::sleep(back_off(identity.ports(), n, BACK_OFF_MS)).await,
        }
        if failures == 0 {
            sleep_until(&identity, due(&identity)).await;
        }
        let failure = identity.renew_or_rotate(upkeep).await.err();
        failures = if failure.is_some() { failures.saturating_add(1) } else { 0 };
        if let Some(failure) = &failure {
            let (code, left) = (failure.code(), left_ms(&identity));
            tracing::warn!(agent = %identity.id(), %code, left_ms = left, "not renewed: {failure}");
        }
        told.send_modify(|status| {
            status.expires = identity.expires();
            status.renewals = status.renewals.saturating_add(u64::from(failure.is_none()));
            status.failure = failure;
        });
    }
}

/// Half of the token's life after it was issued, or up to a tenth of that life earlier.
fn due(identity: &Identity) -> UnixMillis {
    let token = identity.token();
    // An identity token has an origin; were there none, it would be due at once.
    let issued_at = token.root().role.origin().map_or(0, |origin| origin.issued_at);
    let life_ms = token.expires().saturating_sub(issued_at).saturating_mul(1000).max(0);
    let early = identity.ports().jitter(u64::try_from(life_ms / 10).unwrap_or(0));
    let early = i64::try_from(early).unwrap_or(0);
    UnixMillis::from_seconds(issued_at).plus_ms((life_ms / 2).saturating_sub(early))
}

fn left_ms(identity: &Identity) -> i64 {
    UnixMillis::from_seconds(identity.expires()).since(identity.ports().clock.now())
}

async fn sleep_until(identity: &Identity, due: UnixMillis) {
    loop {
        identity.refresh_certificates();
        let left = due.since(identity.ports().clock.now());
        match u64::try_from(left) {
            Ok(left) if left > 0 && !identity.is_tainted() => {
                tokio::time::sleep(Duration::from_millis(left).min(SLEEP_MAX)).await;
            }
            _ => return,
        }
    }
}
