//! The decision on a call whose token and possession are verified. SPEC sections 4, 6, 7: P1, P2,
//! P5, P6.
//!
//! Owns: freshness, depth, receipts, scopes, and their order. Does not own: whether a chain is
//! revoked or expired (`alive`, which the broker uses too), the steps before and after
//! (`authorize`).
//!
//! Invariants: no decision is made on a call that does not name exactly one tool and one action
//! (SPEC 4.8.1); the possession must be of this very call, whatever was compared before.

use super::possession::Bound;
use crate::base::id::{AgentId, HopId, Principal, UnixMillis};
use crate::base::key::Thumbprint;
use crate::capability::{ChainPosition, Scope};
use crate::evidence::call::Call;
use crate::refusal::{Deny, Malformed, Refusal, Unauthenticated};
use crate::revocation::alive::{check_revocations, check_time};
use crate::revocation::feed::{FeedPosition, RevocationView};
use crate::token::verify::{Coverage, Holder, Possession, VerifiedToken, is_same_holder};

/// The state that a tool decides with.
#[derive(Clone, Copy)]
pub struct CallView<'a> {
    /// The view of revocations.
    pub revocations: &'a RevocationView,
    /// The age of the view in milliseconds; `None` when it has no head.
    pub age_ms: Option<i64>,
    /// The greatest age that is accepted, in milliseconds.
    pub staleness_ms_max: i64,
    /// What the receipt covers that came with the token; `None` when none came.
    pub coverage: Option<&'a Coverage>,
}

/// A permitted call, and what the decision rests on.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The holder that calls.
    pub holder: Holder,
    /// The principal on whose behalf it calls.
    pub principal: Principal,
    /// The id of the holder's hop.
    pub hop: HopId,
    /// The position in the revocation feed at the decision.
    pub revocations: FeedPosition,
}

/// An agent that proved its identity. This gives no authority.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The agent's SPIFFE id.
    pub agent: AgentId,
    /// The thumbprint of the agent's key.
    pub key: Thumbprint,
    /// When its identity token expires, in seconds since 1970.
    pub until: i64,
    /// The position in the revocation feed at the decision.
    pub revocations: FeedPosition,
}

/// Decides who calls, by an identity token whose possession was verified for this call.
pub fn decide_peer(
    token: &VerifiedToken,
    possession: &Possession,
    call: &Call,
    view: CallView<'_>,
    now: UnixMillis,
) -> Result<Peer, Refusal> {
    is_of_call(token, possession, call)?;
    if !token.is_identity() {
        return Err(Unauthenticated::Kind(
            "a delegation token proves no identity: show an identity token",
        )
        .into());
    }
    check_fresh(token, CallView { coverage: None, ..view }, now)?;
    check_revocations(token, view.revocations)?;
    check_time(token, now)?;
    Ok(Peer {
        agent: token.root().agent.clone(),
        key: token.holder_key().thumbprint(),
        until: token.expires(),
        revocations: view.revocations.position(),
    })
}

/// Checks that the call names exactly one tool and one action, and that the possession is of this
/// call.
fn is_of_call(token: &VerifiedToken, possession: &Possession, call: &Call) -> Result<(), Refusal> {
    call.check_exact().map_err(Malformed::from)?;
    let expected = Bound::of(call).under(token.id());
    Ok(possession.claims().check_call(&expected).map_err(Unauthenticated::Proof)?)
}

/// Makes the checks of a tool that need neither a proof nor revocations: time, depth, receipt, and
/// the scope of every block.
pub fn foresee_call(
    token: &VerifiedToken,
    call: &Call,
    coverage: Option<&Coverage>,
    now: UnixMillis,
) -> Result<(), Refusal> {
    call.check_exact().map_err(Malformed::from)?;
    check_time(token, now)?;
    check_depth(token, coverage)?;
    Ok(check_scopes(token, call)?)
}

