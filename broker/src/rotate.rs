//! The broker's keys change, by an admin's word or by themselves when it is time. SPEC 2.16.
//!
//! Owns: looking whether a step is due, and the key that a step makes, until it is listed. Does not own:
//! which step is due and what it means (`sublet_core::rotation`), taking it (`pipeline`).
//!
//! Invariants: a key lies safe before the bundle that lists it is decided on; one that nobody can have
//! heard of is given up.

use std::sync::Arc;
use std::time::Duration;

use sublet_core::caller::{Authenticated, Caller};
use sublet_core::decide::ChangeKey;
use sublet_core::key::PublicKey;
use sublet_core::no::{Fault, No};
use sublet_core::rotation::{KeyStep, due};

use crate::broker::Broker;
use crate::pipeline::{self, Recorded, Repeatable};
use crate::store::NotCommitted;

/// How often the clock is looked at: steps are days apart.
const EVERY: Duration = Duration::from_secs(60);

/// Steps that one look takes: two for each use, and the bundle.
const STEPS_MAX: usize = 16;

/// Takes every step that is due, for as long as the broker runs.
pub(crate) async fn run(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // One that took over leaves the place of the next one free.
            () = broker.keys_changed.notified() => {}
        }
        for _ in 0..STEPS_MAX {
            match step(&broker).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(NotCommitted::Changed) => tracing::debug!("an admin changed a key meanwhile"),
                Err(NotCommitted::No(no)) => {
                    tracing::error!(code = no.code(), "the broker's keys did not change: {no}");
                    break;
                }
            }
        }
    }
}

/// Takes the step that is due, if one is.
async fn step(broker: &Broker) -> Result<bool, NotCommitted> {
    let trust = broker.trust().map_err(|fault| NotCommitted::No(fault.into()))?;
    let Some(step) = due(trust.bundle(), &broker.settings.schedule, broker.clock.now()) else {
        return Ok(false);
    };
    let made = made(broker, &step).await.map_err(|fault| NotCommitted::No(fault.into()))?;
    let change = ChangeKey { step, reason: String::new(), made: made.clone() };
    let turned = pipeline::turn_keys(broker, change).await;
    if let (Ok(()) | Err(NotCommitted::Changed), Some(made)) = (&turned, made) {
        drop_unlisted(broker, &step, made).await;
    }
    turned?;
    tracing::info!("{step}");
    Ok(true)
}

/// Takes a step that a caller asks for.
pub(crate) async fn change(
    broker: &Broker,
    caller: Caller,
    mut ask: ChangeKey,
    repeatable: Repeatable,
    trace: Option<[u8; 16]>,
) -> Result<Recorded<()>, No> {
    // Nobody else has keys made.
    if caller.is_admin() {
        ask.made = made(broker, &ask.step).await?;
    }
    let (step, made) = (ask.step, ask.made.clone());
    let asked = Authenticated { caller, ask };
    // After a fault it may be listed yet, so the key stays.
    let recorded = pipeline::run(broker, asked, Some(repeatable), trace).await?;
    if let Some(made) = made {
        drop_unlisted(broker, &step, made).await;
    }
    Ok(recorded)
}

/// The key that a step makes, if it makes one.
async fn made(broker: &Broker, step: &KeyStep) -> Result<Option<PublicKey>, Fault> {
    let Some(use_) = broker.trust()?.bundle().makes(step) else { return Ok(None) };
    let signers = broker.keys.signers.clone();
    let made = tokio::task::spawn_blocking(move || signers.make(use_)).await;
    let made = made.map_err(|error| Fault::Internal(format!("a key: {error}")))?;
    made.map(Some).map_err(|bad| Fault::Internal(format!("no {} key: {bad}", use_.name())))
}

/// Gives a key up that the trust bundle does not list: its step was refused, or was taken before.
async fn drop_unlisted(broker: &Broker, step: &KeyStep, made: PublicKey) {
    let Ok(trust) = broker.trust() else { return };
    if trust.bundle().keys().iter().any(|key| key.public == made) {
        return;
    }
    let use_ = match step {
        KeyStep::Prepare { use_, .. } => Some(*use_),
        KeyStep::Taint { key } => trust.bundle().key(*key).map(|key| key.use_),
        KeyStep::Activate { .. } | KeyStep::Retire { .. } | KeyStep::Reissue => None,
    };
    let (signers, Some(use_)) = (broker.keys.signers.clone(), use_) else { return };
    let dropped = tokio::task::spawn_blocking(move || signers.forget(use_, &made)).await;
    if let Ok(Err(bad)) = dropped {
        tracing::warn!(%bad, "a key that nobody heard of stays");
    }
}
