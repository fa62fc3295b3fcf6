//! Deny: the request was understood and refused. This is the exhaustive list. SPEC section 8.
//!
//! Owns: each refusal with what was asked, what is held and at which hop, its message and its code.
//! Does not own: the other kinds of refusal.

use crate::base::id::{AgentId, HopId, Principal};
use crate::base::utc::utc;
use crate::capability::Excess;
use crate::state::rows::session::SessionId;
use crate::trust::bundle::KeyId;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Deny {
    // A call at a tool, and everything else that rests on a chain.
    /// A block of the chain is not valid yet.
    #[error("hop {hop} is valid only from {}", utc(*from))]
    NotYetValid {
        /// The position of the hop, 0 for the root.
        hop: usize,
        /// The start of its validity, in seconds since 1970.
        from: i64,
    },
    /// A block of the chain has expired.
    #[error("hop {hop} expired at {}", utc(*at))]
    Expired {
        /// The position of the hop, 0 for the root.
        hop: usize,
        /// When it expired, in seconds since 1970.
        at: i64,
    },
    /// The chain has more hops than a block of it allows.
    #[error("the token has {hops} hops, hop {hop} allows {allowed}")]
    TooDeep {
        /// The number of hops.
        hops: u32,
        /// The position of the hop that sets the limit.
        hop: usize,
        /// The limit.
        allowed: u32,
    },
    /// More hops are without a receipt than a block of the chain allows.
    #[error(
        "{unrecorded} hops are not recorded, hop {hop} allows {allowed}: record the chain and present its receipt"
    )]
    Unrecorded {
        /// The number of hops without a receipt.
        unrecorded: u32,
        /// The position of the hop that sets the limit.
        hop: usize,
        /// The limit.
        allowed: u32,
    },
    /// No receipt covers a hop to an enrolled agent.
    #[error(
        "hop {hop} delegates to the enrolled agent {agent} and is not recorded: record it, and present its receipt"
    )]
    UnrecordedAgentHop {
        /// The position of the hop.
        hop: usize,
        /// The agent that it names.
        agent: AgentId,
    },
    /// No capability of a block admits the call.
    #[error("hop {hop} does not allow this call: {detail}")]
    NotAllowed {
        /// The position of the hop.
        hop: usize,
        /// What was asked and what is held.
        detail: String,
    },
    /// A hop was revoked, and so everything below it.
    #[error("hop {hop} ({id}) was revoked")]
    HopRevoked {
        /// The position of the hop.
        hop: usize,
        /// The id of the hop.
        id: HopId,
    },
    /// An agent of the chain is suspended.
    #[error("{agent}, holder at hop {hop}, is suspended")]
    AgentSuspended {
        /// The position of its hop.
        hop: usize,
        /// The agent.
        agent: AgentId,
    },
    /// A key of the chain was revoked for ever.
    #[error("the key of {agent} at hop {hop} was revoked")]
    KeyRevoked {
        /// The position of the key's hop.
        hop: usize,
        /// The agent of the key.
        agent: AgentId,
    },
    /// The root key was revoked.
    #[error("the root key that signed this token was revoked")]
    RootRevoked,
    /// The principal's authority was revoked: all of it, or what was issued before it was restored.
    #[error("the authority of {principal} was revoked; what was issued before its return stays so")]
    PrincipalRevoked {
        /// The principal.
        principal: Principal,
    },
    /// The revocation view is too old to decide with.
    #[error("{}", stale(.age_ms, .bound_ms))]
    StaleView {
        /// The age of the view in milliseconds; `None` when there is no view.
        age_ms: Option<i64>,
        /// The greatest age that is accepted, in milliseconds.
        bound_ms: i64,
    },

    // Delegation.
    /// The hop asks for more than its parent holds.
    #[error("{} asks for {} {}; hop {hop} holds {}: {}", exceeds.capability, exceeds.part, exceeds.asked, exceeds.held, exceeds.advice())]
    ScopeExceeds {
        /// Which part of which capability exceeds what is held.
        exceeds: Excess,
        /// The position of the parent.
        hop: usize,
    },
    /// The hop would expire after its parent.
    #[error("the child asks to live until {}, {} s longer than hop {hop}, which ends at {}", utc(*asked), asked.saturating_sub(*held), utc(*held))]
    OutlivesParent {
        /// The end that was asked for, in seconds since 1970.
        asked: i64,
        /// The end of the parent, in seconds since 1970.
        held: i64,
        /// The position of the parent.
        hop: usize,
    },
    /// The lifetime that was asked for is empty.
    #[error("the lifetime that was asked for is empty")]
    EmptyWindow,
    /// The hop asks for more further hops than its parent allows.
    #[error("the child asks for {asked} hops in all, hop {hop} holds {held}")]
    HopsExceed {
        /// The number that was asked for.
        asked: u32,
        /// The number that the parent allows.
        held: u32,
        /// The position of the parent.
        hop: usize,
    },
    /// The parent allows no further hop.
    #[error("hop {hop} allows {allowed} hops, this would be hop {next}")]
    NoHopsLeft {
        /// The position of the hop that sets the limit.
        hop: usize,
        /// The limit.
        allowed: u32,
        /// The position of the new hop.
        next: u32,
    },
    /// The verifier requires proof that every hop is in the ledger, and it is missing for one.
    #[error("hop {hop} is not shown to be in the ledger: {detail}")]
    NotInLog {
        /// The position of the hop.
        hop: usize,
        /// What is missing.
        detail: String,
    },
    /// The fan-out of the parent is reached.
    #[error("{followers} hops are directly below hop {hop}, the delegation allows {allowed}")]
    FanOut {
        /// The position of the parent.
        hop: usize,
        /// The number of live hops directly below it.
        followers: u32,
        /// The limit.
        allowed: u32,
    },
    /// The agent has made as many live hops as it may.
    #[error(
        "{agent} and its helpers have made {live} hops that live, at most {allowed} are kept: wait until some have expired, or delegate for a shorter time"
    )]
    TooManyHops {
        /// The agent, which is responsible for its helpers.
        agent: AgentId,
        /// The number of live hops.
        live: u32,
        /// The limit.
        allowed: u32,
    },
    /// A hop that was never recorded cannot be recorded now, so it cannot be revoked by itself.
    #[error(
        "this hop was never recorded, and cannot be now ({why}): revoke hop {instead}, the nearest recorded hop above it"
    )]
    RevokeAbove {
        /// Why it cannot be recorded.
        why: String,
        /// The nearest recorded hop above it.
        instead: HopId,
    },
    /// The hop asks for more hops without a receipt than its parent allows.
    #[error("the child asks for {asked} unrecorded hops, hop {hop} holds {held}")]
    UnrecordedExceed {
        /// The number that was asked for.
        asked: u32,
        /// The number that the parent allows.
        held: u32,
        /// The position of the parent.
        hop: usize,
    },
    /// The caller is not the holder that the chain names.
    #[error("the token is held by {holder}, and the caller is {caller}")]
    NotTheHolder {
        /// The holder of the parent.
        holder: String,
        /// The caller.
        caller: String,
    },
    /// The next key is not the current key of the named agent.
    #[error("hop {hop} names {agent} with a key that is not its current key")]
    NotTheAgentsKey {
        /// The position of the hop.
        hop: usize,
        /// The named agent.
        agent: AgentId,
    },
    /// A helper's key belongs to an enrolled agent.
    #[error("hop {hop} gives a helper a key that belongs to {agent}")]
    HelperKeyInUse {
        /// The position of the hop.
        hop: usize,
        /// The agent of the key.
        agent: AgentId,
    },
    /// The broker's ledger has no record of the root of the chain.
    #[error("the delegation {id} is not one that this broker issued")]
    UnknownDelegation {
        /// The id of the delegation.
        id: HopId,
    },
    /// The chain has no hop to record or to delegate.
    #[error("the chain has no hop after its root")]
    HopNotFound,

    // Issue.
    /// There is no such agent.
    #[error("no agent {agent} is known here")]
    UnknownAgent {
        /// The agent.
        agent: AgentId,
    },
    /// The agent's profile does not exist.
    #[error("the profile {profile:?} of {agent} does not exist")]
    UnknownProfile {
        /// The name of the profile.
        profile: String,
        /// The agent.
        agent: AgentId,
    },
    /// The profile does not allow the agent to act for this principal.
    #[error(
        "the profile {profile:?} does not let {agent} act on behalf of {principal}; it allows {allowed}"
    )]
    PrincipalNotAllowed {
        /// The name of the profile.
        profile: String,
        /// The agent.
        agent: AgentId,
        /// The principal.
        principal: Principal,
        /// The principals that the profile allows, as text.
        allowed: String,
    },
    /// The profile has a lower limit.
    #[error("{asked} {what} asked, the profile {profile:?} allows {allowed}")]
    ProfileLimit {
        /// What is limited: `seconds`, `hops`, `offline hops`.
        what: &'static str,
        /// The number that was asked for.
        asked: i64,
        /// The limit.
        allowed: i64,
        /// The name of the profile.
        profile: String,
    },
    /// The scope exceeds the profile's.
    #[error("{} asks for {} {}; the profile {profile:?} holds {}: {}", exceeds.capability, exceeds.part, exceeds.asked, exceeds.held, exceeds.advice())]
    ProfileScope {
        /// Which part of which capability exceeds what the profile has.
        exceeds: Excess,
        /// The name of the profile.
        profile: String,
    },

    // Identity.
    /// The join token is not accepted.
    #[error("the join token {0}")]
    JoinToken(BadJoinToken),
    /// An agent enrolled with this credential before.
    #[error("an agent enrolled with this token before: ask its issuer for another")]
    CredentialUsed,
    /// No enrollment rule matches the workload, or more than one.
    #[error("the token of {issuer} enrolls no agent: {detail}")]
    NotEnrollable {
        /// The issuer of the workload's token.
        issuer: String,
        /// Why no agent follows from it.
        detail: String,
    },
    /// The key belongs, or belonged, to an agent.
    #[error("the key belongs, or belonged, to another agent; make a new one")]
    KeyInUse,
    /// Another party renewed this identity token, so somebody has a copy of the agent's key.
    #[error(
        "another party with the same key has renewed the identity of {agent}; the agent is suspended"
    )]
    IdentityCloned {
        /// The agent.
        agent: AgentId,
    },
    /// The state of the agent does not allow this.
    #[error("{agent} is {state}")]
    AgentNotActive {
        /// The agent.
        agent: AgentId,
        /// Its state.
        state: &'static str,
    },

    // Administration and revocation.
    /// It exists already, with other content; the text names it.
    #[error("{0} exists already")]
    Exists(String),
    /// It does not exist, or the caller may not learn that it does; the text names it.
    #[error("no {0} is known here")]
    NotFound(String),
    /// The caller may not revoke this.
    #[error("the caller may revoke hops that it made or holds, not this")]
    RevokeForbidden,
    /// The idempotency key was used with another request.
    #[error("this idempotency key was used with another request")]
    IdempotencyConflict,
    /// The request was granted before, and its secret is shown only once.
    #[error(
        "this was done before with the same idempotency key, and its secret is shown only once: create another"
    )]
    SecretShownOnce,
    /// A legal hold covers the record.
    #[error("record {record} is under the legal hold {hold:?}: remove the hold first")]
    UnderHold {
        /// The index of the record.
        record: u64,
        /// The name of the legal hold.
        hold: String,
    },
    /// The profile alone is not enough; a user's token or a session is needed.
    #[error(
        "the profile {profile:?} requires the user's own token, or a session that the admin granted"
    )]
    ConsentNeeded {
        /// The name of the profile.
        profile: String,
    },
    /// The user's token, or the session, is of another principal.
    #[error("{asked} was asked for, but the user's token or session is of {proven}")]
    PrincipalNotProven {
        /// The principal that was asked for.
        asked: Principal,
        /// The principal of the token or session.
        proven: Principal,
    },
    /// The delegation would expire after the consent that it rests on.
    #[error("{asked} s were asked for; the user's token or session allows at most {allowed} s")]
    OutlivesConsent {
        /// The lifetime that was asked for, in seconds.
        asked: i64,
        /// The greatest lifetime that would be granted, in seconds.
        allowed: i64,
    },
    /// The session of the consent has ended.
    #[error(
        "session {session} has ended: the user must log in again, or the admin grant a new session"
    )]
    SessionEnded {
        /// The id of the session.
        session: SessionId,
    },
    /// The session has as many live delegations as it may.
    #[error("session {session} has {most} live delegations, the most that one session may have")]
    SessionFull {
        /// The id of the session.
        session: SessionId,
        /// The limit.
        most: usize,
    },
    /// A key of the broker cannot take this step.
    #[error("{detail}")]
    KeyStep {
        /// Why not, as text.
        detail: String,
    },
    /// A prepared key of the broker is activated before the time that was published.
    #[error(
        "key {key} may sign only from {}, so that verifiers learn of it before", utc(*from)
    )]
    KeyTooSoon {
        /// The number of the key.
        key: KeyId,
        /// The published start, in seconds since 1970.
        from: i64,
    },
    /// The delegation would expire after the key that signs it.
    #[error("{asked} s were asked for; the broker's key {key} allows at most {allowed} s")]
    OutlivesKey {
        /// The number of the key.
        key: KeyId,
        /// The lifetime that was asked for, in seconds.
        asked: i64,
        /// The greatest lifetime that would be granted, in seconds.
        allowed: i64,
    },
    /// The broker has no active key of this use.
    #[error("the broker has no active {0} key")]
    NoBrokerKey(&'static str),
    /// The caller may not do this; the text names why.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A value is outside of its range; the text names which.
    #[error("{0}")]
    OutOfRange(&'static str),
}

fn stale(age_ms: &Option<i64>, bound_ms: &i64) -> String {
    match age_ms {
        Some(age_ms) => {
            format!("the revocation view is {age_ms} ms old, at most {bound_ms} ms are allowed")
        }
        None => format!("there is no revocation view, and one of at most {bound_ms} ms is needed"),
    }
}

/// Why a join token is not accepted. A caller without the secret learns only that the token is
/// unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJoinToken {
    /// There is no such join token, or the secret is wrong.
    #[error("is not known to this broker")]
    Unknown,
    /// It was used before.
    #[error("was used before; if not by this agent, then by somebody who had a copy of it")]
    Used,
    /// The admin revoked it.
    #[error("was revoked")]
    Revoked,
    /// It has expired.
    #[error("has expired")]
    Expired,
    /// It is for another agent.
    #[error("is for another agent")]
    OfAnother,
}

