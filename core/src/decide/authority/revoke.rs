//! May this be revoked by this caller? SPEC 7.2.
//!
//! An admin revokes anything; a delegator the hops that it made; a holder its own. Everything
//! below a revoked hop dies with it, in one row. A principal alone comes back, for what is issued anew.

use std::sync::Arc;

use crate::decide::admin::fleet::{horizon, revoke_key, suspend};
use crate::decide::authority::chain::check_time;
use crate::decide::authority::consent::end;
use crate::decide::authority::record::new_hops;
use crate::decide::{Context, Decision, Grant, Keeps, Operation};
use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, HopId, Principal, UnixMillis};
use crate::base::key::Thumbprint;
use crate::decide::caller::{Caller, Kind};
use crate::evidence::record::Body;
use crate::refusal::Deny;
use crate::revocation::feed::Revocation;
use crate::state::rows::session::Session;
use crate::state::{Mutation, Precondition};
use crate::token::verify::{Holder, VerifiedToken};

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A hop and all below.
    Hop(HopId),
    /// A delegation: hop 0 and all below.
    Delegation(HopId),
    /// An agent: suspended.
    Agent(AgentId),
    /// A key, for ever.
    Key(Thumbprint),
    /// A user's authority.
    Principal(Principal),
}

impl Target {
    fn kind(&self) -> &'static str {
        match self {
            Target::Hop(_) => "hop",
            Target::Delegation(_) => "delegation",
            Target::Agent(_) => "agent",
            Target::Key(_) => "key",
            Target::Principal(_) => "principal",
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Hop(id) | Target::Delegation(id) => write!(f, "{id}"),
            Target::Agent(agent) => write!(f, "{agent}"),
            Target::Key(key) => write!(f, "{key}"),
            Target::Principal(principal) => write!(f, "{principal}"),
        }
    }
}

/// Someone asks for a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// Of what.
    pub target: Target,
    /// Why.
    pub reason: String,
    /// A chain that shows the caller's right to it, where the ledger does not know the hop.
    pub chain: Option<Arc<VerifiedToken>>,
}

impl Operation for Revoke {
    /// Whether the broker has a record of what is named; it is revoked all the same.
    type Granted = bool;
    const METHOD: &'static str = "/sublet.v1.Revocation/Revoke";
    const KEEPS: Keeps = Keeps::Nothing;

    fn describe(&self) -> String {
        format!("revoke {} {}: {}", self.target.kind(), self.target, self.reason)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<bool> {
        match &self.target {
            Target::Hop(id) | Target::Delegation(id) => self.hop(cx, id),
            _ if !cx.caller.is_admin() => Err(Deny::NotYoursToRevoke),
            // An agent that is not known is refused.
            Target::Agent(agent) => Ok(suspend(cx, agent, &self.reason)?.with(true)),
            Target::Key(key) => {
                let recorded = cx.view.state.knows_key(key);
                Ok(revoke_key(cx, key, &self.reason)?.with(recorded))
            }
            Target::Principal(principal) => {
                if principal.realm() != cx.view.state.domain().as_str() {
                    return Err(Deny::NotFound(format!("principal {principal}")));
                }
                let recorded = cx.view.state.names_principal(principal);
                // A principal's revocation has no end of its own.
                let revocation = Revocation::Principal(principal.clone());
                if cx.view.is_revoked(revocation.clone()) {
                    return Ok(Grant::read(recorded));
                }
                let grant = self.revoking(cx, revocation, UnixMillis(i64::MAX), None);
                Ok(grant.with(recorded))
            }
        }
    }
}

impl Revoke {
    fn hop(&self, cx: &Context<'_>, id: &HopId) -> Decision<bool> {
        let known = cx.view.state.hop(id);
        let shown = self.chain.as_ref().and_then(|chain| Shown::of(chain, id));
        let may = cx.caller.is_admin()
            || known.is_some_and(|row| {
                let holds = Holder { agent: row.agent.clone(), helper: row.helper.clone() };
                let parent = row.parent.and_then(|parent| cx.view.state.hop(&parent));
                let made = parent
                    .map(|row| Holder { agent: row.agent.clone(), helper: row.helper.clone() });
                is_party(cx.caller, (*id, &holds), row.parent.zip(made.as_ref()))
            })
            || shown.as_ref().is_some_and(|shown| {
                let parent = shown.parent.as_ref().map(|(id, holder)| (*id, holder));
                is_party(cx.caller, (*id, &shown.token.holder()), parent)
            });
        if !may {
            // What a caller may not see answers like what does not exist.
            return Err(Deny::NotYoursToRevoke);
        }
        if matches!(self.target, Target::Delegation(_)) && cx.view.state.delegation(id).is_none() {
            return Err(Deny::NotFound(format!("delegation {id}")));
        }
        if cx.view.is_revoked(Revocation::Hop(*id)) {
            return Ok(Grant::read(known.is_some()));
        }
        match (known, shown) {
            (Some(row), _) => {
                let grant = self.grant(cx, id, (row.expires_at, Some(row.delegation)));
                Ok(grant.with(true))
            }
            (None, Some(shown)) => self.shown(cx, &shown),
            // An admin is believed: what it could kill is over after the longest life of a token.
            (None, None) => Ok(self.grant(cx, id, (horizon(cx.now), None)).with(false)),
        }
    }

