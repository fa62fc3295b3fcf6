//! Is a chain alive? Time and revocation, asked of every hop. SPEC 7.1: P2.
//!
//! One function, over whatever knows revocations: the broker's state or a verifier's view.

use super::View;
use super::kept_identity::keeps_an_identity;
use crate::caller::{Caller, Kind};
use crate::feed::{Revocation, RevocationView};
use crate::id::{Principal, UnixMillis};
use crate::no::{Deny, Unauthenticated};
use crate::state::{Agent, AgentState, Precondition, State};
use crate::verify::VerifiedToken;

/// Something that knows what was revoked.
pub(super) trait Revocations {
    /// Whether this is revoked now.
    fn is_revoked(&self, revocation: &Revocation) -> bool;
    /// Whether what was issued for a principal at this time is revoked now.
    fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool;
}

impl Revocations for State {
    fn is_revoked(&self, revocation: &Revocation) -> bool {
        self.revoked(revocation).is_some()
    }

    fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool {
        State::ends(self, principal, issued_at)
    }
}

impl Revocations for RevocationView {
    fn is_revoked(&self, revocation: &Revocation) -> bool {
        RevocationView::is_revoked(self, revocation)
    }

    fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool {
        RevocationView::ends(self, principal, issued_at)
    }
}

/// Refuses a chain that has not begun, or of which any hop is over.
pub(super) fn check_time(token: &VerifiedToken, now: UnixMillis) -> Result<(), Deny> {
    let second = now.seconds();
    let from = token.window().not_before;
    if second < from {
        return Err(Deny::NotYetValid { hop: 0, from });
    }
    for (hop, signed) in token.signed_blocks().iter().enumerate() {
        let at = signed.block().not_after;
        if second >= at {
            return Err(Deny::Expired { hop, at });
        }
    }
    Ok(())
}

/// Refuses a chain of which anything was revoked: a hop, an agent, a key, the principal, the root.
pub(super) fn check_revocations(
    token: &VerifiedToken,
    known: &dyn Revocations,
) -> Result<(), Deny> {
    if known.is_revoked(&Revocation::RootKey(token.root_key().thumbprint())) {
        return Err(Deny::RootRevoked);
    }
    check_revocations_but_of_the_root(token, known)
}

/// That the authority behind a chain is not revoked until it is committed; an identity has none.
pub(super) fn principal_alive(token: &VerifiedToken) -> Option<Precondition> {
    let principal = token.principal()?.clone();
    Some(Precondition::PrincipalAlive(principal, token.issued_at()))
}

/// The same of a caller's own token.
pub(super) fn principal_of_caller(caller: &Caller) -> Option<Precondition> {
    match caller.kind() {
        Kind::Admin | Kind::NewKey(_) | Kind::User(_) => None,
        Kind::Agent(token) | Kind::Holder(token) | Kind::Tainted(token) => principal_alive(token),
    }
}

/// All else that [`check_revocations`] asks of a chain: what must not be revoked until it is committed.
pub(super) fn subjects(token: &VerifiedToken) -> impl Iterator<Item = Revocation> {
    let root = Revocation::RootKey(token.root_key().thumbprint());
    std::iter::once(root).chain(subjects_but_the_root(token))
}

fn subjects_but_the_root(token: &VerifiedToken) -> impl Iterator<Item = Revocation> {
    token.hops().zip(token.thumbprints()).flat_map(|((id, signed), key)| {
        let agent = signed.block().agent.clone();
        [Revocation::Hop(id), Revocation::AgentSuspended(agent), Revocation::AgentKey(*key)]
    })
}

/// The same of a caller's own token.
pub(super) fn subjects_of_caller(caller: &Caller) -> Vec<Revocation> {
    match caller.kind() {
        Kind::Admin | Kind::NewKey(_) | Kind::User(_) => Vec::new(),
        Kind::Agent(token) | Kind::Holder(token) => subjects(token).collect(),
        Kind::Tainted(token) => subjects_but_the_root(token).collect(),
    }
}