impl BadJoinToken {
    /// Returns the stable code.
    pub fn code(self) -> &'static str {
        match self {
            BadJoinToken::Unknown => "join_token",
            BadJoinToken::Used => "join_token_used",
            BadJoinToken::Revoked => "join_token_revoked",
            BadJoinToken::Expired => "join_token_expired",
            BadJoinToken::OfAnother => "join_token_of_another",
        }
    }
}

impl Deny {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Deny::NotYetValid { .. } => "not_yet_valid",
            Deny::Expired { .. } => "expired",
            Deny::TooDeep { .. } => "too_deep",
            Deny::Unrecorded { .. } => "unrecorded_hops",
            Deny::UnrecordedAgentHop { .. } => "unrecorded_agent_hop",
            Deny::NotAllowed { .. } => "not_allowed",
            Deny::HopRevoked { .. } => "hop_revoked",
            Deny::AgentSuspended { .. } => "agent_suspended",
            Deny::KeyRevoked { .. } => "key_revoked",
            Deny::RootRevoked => "root_revoked",
            Deny::PrincipalRevoked { .. } => "principal_revoked",
            Deny::StaleView { .. } => "stale_view",
            Deny::ScopeExceeds { .. } => "scope_exceeds_parent",
            Deny::OutlivesParent { .. } => "outlives_parent",
            Deny::EmptyWindow => "empty_window",
            Deny::HopsExceed { .. } => "hops_exceed_parent",
            Deny::NoHopsLeft { .. } => "no_hops_left",
            Deny::NotInLog { .. } => "not_in_log",
            Deny::FanOut { .. } => "fan_out_exceeded",
            Deny::TooManyHops { .. } => "hops_full",
            Deny::RevokeAbove { .. } => "revoke_above",
            Deny::UnrecordedExceed { .. } => "unrecorded_exceed_parent",
            Deny::NotTheHolder { .. } => "not_the_holder",
            Deny::NotTheAgentsKey { .. } => "not_the_agents_key",
            Deny::HelperKeyInUse { .. } => "key_in_use",
            Deny::UnknownDelegation { .. } => "unknown_delegation",
            Deny::HopNotFound => "hop_not_found",
            Deny::UnknownAgent { .. } => "unknown_agent",
            Deny::UnknownProfile { .. } => "unknown_profile",
            Deny::PrincipalNotAllowed { .. } => "principal_not_allowed",
            Deny::ProfileLimit { .. } => "profile_limit",
            Deny::ProfileScope { .. } => "scope_exceeds_profile",
            Deny::JoinToken(bad) => bad.code(),
            Deny::CredentialUsed => "credential_used",
            Deny::NotEnrollable { .. } => "not_enrollable",
            Deny::KeyInUse => "key_in_use",
            Deny::IdentityCloned { .. } => "identity_cloned",
            Deny::AgentNotActive { .. } => "agent_not_active",
            Deny::Exists(_) => "already_exists",
            Deny::NotFound(_) => "not_found",
            Deny::RevokeForbidden => "revoke_forbidden",
            Deny::IdempotencyConflict => "idempotency_conflict",
            Deny::SecretShownOnce => "secret_shown_once",
            Deny::UnderHold { .. } => "under_hold",
            Deny::ConsentNeeded { .. } => "consent_needed",
            Deny::PrincipalNotProven { .. } => "principal_not_proven",
            Deny::OutlivesConsent { .. } => "outlives_consent",
            Deny::SessionEnded { .. } => "session_ended",
            Deny::SessionFull { .. } => "session_full",
            Deny::KeyStep { .. } => "key_step",
            Deny::KeyTooSoon { .. } => "key_too_soon",
            Deny::OutlivesKey { .. } => "outlives_key",
            Deny::NoBrokerKey(_) => "no_broker_key",
            Deny::Forbidden(_) => "forbidden",
            Deny::OutOfRange(_) => "value_out_of_range",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_is_too_old_says_how_old_it_is() {
        let detail = |age_ms| Deny::StaleView { age_ms, bound_ms: 10_000 }.to_string();
        let old = "the revocation view is 12000 ms old, at most 10000 ms are allowed";
        assert_eq!(detail(Some(12_000)), old);
        assert_eq!(
            detail(None),
            "there is no revocation view, and one of at most 10000 ms is needed"
        );
    }
}
