//! Background renewal of an identity, and rotation of its key by age.
//!
//! Owns: when to renew or rotate, and reporting the result. Does not own: how to renew
//! (`identity`).
//!
//! Invariants: renewal begins at half of the token's life, so a broker that is away for less than
//! the other half goes unnoticed; it begins at once when the token's root key is tainted; the time
//! has jitter, so that a fleet that started together does not renew together; a failure is reported
//! and retried, and never ends the task.

use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::agent::identity::Identity;
use crate::broker::repeats::back_off;
use crate::error::Error;

/// The wait after the first failed attempt, in milliseconds. It doubles with each further failure,
/// up to 32 s.
const BACK_OFF_MS: u64 = 500;

/// The least time between two renewals.
const SLEEP_MIN: Duration = Duration::from_millis(500);

/// The longest sleep before the clock and the trust bundle are read again. It bounds how late a
/// resumed host or a tainted root is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// The state of the background renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalStatus {
    /// When the current identity token expires, in seconds since 1970.
    pub expires: i64,
    /// How many renewals succeeded since the task started.
    pub renewals: u64,
    /// Why the last attempt failed; `None` when it succeeded or none was made yet.
    pub failure: Option<Error>,
}

/// The background renewal. Dropping this value stops it.
#[derive(Debug)]
pub struct Renewal {
    status: watch::Receiver<RenewalStatus>,
    task: JoinHandle<()>,
    svids: Option<JoinHandle<()>>,
}

impl Renewal {
    /// Returns the current state of the renewal.
    pub fn status(&self) -> RenewalStatus {
        self.status.borrow().clone()
    }

    /// Returns a receiver that gets the state after every renewal and every failure.
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

/// Settings of the background renewal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenewalPolicy {
    /// The age at which a key is rotated, at the next renewal; `None` never rotates. Other
    /// processes that share the directory take over the new key.
    pub rotate_key_every: Option<Duration>,
}

impl Identity {
    /// Starts a task that renews the identity at half of each token's life, until the returned
    /// value is dropped. Must be called inside a Tokio runtime.
    pub fn keep_renewed(&self) -> Renewal {
        self.keep(RenewalPolicy::default())
    }

    /// Starts the same task with settings of its own.
    pub fn keep(&self, upkeep: RenewalPolicy) -> Renewal {
        let first = RenewalStatus { expires: self.expires(), renewals: 0, failure: None };
        let (told, status) = watch::channel(first);
        let task = tokio::spawn(keep(self.clone(), upkeep, told));
        let svids = self.follow_svids().map(tokio::spawn);
        Renewal { status, task, svids }
    }

    /// Rotates the key if it is too old; renews the identity otherwise.
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
            // This wait also bounds the rate when a short life or a wrong clock makes renewal
            // always due.
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

/// Returns the time of the next renewal: half of the token's life after its issue, minus a random
/// part of up to a tenth of that life.
fn due(identity: &Identity) -> UnixMillis {
    let token = identity.token();
    // An identity token always has an origin. Without one, renewal is due at once.
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
