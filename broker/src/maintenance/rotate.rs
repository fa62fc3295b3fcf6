//! Rotates the broker's keys, by the admin or when a step is due. SPEC 2.16.
//!
//! Owns: checking whether a step is due, and the new key of a step until the bundle lists it. Does not
//! own: which step is due and its effect (`sublet_core::trust::rotation`), committing it (`pipeline`).
//!
//! Invariants: a key is safely stored before the bundle that lists it is decided on. A key that was
//! certainly never published is destroyed.

use std::sync::Arc;
use std::time::Duration;

use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::SignerFault;
use sublet_core::decide::RotateBrokerKey;
use sublet_core::decide::caller::Authenticated;
use sublet_core::refusal::{Fault, Refusal};
use sublet_core::trust::bundle::{KeyUse, TrustBundle, TrustedKey};
use sublet_core::trust::rotation::{KeyStep, due};

use crate::broker::Broker;
use crate::request::pipeline::{self, Asked, Recorded};
use crate::store::NotCommitted;

/// How often the broker checks whether a step is due. Steps are days apart.
const EVERY: Duration = Duration::from_secs(60);

/// The most steps of one check: two for each use, and the bundle.
const STEPS_MAX: usize = 16;

/// Makes every step that is due, for as long as the broker runs.
pub(crate) async fn run(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // When a key was activated, the next one may be due for preparation.
            () = broker.keys.changed.notified() => {}
        }
        for _ in 0..STEPS_MAX {
            match step(&broker).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(NotCommitted::Changed) => tracing::debug!("an admin changed a key meanwhile"),
                Err(NotCommitted::Refusal(refusal)) => {
                    tracing::error!(
                        code = refusal.code(),
                        "the broker's keys did not change: {refusal}"
                    );
                    break;
                }
            }
        }
    }
}

/// Makes the step that is due. Returns whether there was one.
async fn step(broker: &Arc<Broker>) -> Result<bool, NotCommitted> {
    let trust = broker.trust().map_err(|fault| NotCommitted::Refusal(fault.into()))?;
    let Some(step) = due(trust.bundle(), &broker.settings.schedule, broker.ports.clock.now())
    else {
        return Ok(false);
    };
    let refusal = |fault: Fault| NotCommitted::Refusal(fault.into());
    check(broker, &step).map_err(refusal)?;
    let made = made(broker, &step).await.map_err(refusal)?;
    let public = made.as_ref().map(|made| made.public.clone());
    let change = RotateBrokerKey { step, reason: String::new(), made: public };
    let turned = pipeline::apply_key_step(broker, change).await;
    let unsure = matches!(turned, Err(NotCommitted::Refusal(Refusal::Fault(_))));
    settle(broker, made, unsure).await;
    turned?;
    tracing::info!("{step}");
    Ok(true)
}

/// Makes a step that a caller asks for. It runs on when the caller hangs up.
pub(crate) async fn change(
    broker: &Arc<Broker>,
    asked: Asked<RotateBrokerKey>,
) -> Result<Recorded<Vec<TrustedKey>>, Refusal> {
    pipeline::run_detached(made_and_taken(broker.clone(), asked)).await
}

async fn made_and_taken(
    broker: Arc<Broker>,
    mut asked: Asked<RotateBrokerKey>,
) -> Result<Recorded<Vec<TrustedKey>>, Refusal> {
    let Authenticated { caller, operation } = &mut asked.authenticated;
    // Keys are made for the admin only.
    let made = match caller.is_admin() {
        true => {
            check(&broker, &operation.step)?;
            made(&broker, &operation.step).await?
        }
        false => None,
    };
    operation.made = made.as_ref().map(|made| made.public.clone());
    let recorded = pipeline::run(&broker, asked).await;
    settle(&broker, made, matches!(recorded, Err(Refusal::Fault(_)))).await;
    recorded
}

/// A key that was made for a step.
struct Made {
    use_: KeyUse,
    public: PublicKey,
    /// Whether it was made for an earlier step whose commit may still succeed.
    spare: bool,
}

/// Refuses to activate a key for which there is no private key.
fn check(broker: &Broker, step: &KeyStep) -> Result<(), Fault> {
    let KeyStep::Activate { key, .. } = step else { return Ok(()) };
    let trust = broker.trust()?;
    trust.bundle().key(*key).map_or(Ok(()), |key| broker.keys.ring.signers.of(key).map(drop))
}

/// Returns the new key of a step: a kept one, or one made now; `None` if the step makes no key.
async fn made(broker: &Broker, step: &KeyStep) -> Result<Option<Made>, Fault> {
    let trust = broker.trust()?;
    let Some(use_) = trust.bundle().makes(step) else { return Ok(None) };
    let signers = broker.keys.ring.signers.clone();
    if let Some(public) = signers.take_spare(use_, |key| !lists(trust.bundle(), key)) {
        return Ok(Some(Made { use_, public, spare: true }));
    }
    let made = tokio::task::spawn_blocking(move || signers.make(use_)).await;
    let made = made.map_err(|error| Fault::Internal(format!("a key: {error}")))?;
    let public = made.map_err(|bad| SignerFault(format!("no {} key: {bad}", use_.name())))?;
    Ok(Some(Made { use_, public, spare: false }))
}

/// Decides about the key after its step. If the trust bundle does not list it, the step was refused or
/// was made before, and the key is destroyed. If the commit may still succeed, the key is kept for the
/// next step of its use.
async fn settle(broker: &Broker, made: Option<Made>, unsure: bool) {
    let (Some(made), Ok(trust)) = (made, broker.trust()) else { return };
    let Made { use_, public, spare } = made;
    let signers = broker.keys.ring.signers.clone();
    if lists(trust.bundle(), &public) {
        return;
    }
    // For a kept key the result of its first step stays unknown, so it is never destroyed.
    if unsure || spare {
        signers.keep_spare(use_, public);
        return;
    }
    let dropped = tokio::task::spawn_blocking(move || signers.forget(use_, &public)).await;
    if let Ok(Err(bad)) = dropped {
        tracing::warn!(%bad, "a key that nobody heard of stays");
    }
}

fn lists(bundle: &TrustBundle, key: &PublicKey) -> bool {
    bundle.keys().iter().any(|listed| listed.public == *key)
}