/// Decides a call of the token's holder, whose possession was verified for this call.
pub fn decide_call(
    token: &VerifiedToken,
    possession: &Possession,
    call: &Call,
    view: CallView<'_>,
    now: UnixMillis,
) -> Result<Permit, Refusal> {
    is_of_call(token, possession, call)?;
    let Some(principal) = token.principal() else {
        return Err(Unauthenticated::Kind(
            "an identity token gives no authority: show a delegation token",
        )
        .into());
    };
    check_fresh(token, view, now)?;
    check_revocations(token, view.revocations)?;
    foresee_call(token, call, view.coverage, now)?;
    Ok(Permit {
        holder: token.holder(),
        principal: principal.clone(),
        hop: token.id(),
        revocations: view.revocations.position(),
    })
}

/// Checks that the view is fresh enough. Otherwise the receipt must cover the last hop, be fresh
/// enough, and have a feed position that is not before the view's.
fn check_fresh(token: &VerifiedToken, view: CallView<'_>, now: UnixMillis) -> Result<(), Deny> {
    let bound_ms = view.staleness_ms_max;
    let young = |age_ms: i64| (0..=bound_ms).contains(&age_ms.max(0));
    if view.age_ms.is_some_and(young) {
        return Ok(());
    }
    let stapled = view.coverage.is_some_and(|coverage| {
        let claims = &coverage.receipt().claims;
        let position = FeedPosition::new(claims.revocation_epoch, claims.revocation_sequence);
        claims.hop == token.id()
            && now.since(claims.as_of) >= -crate::base::limits::CLOCK_SKEW_MS
            && young(now.since(claims.as_of))
            && now <= claims.fresh_until
            && position >= view.revocations.position()
    });
    if stapled { Ok(()) } else { Err(Deny::StaleView { age_ms: view.age_ms, bound_ms }) }
}

fn check_depth(token: &VerifiedToken, coverage: Option<&Coverage>) -> Result<(), Deny> {
    let hops = token.depth();
    let recorded = coverage.map_or(0, Coverage::position);
    let unrecorded = hops.saturating_sub(recorded);
    for (hop, signed) in token.signed_blocks().iter().enumerate() {
        let block = signed.block();
        if hops > block.hops_max {
            return Err(Deny::TooDeep { hops, hop, allowed: block.hops_max });
        }
        if unrecorded > block.offline_hops_max {
            return Err(Deny::Unrecorded { unrecorded, hop, allowed: block.offline_hops_max });
        }
    }
    match unproven_name(token, coverage) {
        Some((hop, agent)) => Err(Deny::UnrecordedAgentHop { hop, agent: agent.clone() }),
        None => Ok(()),
    }
}

/// Returns the first hop to an enrolled agent that no receipt covers; `None` when there is none.
/// Nothing proves to a tool that this agent holds the token, because anyone can append a hop in any
/// name. So a tool reports nothing about such a chain.
pub fn unproven_name<'a>(
    token: &'a VerifiedToken,
    coverage: Option<&Coverage>,
) -> Option<(usize, &'a AgentId)> {
    let recorded = coverage.map_or(0, Coverage::position);
    let pairs = token.signed_blocks().iter().zip(token.signed_blocks().iter().skip(1)).enumerate();
    for (before, (parent, child)) in pairs {
        let hop = before + 1;
        let uncovered = hop > usize::try_from(recorded).unwrap_or(usize::MAX);
        if uncovered && child.block().helper.is_none() && !is_same_holder(parent, child) {
            return Some((hop, &child.block().agent));
        }
    }
    None
}

fn check_scopes(token: &VerifiedToken, call: &Call) -> Result<(), Deny> {
    let mut admitted: Option<(&Scope, ChainPosition)> = None;
    for (hop, signed) in token.signed_blocks().iter().enumerate() {
        let Some(scope) = &signed.block().scope else {
            return Err(Deny::NotAllowed { hop, detail: "the block states no scope".to_owned() });
        };
        let position = token.chain_position(signed.block());
        // The same scope gives the same caller the same answer.
        if admitted.is_some_and(|(same, by)| same.is(scope) && by == position) {
            continue;
        }
        if let Some(detail) = scope.refusal(call, position) {
            return Err(Deny::NotAllowed { hop, detail });
        }
        admitted = Some((scope, position));
    }
    Ok(())
}
