//! May a key of the broker go on in its life? SPEC 2.16: by the admin's word, or when it is due.

use crate::base::id::UnixMillis;
use crate::base::key::PublicKey;
use crate::decide::{Context, Decision, Grant, Operation, Unsigned, View};
use crate::evidence::record::{Actor, Body, Record};
use crate::revocation::feed::Revocation;
use crate::state::{Mutation, Precondition};
use crate::trust::bundle::{KeyState, TrustedKey};
use crate::trust::rotation::{KeyStep, root_of};

/// An admin has a key of the broker made, activated, retired or tainted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateBrokerKey {
    /// Which step.
    pub step: KeyStep,
    /// Why.
    pub reason: String,
    /// The public half of the key that the step makes, where it makes one: it lies safe already.
    pub made: Option<PublicKey>,
}

impl Operation for RotateBrokerKey {
    /// The broker's keys from now on.
    type Granted = Vec<TrustedKey>;
    const METHOD: &'static str = "/sublet.v1.Admin/RotateBrokerKey";

    fn describe(&self) -> String {
        format!("{}: {}", self.step, self.reason)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Vec<TrustedKey>> {
        cx.admin_only()?;
        apply_key_step(cx.view, &cx.caller.actor(), self, cx.now)
    }
}

/// Takes a step in the name of `actor`: the admin, or the broker itself when a step is due.
pub fn apply_key_step(
    view: View<'_>,
    actor: &Actor,
    change: &RotateBrokerKey,
    now: UnixMillis,
) -> Decision<Vec<TrustedKey>> {
    let next = view.trust().step(&change.step, now, change.made.as_ref())?;
    let mut grant = Grant::read(next.bundle.keys().to_vec());
    if next.changed.is_empty() && change.step != KeyStep::Reissue {
        return Ok(grant);
    }
    for key in &next.changed {
        grant.effects.records.push(Record {
            delegation: None,
            actor: actor.clone(),
            body: body(key, &change.reason),
        });
        grant.effects.mutations.extend(revocation(view, key));
    }
    grant.effects.preconditions.push(Precondition::trust(view.trust().version()));
    grant.unsigned = Some(Unsigned::Trust(Box::new(next)));
    Ok(grant)
}

fn body(key: &TrustedKey, reason: &str) -> Body {
    Body::BrokerKey {
        use_: key.use_,
        id: key.id,
        key: key.public.thumbprint(),
        state: key.state,
        reason: reason.to_owned(),
    }
}

/// Verifiers hear of a tainted root by the feed too, which is sooner than the next bundle. It stays
/// there until all that the key could have signed is over.
fn revocation(view: View<'_>, key: &TrustedKey) -> Option<Mutation> {
    let root = root_of(key).filter(|_| key.state == KeyState::Tainted)?;
    let revocation = Revocation::RootKey(root);
    let known = view.state.revoked(&revocation).is_some();
    (!known).then_some(Mutation::Revoke { revocation, expires_at: key.not_after })
}