    /// A hop that was never recorded is recorded first, so that no more can be revoked than may be
    /// recorded. Where it cannot be, an admin is believed, and anyone else revokes the hop above it.
    fn shown(&self, cx: &Context<'_>, shown: &Shown) -> Decision<bool> {
        let (id, delegation) = (shown.token.id(), shown.token.delegation());
        let row = cx.view.state.delegation(&delegation);
        let ends = UnixMillis::from_seconds(shown.token.expires());
        let recorded = row
            .ok_or(Deny::UnknownDelegation { id: delegation })
            .and_then(|row| check_time(&shown.token, cx.now).map(|()| row))
            .and_then(|row| new_hops(cx, &shown.token, row.fan_out_max));
        let revoked = self.grant(cx, &id, (ends, row.map(|row| row.id)));
        match recorded {
            Ok(recorded) => Ok(recorded.with(()).and(revoked).with(true)),
            Err(_) if cx.caller.is_admin() => Ok(revoked.with(false)),
            Err(deny) => {
                let above = shown.token.hops().filter_map(|(id, _)| cx.view.state.hop(&id)).last();
                let why = deny.to_string();
                Err(above.map_or(deny, |above| Deny::RevokeAbove { why, instead: above.id }))
            }
        }
    }

    /// Revokes a hop that is not revoked, until all below it is over.
    fn grant(
        &self,
        cx: &Context<'_>,
        id: &HopId,
        (ends, delegation): (UnixMillis, Option<HopId>),
    ) -> Grant<()> {
        let expires_at = ends.plus_ms(crate::base::limits::CLOCK_SKEW_MS);
        let delegation = delegation.filter(|id| cx.view.state.delegation(id).is_some());
        self.revoking(cx, Revocation::Hop(*id), expires_at, delegation)
    }

    fn revoking(
        &self,
        cx: &Context<'_>,
        revocation: Revocation,
        expires_at: UnixMillis,
        delegation: Option<HopId>,
    ) -> Grant<()> {
        let target = self.target.to_string();
        let body = Body::Revoked { kind: self.target.kind(), target, reason: self.reason.clone() };
        // Of two who ask at once the second finds it revoked.
        let grant = Grant::read(()).not_revoked([revocation.clone()]);
        let grant = grant.changing([Mutation::Revoke { revocation, expires_at }]);
        match delegation {
            Some(delegation) => grant.recording_in(delegation, cx.caller, body),
            None => grant.recording(cx.caller, body),
        }
    }
}

/// A principal whose authority was revoked comes back: new authority may be issued for it. What was issued
/// up to then stays revoked, and the sessions that are by words from before end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePrincipal {
    /// Whom.
    pub principal: Principal,
    /// Why.
    pub reason: String,
}

/// A principal is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When: what was issued up to then stays revoked.
    pub at: UnixMillis,
    /// From when something may be issued for it again: the next whole second, as tokens say seconds.
    pub issues_from: UnixMillis,
}

impl Operation for RestorePrincipal {
    type Granted = Restored;
    const METHOD: &'static str = "/sublet.v1.Revocation/RestorePrincipal";

    fn describe(&self) -> String {
        format!("restore {}: {}", self.principal, self.reason)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Restored> {
        cx.admin_only()?;
        let revoked = cx.view.state.revoked(&Revocation::Principal(self.principal.clone()));
        let not_found = || Deny::NotFound(format!("a revocation of principal {}", self.principal));
        let revoked = revoked.ok_or_else(not_found)?;
        // What is alive again is told apart by its time.
        let last = cx.view.state.last_issued_for(&self.principal);
        if revoked.at >= cx.now || last.is_some_and(|last| last > cx.now) {
            return Err(Deny::OutOfRange(
                "the broker's clock is not past the time of what was issued and is revoked",
            ));
        }
        let mut ended = Grant::read((0, 0));
        let of_principal = |session: &&Session| session.principal.as_ref() == Some(&self.principal);
        for session in cx.view.state.sessions().filter(of_principal).filter(|session| session.live)
        {
            end(cx.view, &cx.caller.actor(), (session, cx.now), &self.reason, cx.now, &mut ended);
        }
        let restored = Restored {
            at: cx.now,
            issues_from: UnixMillis::from_seconds(cx.now.seconds().saturating_add(1)),
        };
        // All that it still ends is over after the longest life of a token.
        let revocation = Revocation::PrincipalRestored(self.principal.clone());
        let body = Body::PrincipalRestored {
            principal: self.principal.clone(),
            reason: self.reason.clone(),
        };
        let grant = ended
            .with(restored)
            .requiring([Precondition::PrincipalRevoked(self.principal.clone())]);
        let grant = grant.changing([Mutation::Revoke { revocation, expires_at: horizon(cx.now) }]);
        Ok(grant.recording(cx.caller, body))
    }
}

/// A hop as a verified chain shows it.
struct Shown {
    /// The chain up to and with the hop.
    token: VerifiedToken,
    parent: Option<(HopId, Holder)>,
}

impl Shown {
    fn of(chain: &VerifiedToken, id: &HopId) -> Option<Self> {
        let position = chain.hops().position(|(hop, _)| hop == *id)?;
        let parent = position.checked_sub(1).and_then(|before| chain.prefix(before));
        let parent = parent.map(|parent| (parent.id(), parent.holder()));
        Some(Shown { token: chain.prefix(position)?, parent })
    }
}

/// Whether the caller holds the hop or made it. A helper is known by its token, not by its name,
/// which may stand in other delegations too.
fn is_party(caller: &Caller, hop: (HopId, &Holder), parent: Option<(HopId, &Holder)>) -> bool {
    let is = |(id, holder): (HopId, &Holder)| match caller.kind() {
        Kind::Agent(identity) => *holder == identity.holder(),
        Kind::Holder(token) => id == token.id(),
        Kind::Admin | Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => false,
    };
    is(hop) || parent.is_some_and(is)
}
