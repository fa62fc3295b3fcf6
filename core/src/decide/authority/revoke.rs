//! Revoking: what each caller may revoke. SPEC 7.2.
//!
//! The admin may revoke anything; a delegator the hops that it made; a holder its own. One row ends
//! a hop and everything below it. Only a principal can be restored, for what is issued afterwards.

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

/// The subject of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A hop and everything below it.
    Hop(HopId),
    /// A delegation: hop 0 and everything below it.
    Delegation(HopId),
    /// An agent, which is suspended.
    Agent(AgentId),
    /// A key, for ever.
    Key(Thumbprint),
    /// A principal's authority.
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

/// A request for a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// The subject.
    pub target: Target,
    /// The reason, as text.
    pub reason: String,
    /// A chain that proves the caller's right to revoke, for a hop that is not recorded; `None`
    /// otherwise.
    pub chain: Option<Arc<VerifiedToken>>,
}

impl Operation for Revoke {
    /// Whether the broker has a record of the subject. The subject is revoked in either case.
    type Granted = bool;
    const METHOD: &'static str = "/sublet.v1.Revocation/Revoke";
    const KEEPS: Keeps = Keeps::Nothing;

    fn describe(&self) -> String {
        format!("revoke {} {}: {}", self.target.kind(), self.target, self.reason)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<bool> {
        match &self.target {
            Target::Hop(id) | Target::Delegation(id) => self.hop(cx, id),
            _ if !cx.caller.is_admin() => Err(Deny::RevokeForbidden),
            // An unknown agent is refused.
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
                // A principal's revocation does not expire.
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
            // A hop that the caller may not see gets the same answer as one that does not exist.
            return Err(Deny::RevokeForbidden);
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
            // The admin's request is accepted: everything that the hop could end has expired after
            // the longest life of a token.
            (None, None) => Ok(self.grant(cx, id, (horizon(cx.now), None)).with(false)),
        }
    }

    /// Records a hop that was never recorded before it is revoked, so that no more hops can be
    /// revoked than may be recorded. If it cannot be recorded, the admin's request is accepted, and
    /// any other caller must revoke the hop above it.
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

    /// Revokes a hop that is not revoked yet, until everything below it has expired.
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
        // Of two concurrent requests the second finds it revoked.
        let grant = Grant::read(()).not_revoked([revocation.clone()]);
        let grant = grant.changing([Mutation::Revoke { revocation, expires_at }]);
        match delegation {
            Some(delegation) => grant.recording_in(delegation, cx.caller, body),
            None => grant.recording(cx.caller, body),
        }
    }
}

/// Restores a revoked principal: new authority may be issued for it. What was issued before stays
/// revoked, and sessions by earlier consent end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePrincipal {
    /// The principal.
    pub principal: Principal,
    /// The reason, as text.
    pub reason: String,
}

/// The result of restoring a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When it was restored. What was issued up to then stays revoked.
    pub at: UnixMillis,
    /// From when on something may be issued for it: the next whole second, as tokens state seconds.
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
        // The times tell what is valid again.
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
        // Everything that it still ends has expired after the longest life of a token.
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

/// A hop, as a verified chain shows it.
struct Shown {
    /// The chain up to and including the hop.
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

/// Returns whether the caller holds the hop or made it. A helper is recognised by its token and not
/// by its name, which may also occur in other delegations.
fn is_party(caller: &Caller, hop: (HopId, &Holder), parent: Option<(HopId, &Holder)>) -> bool {
    let is = |(id, holder): (HopId, &Holder)| match caller.kind() {
        Kind::Agent(identity) => *holder == identity.holder(),
        Kind::Holder(token) => id == token.id(),
        Kind::Admin | Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => false,
    };
    is(hop) || parent.is_some_and(is)
}
