//! The broker's checks of a chain: who holds it, and whether its caller is still valid. SPEC 5.4,
//! 5.8.
//!
//! Owns: comparing a chain with the broker's state. Does not own: whether a chain is revoked or
//! expired (`alive`), which tools check too.

use crate::base::id::{Principal, UnixMillis};
use crate::decide::View;
use crate::decide::agent::kept_identity::keeps_an_identity;
use crate::decide::caller::{Caller, Kind};
use crate::refusal::{Deny, Unauthenticated};
use crate::revocation::alive::{Revocations, check_revocations_but_of_the_root};
pub(in crate::decide) use crate::revocation::alive::{check_revocations, check_time};
use crate::revocation::feed::Revocation;
use crate::state::{Agent, AgentState, Precondition, State};
use crate::token::verify::VerifiedToken;

impl Revocations for State {
    fn is_revoked(&self, revocation: &Revocation) -> bool {
        self.revoked(revocation).is_some()
    }

    fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool {
        State::ends(self, principal, issued_at)
    }
}

/// Returns the condition that the principal of a chain is not revoked at the commit; `None` for an
/// identity.
pub(in crate::decide) fn principal_alive(token: &VerifiedToken) -> Option<Precondition> {
    let principal = token.principal()?.clone();
    Some(Precondition::PrincipalAlive(principal, token.issued_at()))
}

/// Returns the same condition for the caller's own token.
pub(in crate::decide) fn principal_of_caller(caller: &Caller) -> Option<Precondition> {
    match caller.kind() {
        Kind::Admin | Kind::NewKey(_) | Kind::User(_) => None,
        Kind::Agent(token) | Kind::Holder(token) | Kind::Tainted(token) => principal_alive(token),
    }
}

/// Returns the other subjects of [`check_revocations`], none of which may be revoked at the commit.
pub(in crate::decide) fn subjects(token: &VerifiedToken) -> impl Iterator<Item = Revocation> {
    let root = Revocation::RootKey(token.root_key().thumbprint());
    std::iter::once(root).chain(subjects_but_the_root(token))
}

fn subjects_but_the_root(token: &VerifiedToken) -> impl Iterator<Item = Revocation> {
    token.hops().zip(token.thumbprints()).flat_map(|((id, signed), key)| {
        let agent = signed.block().agent.clone();
        [Revocation::Hop(id), Revocation::AgentSuspended(agent), Revocation::AgentKey(*key)]
    })
}

/// Returns the same subjects for the caller's own token.
pub(in crate::decide) fn subjects_of_caller(caller: &Caller) -> Vec<Revocation> {
    match caller.kind() {
        Kind::Admin | Kind::NewKey(_) | Kind::User(_) => Vec::new(),
        Kind::Agent(token) | Kind::Holder(token) => subjects(token).collect(),
        Kind::Tainted(token) => subjects_but_the_root(token).collect(),
    }
}

/// Refuses a chain that names an agent without proof that it holds its hop: each hop to an enrolled
/// agent must be recorded, or go to a key that was that agent's at some time. Anyone who has a
/// token can append a hop in any agent's name with a key of its own, so nothing else may be
/// recorded in that name. SPEC 5.8.
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

/// Refuses a holder that is an enrolled agent itself and proves the call with a former key: the
/// token's last key must be the agent's current one, or its previous one within `KEY_CHANGE_MS`. An
/// agent that rotated shows its identity instead, and is recognised by name. SPEC 5.4.3. A revoked
/// key passes here; the decision refuses it, with the reason.
pub fn check_holder_key(
    token: &VerifiedToken,
    state: &State,
    now: UnixMillis,
) -> Result<(), Unauthenticated> {
    let holder = token.holder();
    if holder.helper.is_some() {
        // A helper's key belongs to this token only.
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

/// Refuses a caller that is no longer valid: a suspended agent, an identity under a key that is
/// neither the agent's current nor its previous one or that is revoked, a helper of a chain that is
/// revoked or has expired.
pub(in crate::decide) fn check_caller(
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
        return Err(Deny::AgentNotActive { agent: id.clone(), state: agent.state.name() });
    }
    if has(agent) { Ok(()) } else { Err(Deny::NotTheAgentsKey { hop: 0, agent: id.clone() }) }
}
