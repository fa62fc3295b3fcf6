//! May a key of the broker go on in its life? SPEC 2.16: by the admin's word, or when it is due.

use super::{Ask, Decision, Entropy, Grant, Unsigned, View, admin_only};
use crate::bundle::{KeyState, TrustedKey};
use crate::caller::Caller;
use crate::feed::Revocation;
use crate::id::UnixMillis;
use crate::key::PublicKey;
use crate::record::{Actor, Body, Record};
use crate::rotation::{KeyStep, root_of};
use crate::state::{Guard, Write};

/// An admin has a key of the broker made, activated, retired or tainted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeKey {
    /// Which step.
    pub step: KeyStep,
    /// Why.
    pub reason: String,
    /// The public half of the key that the step makes, where it makes one: it lies safe already.
    pub made: Option<PublicKey>,
}

impl Ask for ChangeKey {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Admin/ChangeKey";

    fn asked(&self) -> String {
        format!("{}: {}", self.step, self.reason)
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        _: &Entropy,
    ) -> Decision<()> {
        admin_only(caller)?;
        turn_keys(view, &caller.actor(), self, now)
    }
}

/// Takes a step in the name of `actor`: the admin, or the broker itself when a step is due.
pub fn turn_keys(
    view: View<'_>,
    actor: &Actor,
    change: &ChangeKey,
    now: UnixMillis,
) -> Decision<()> {
    let next = view.trust().step(&change.step, now, change.made.as_ref())?;
    let mut grant = Grant::read(());
    if next.changed.is_empty() && change.step != KeyStep::Reissue {
        return Ok(grant);
    }
    for key in &next.changed {
        grant.records.push(Record {
            delegation: None,
            actor: actor.clone(),
            body: body(key, &change.reason),
        });
        grant.writes.extend(revocation(view, key));
    }
    grant.guards.push(Guard::Trust(view.trust().version()));
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
fn revocation(view: View<'_>, key: &TrustedKey) -> Option<Write> {
    let root = root_of(key).filter(|_| key.state == KeyState::Tainted)?;
    let revocation = Revocation::RootKey(root);
    let known = view.state.revoked(&revocation).is_some();
    (!known).then_some(Write::Revocation { revocation, expires_at: key.not_after })
}