/// Refuses a chain in which an agent is named that nothing shows to hold it: each hop to an enrolled
/// agent must be recorded, or go to a key that was that agent's at some time. Whoever has a token can append a
/// hop in any agent's name with a key of its own, so nothing else is recorded in that name. SPEC 5.8.
pub fn check_names(token: &VerifiedToken, state: &State) -> Result<(), Unauthenticated> {
    for (hop, ((id, signed), key)) in token.hops().zip(token.thumbprints()).enumerate() {
        let agent = &signed.block().agent;
        // A helper's agent is that of the hop before it.
        let is_helper = signed.block().helper.is_some();
        let owns = || state.key_owner(key).is_some_and(|owner| owner.agent == *agent);
        if !is_helper && state.hop(&id).is_none() && !owns() {
            return Err(Unauthenticated::AgentNotProven { hop, agent: agent.clone() });
        }
    }
    Ok(())
}

/// Refuses a holder that is an enrolled agent itself and proves the call with a key that it has no more: the
/// token's last key must be its current one, or the one that it had until a moment ago. An agent that has
/// changed its key shows its identity instead, and is known by name. SPEC 5.4.3. What is revoked is for the
/// decision, which says so.
pub fn check_holder_key(
    token: &VerifiedToken,
    state: &State,
    now: UnixMillis,
) -> Result<(), Unauthenticated> {
    let holder = token.holder();
    if holder.helper.is_some() {
        // Its key belongs to this token alone.
        return Ok(());
    }
    let key = token.holder_key();
    let has = state.agent(&holder.agent).is_some_and(|agent| agent.has(key, now));
    let thumbprint = key.thumbprint();
    if has || state.is_revoked(&Revocation::AgentKey(thumbprint)) {
        return Ok(());
    }
    Err(Unauthenticated::FormerKey { agent: holder.agent, key: thumbprint })
}

fn check_revocations_but_of_the_root(
    token: &VerifiedToken,
    known: &dyn Revocations,
) -> Result<(), Deny> {
    let revoked = |principal: &&Principal| known.ends(principal, token.issued_at());
    if let Some(principal) = token.principal().filter(revoked) {
        return Err(Deny::PrincipalRevoked { principal: principal.clone() });
    }
    for (hop, ((id, signed), key)) in token.hops().zip(token.thumbprints()).enumerate() {
        let agent = &signed.block().agent;
        if known.is_revoked(&Revocation::Hop(id)) {
            return Err(Deny::HopRevoked { hop, id });
        }
        if known.is_revoked(&Revocation::AgentSuspended(agent.clone())) {
            return Err(Deny::AgentSuspended { hop, agent: agent.clone() });
        }
        if known.is_revoked(&Revocation::AgentKey(*key)) {
            return Err(Deny::KeyRevoked { hop, agent: agent.clone() });
        }
    }
    Ok(())
}

/// Refuses a caller that is no longer who it was: a suspended agent, an identity under a key that is
/// neither the agent's nor the one that it just had or that is revoked, a helper of a chain that is dead.
pub(super) fn check_caller(
    view: View<'_>,
    caller: &Caller,
    method: &str,
    now: UnixMillis,
) -> Result<(), Deny> {
    match caller.kind() {
        Kind::Admin | Kind::NewKey(_) | Kind::User(_) => Ok(()),
        Kind::Holder(token) => {
            let id = token.delegation();
            view.state.delegation(&id).ok_or(Deny::UnknownDelegation { id })?;
            check_time(token, now)?;
            check_revocations(token, view.state)
        }
        Kind::Agent(token) => {
            check_time(token, now)?;
            check_revocations(token, view.state)?;
            check_key(view, token, |agent| agent.has(token.holder_key(), now))
        }
        Kind::Tainted(_) if !keeps_an_identity(method) => Err(Deny::RootRevoked),
        Kind::Tainted(token) => {
            check_time(token, now)?;
            check_revocations_but_of_the_root(token, view.state)?;
            check_key(view, token, |agent| agent.key.as_ref() == Some(token.holder_key()))
        }
    }
}

fn check_key(
    view: View<'_>,
    identity: &VerifiedToken,
    has: impl Fn(&Agent) -> bool,
) -> Result<(), Deny> {
    let id = &identity.root().agent;
    let agent = view.state.agent(id).ok_or_else(|| Deny::UnknownAgent { agent: id.clone() })?;
    if agent.state != AgentState::Active {
        return Err(Deny::AgentState { agent: id.clone(), state: agent.state.name() });
    }
    if has(agent) { Ok(()) } else { Err(Deny::NotTheAgentsKey { hop: 0, agent: id.clone() }) }
}
