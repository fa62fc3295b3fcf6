//! The broker's keys change by themselves when it is time. SPEC 2.16.
//!
//! Owns: looking whether a step is due. Does not own: which (`sublet_core::rotation`), taking it
//! (`pipeline`).

use std::sync::Arc;
use std::time::Duration;

use sublet_core::rotation::due;

use crate::broker::Broker;
use crate::pipeline;
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
    pipeline::turn_keys(broker, step).await?;
    tracing::info!("{step}");
    Ok(true)
}
