//! What is decided about a call once token and possession are verified. SPEC sections 4, 6, 7: P1, P2,
//! P5, P6.
//!
//! Owns: freshness, depth, receipts, scopes, and the order of these. Does not own: whether a chain is alive
//! (`alive`, which the broker asks too), what comes before and after (`authorize`).
//!
//! Invariants: nothing is decided about a call that does not name one tool and one action (SPEC 4.8.1);
//! whatever was compared before, the possession must be of this very call.

use super::possession::Bound;
use crate::base::id::{AgentId, HopId, Principal, UnixMillis};
use crate::base::key::Thumbprint;
use crate::capability::{ChainPosition, Scope};
use crate::evidence::call::Call;
use crate::refusal::{Deny, Malformed, Refusal, Unauthenticated};
use crate::revocation::alive::{check_revocations, check_time};
use crate::revocation::feed::{FeedPosition, RevocationView};
use crate::token::verify::{Coverage, Holder, Possession, VerifiedToken, is_same_holder};

/// What a tool has in hand when it decides.
#[derive(Clone, Copy)]
pub struct CallView<'a> {
    /// What it knows of revocations.
    pub revocations: &'a RevocationView,
    /// How old that is; `None` when it has no signed head.
    pub age_ms: Option<i64>,
    /// How old it may be.
    pub staleness_ms_max: i64,
    /// What the receipt that came with the token covers, if one came.
    pub coverage: Option<&'a Coverage>,
}

/// A call that is allowed, and what it rests on.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Who calls.
    pub holder: Holder,
    /// On whose behalf.
    pub principal: Principal,
    /// By which hop.
    pub hop: HopId,
    /// The position in the revocation feed that it was decided on.
    pub revocations: FeedPosition,
}

/// An agent that has shown who it is, and nothing else: no authority comes with it.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub agent: AgentId,
    /// By which key.
    pub key: Thumbprint,
    /// Until when its identity is good, in seconds.
    pub until: i64,
    /// The position in the revocation feed that it was decided on.
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
        return Err(
            Unauthenticated::Kind("a delegation says what may be done, not who it is").into()
        );
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

/// The call names one tool and one action, and whatever was compared when the proof was verified, it
/// must be of this very call.
fn is_of_call(token: &VerifiedToken, possession: &Possession, call: &Call) -> Result<(), Refusal> {
    call.check_exact().map_err(Malformed::from)?;
    let expected = Bound::of(call).under(token.id());
    Ok(possession.claims().check_call(&expected).map_err(Unauthenticated::Proof)?)
}

/// What a tool would say of a call by the holder of `token` before it asks for a proof and for what
/// was revoked: time, depth, receipt and scope of every block.
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

/// Decides a call by the holder of `token`, whose possession was verified for it.
pub fn decide_call(
    token: &VerifiedToken,
    possession: &Possession,
    call: &Call,
    view: CallView<'_>,
    now: UnixMillis,
) -> Result<Permit, Refusal> {
    is_of_call(token, possession, call)?;
    let Some(principal) = token.principal() else {
        return Err(Unauthenticated::Kind("an identity token opens no tool").into());
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

/// The view is young enough, or a receipt of the last hop staples "not revoked" and is, and no
/// newer feed contradicts it.
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

/// The first hop to an enrolled agent that no receipt covers, so that nothing shows a tool that the agent
/// holds it. A tool says nothing of such a chain: it would be in a name that anybody can write.
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
        let standing = token.standing(signed.block());
        // The very same statement, asked by the same caller, has the same answer.
        if admitted.is_some_and(|(same, by)| same.is(scope) && by == standing) {
            continue;
        }
        if let Some(detail) = scope.refusal(call, standing) {
            return Err(Deny::NotAllowed { hop, detail });
        }
        admitted = Some((scope, standing));
    }
    Ok(())
}
