//! Steps in the life of the broker's keys, requested by the admin or due. SPEC 2.16.

use crate::base::id::UnixMillis;
use crate::base::key::PublicKey;
use crate::decide::{Context, Decision, Grant, Operation, Unsigned, View};
use crate::evidence::record::{Actor, Body, Record};
use crate::revocation::feed::Revocation;
use crate::state::{Mutation, Precondition};
use crate::trust::bundle::{KeyState, TrustedKey};
use crate::trust::rotation::{KeyStep, root_of};

/// Prepares, activates, retires or taints a key of the broker, by the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateBrokerKey {
    /// The step.
    pub step: KeyStep,
    /// The reason, as text.
    pub reason: String,
    /// The public half of the new key, if the step makes one. The private half is stored already.
    pub made: Option<PublicKey>,
}

impl Operation for RotateBrokerKey {
    /// The broker's keys after this.
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

/// Verifiers learn of a tainted root from the feed too, which is faster than the next bundle. The
/// delta stays until everything that the key could have signed has expired.
fn revocation(view: View<'_>, key: &TrustedKey) -> Option<Mutation> {
    let root = root_of(key).filter(|_| key.state == KeyState::Tainted)?;
    let revocation = Revocation::RootKey(root);
    let known = view.state.revoked(&revocation).is_some();
    (!known).then_some(Mutation::Revoke { revocation, expires_at: key.not_after })
}
