//! A decision that was made. docs/ARCHITECTURE, "The road".
//!
//! Owns: the rules for all operations: a caller must be valid, a refusal is recorded, a grant
//! depends on the caller's chain not being revoked. Does not own: the decision of an operation.

use super::Context;
use super::admin::fleet;
use super::agent::enroll;
use super::authority::chain;
use super::operation::{Grant, Operation, Unsigned};
use crate::base::id::AgentId;
use crate::decide::caller::Kind;
use crate::evidence::record::{ASKED_BYTES_MAX, Body, Record, RecordedHolder, SAYS_BYTES_MAX, cut};
use crate::refusal::Deny;
use crate::state::{Effects, Precondition};
use crate::token::BlockPayload;
use crate::token::verify::{Holder, VerifiedToken};
use crate::trust::bundle::SignedBundle;

/// A decision that was made, for the pipeline to commit. It is recorded, whether granted or
/// refused.
#[must_use]
#[derive(Clone, Debug)]
pub struct Verdict<G> {
    /// The grant, or the refusal.
    pub outcome: Result<G, Deny>,
    /// Its effects.
    pub effects: Effects,
    /// What must be signed first; `None` when nothing.
    pub unsigned: Option<Unsigned>,
    /// Whether the caller is not valid. Such a refusal is counted and not recorded.
    pub is_dead: bool,
}

/// Decides an authenticated request. A refusal becomes a record, except for a caller that is not
/// valid: the holder of an invalid token could write as many records as it likes.
pub fn decide<O: Operation>(cx: &Context<'_>, operation: &O) -> Verdict<O::Granted> {
    if let Err(deny) = chain::check_caller(cx.view, cx.caller, O::METHOD, cx.now) {
        return match enroll::cloned(cx.view, cx.caller, O::METHOD, deny) {
            cloned @ Deny::IdentityCloned { .. } => refused(cx, operation, cloned),
            deny => Verdict::dead(deny),
        };
    }
    match operation.decide(cx) {
        Ok(grant) => granted(cx, grant),
        Err(deny) => refused(cx, operation, deny),
    }
}

fn granted<G>(cx: &Context<'_>, grant: Grant<G>) -> Verdict<G> {
    let Grant { granted, mut effects, mut not_revoked, unsigned } = grant;
    if !effects.mutations.is_empty() {
        // A grant depends on the caller's chain not being revoked.
        not_revoked.extend(chain::subjects_of_caller(cx.caller));
        effects.preconditions.extend(chain::principal_of_caller(cx.caller));
        if !not_revoked.is_empty() {
            effects.preconditions.push(Precondition::NotRevoked(not_revoked));
        }
    }
    if unsigned.is_some() {
        effects.preconditions.push(Precondition::trust(cx.view.trust().version()));
    }
    name_recorded(cx, &mut effects.records);
    Verdict { outcome: Ok(granted), effects, unsigned, is_dead: false }
}

fn refused<O: Operation>(cx: &Context<'_>, operation: &O, deny: Deny) -> Verdict<O::Granted> {
    let body = Body::Refused {
        method: O::METHOD,
        code: deny.code(),
        detail: cut(deny.to_string(), SAYS_BYTES_MAX),
        asked: cut(operation.describe(), ASKED_BYTES_MAX),
    };
    let delegation = match cx.caller.kind() {
        Kind::Holder(token) => Some(token.delegation()),
        _ => None,
    };
    let delegation = delegation.filter(|id| cx.view.state.delegation(id).is_some());
    let records = vec![Record { delegation, actor: cx.caller.actor(), body }];
    let mut effects = Effects { records, ..Effects::default() };
    if let Deny::IdentityCloned { agent } = &deny {
        effects.extend(lock(cx, agent));
    }
    name_recorded(cx, &mut effects.records);
    Verdict { outcome: Err(deny), effects, unsigned: None, is_dead: false }
}

/// Adds the last recorded holder of the caller's chain to each record, if the caller's own hop is
/// not recorded. The name in such a hop is only a claim of its maker.
fn name_recorded(cx: &Context<'_>, records: &mut [Record]) {
    let Kind::Holder(token) = cx.caller.kind() else { return };
    let own = token.id();
    // Parents are recorded first, so the last known hop is the deepest.
    let last = token.hops().filter_map(|(id, _)| cx.view.state.hop(&id)).last();
    let Some(last) = last.filter(|last| last.id != own) else { return };
    let holder = Holder { agent: last.agent.clone(), helper: last.helper.clone() };
    let known = RecordedHolder { hop: last.id, holder };
    for record in records {
        record.actor.recorded = Some(known.clone());
    }
}

/// Suspends an agent of whose key somebody has a copy, in the commit that records it. Only that
/// agent is suspended.
fn lock(cx: &Context<'_>, agent: &AgentId) -> Effects {
    let why = "two hold its key: one renewed with an identity that the other had renewed before";
    fleet::suspend(cx, agent, why).map(|stopped| stopped.effects).unwrap_or_default()
}

impl<G> Verdict<G> {
    fn dead(deny: Deny) -> Self {
        let effects = Effects::default();
        Verdict { outcome: Err(deny), effects, unsigned: None, is_dead: true }
    }

    /// Adds the signed block 0. Its bytes become the payload of the record.
    pub fn sign<O: Operation<Granted = G>>(mut self, token: &VerifiedToken) -> Self {
        self.unsigned = None;
        self.outcome = self.outcome.map(|granted| O::with_token(granted, token));
        for record in &mut self.effects.records {
            if let Body::Issued(hop) = &mut record.body {
                hop.block = Some(BlockPayload::from(token.last()));
            }
        }
        self
    }

    /// Adds the signed bundle to the effects.
    pub fn with_trust(mut self, trust: SignedBundle) -> Self {
        self.unsigned = None;
        self.effects.mutations.push(trust.into());
        self
    }

    /// Returns whether there is nothing to commit.
    pub fn is_read(&self) -> bool {
        self.effects.is_empty()
    }
}
