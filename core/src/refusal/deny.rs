//! What is understood, decided and refused: the one exhaustive list. SPEC section 8.
//!
//! Owns: each refusal with what was asked, what is held and at which hop, its words and its code.
//! Does not own: the other kinds of refusal.

use crate::base::id::{AgentId, HopId, Principal};
use crate::base::utc::utc;
use crate::capability::Excess;
use crate::state::rows::session::SessionId;
use crate::trust::bundle::KeyId;

/// Understood, decided, and refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Deny {
    // A call at a tool, and anything that rests on a chain.
    /// A block of the chain is not good yet.
    #[error("hop {hop} is good only from {}", utc(*from))]
    NotYetValid {
        /// Which hop, 0 for the root.
        hop: usize,
        /// From when.
        from: i64,
    },
    /// A block of the chain is over.
    #[error("hop {hop} expired at {}", utc(*at))]
    Expired {
        /// Which hop.
        hop: usize,
        /// When.
        at: i64,
    },
    /// The chain is longer than a block of it allows.
    #[error("the token has {hops} hops, hop {hop} allows {allowed}")]
    TooDeep {
        /// Hops of the token.
        hops: u32,
        /// Which hop sets the limit.
        hop: usize,
        /// The limit.
        allowed: u32,
    },
    /// More hops without a receipt than a block of the chain allows.
    #[error(
        "{unrecorded} hops are not recorded, hop {hop} allows {allowed}: record the chain and present its receipt"
    )]
    Unrecorded {
        /// How many.
        unrecorded: u32,
        /// Which hop sets the limit.
        hop: usize,
        /// The limit.
        allowed: u32,
    },
    /// A hop to an enrolled agent that no receipt covers.
    #[error("hop {hop} hands the token to the enrolled agent {agent} and is not recorded")]
    UnrecordedAgentHop {
        /// Which hop.
        hop: usize,
        /// To whom.
        agent: AgentId,
    },
    /// No capability of a block admits the call.
    #[error("hop {hop} does not allow this call: {detail}")]
    NotAllowed {
        /// Which hop.
        hop: usize,
        /// What is asked and what is held.
        detail: String,
    },
    /// A hop, and with it everything below, was revoked.
    #[error("hop {hop} ({id}) was revoked")]
    HopRevoked {
        /// Which hop.
        hop: usize,
        /// Its id.
        id: HopId,
    },
    /// An agent of the chain is suspended.
    #[error("{agent}, holder at hop {hop}, is suspended")]
    AgentSuspended {
        /// Which hop.
        hop: usize,
        /// Who.
        agent: AgentId,
    },
    /// A key of the chain was revoked for ever.
    #[error("the key of {agent} at hop {hop} was revoked")]
    KeyRevoked {
        /// Which hop.
        hop: usize,
        /// Whose.
        agent: AgentId,
    },
    /// The root key was revoked.
    #[error("the root key that signed this token was revoked")]
    RootRevoked,
    /// The principal's authority was revoked: all of it, or what was issued before its return.
    #[error("the authority of {principal} was revoked; what was issued before its return stays so")]
    PrincipalRevoked {
        /// Whose.
        principal: Principal,
    },
    /// The revocation view is too old to decide on.
    #[error("{}", stale(.age_ms, .bound_ms))]
    StaleView {
        /// How old; `None` when there is none.
        age_ms: Option<i64>,
        /// The bound.
        bound_ms: i64,
    },

    // Delegation.
    /// The child asks for more than its parent holds.
    #[error("{} asks for {} {}; hop {hop} holds {}: {}", exceeds.capability, exceeds.part, exceeds.asked, exceeds.held, exceeds.advice())]
    ScopeExceeds {
        /// What exceeds what.
        exceeds: Excess,
        /// The hop that holds it.
        hop: usize,
    },
    /// The child wants to live longer than its parent.
    #[error("the child asks to live until {}, {} s longer than hop {hop}, which ends at {}", utc(*asked), asked.saturating_sub(*held), utc(*held))]
    OutlivesParent {
        /// The end that is asked, in seconds.
        asked: i64,
        /// The end that is held, in seconds.
        held: i64,
        /// The hop that holds it.
        hop: usize,
    },
    /// A window that is empty.
    #[error("the time asked for is empty")]
    EmptyWindow,
    /// The child wants to travel further than its parent may.
    #[error("the child asks for {asked} hops in all, hop {hop} holds {held}")]
    HopsExceed {
        /// What is asked.
        asked: u32,
        /// What is held.
        held: u32,
        /// The hop that holds it.
        hop: usize,
    },
    /// The parent may not travel on.
    #[error("hop {hop} allows {allowed} hops, this would be hop {next}")]
    NoHopsLeft {
        /// The hop that sets the limit.
        hop: usize,
        /// The limit.
        allowed: u32,
        /// What the new hop would be.
        next: u32,
    },
    /// The verifier demands that every hop is shown to be in the ledger, and one is not.
    #[error("hop {hop} is not shown to be in the ledger: {detail}")]
    NotInLog {
        /// Which.
        hop: usize,
        /// What is missing.
        detail: String,
    },
    /// As many hops follow the parent as may.
    #[error("{followers} hops follow hop {hop} already, the delegation allows {allowed}")]
    FanOut {
        /// The hop that was to be followed.
        hop: usize,
        /// How many follow it and live.
        followers: u32,
        /// How many may.
        allowed: u32,
    },
    /// The agent has made as many hops that live as it may.
    #[error(
        "{agent} and its helpers have made {live} hops that live, at most {allowed} are kept: wait until some have expired, or delegate for a shorter time"
    )]
    TooManyHops {
        /// Who made them.
        agent: AgentId,
        /// How many.
        live: u32,
        /// How many may.
        allowed: u32,
    },
    /// A hop that was never recorded cannot be recorded now, so it is not revoked by itself.
    #[error(
        "this hop was never recorded, and cannot be now ({why}): revoke hop {instead}, which is recorded and which it hangs on"
    )]
    RevokeAbove {
        /// Why it cannot be recorded.
        why: String,
        /// The nearest recorded hop above it.
        instead: HopId,
    },
    /// The child allows more hops without a receipt than its parent.
    #[error("the child asks for {asked} unrecorded hops, hop {hop} holds {held}")]
    UnrecordedExceed {
        /// What is asked.
        asked: u32,
        /// What is held.
        held: u32,
        /// The hop that holds it.
        hop: usize,
    },
    /// The caller is not the holder that the chain names.
    #[error("the token is held by {holder}, and the caller is {caller}")]
    NotTheHolder {
        /// Who holds the parent.
        holder: String,
        /// Who asks.
        caller: String,
    },
    /// The next key is not the current key of the agent named.
    #[error("hop {hop} names {agent} with a key that is not its current key")]
    NotTheAgentsKey {
        /// Which hop.
        hop: usize,
        /// Who is named.
        agent: AgentId,
    },
    /// A helper's key that belongs to an enrolled agent.
    #[error("hop {hop} gives a helper a key that belongs to {agent}")]
    KeyOfAnother {
        /// Which hop.
        hop: usize,
        /// Whose key it is.
        agent: AgentId,
    },
    /// The root of the chain is not in this broker's ledger.
    #[error("the delegation {id} is not one that this broker issued")]
    UnknownDelegation {
        /// Its id.
        id: HopId,
    },
    /// The chain has nothing to record or to delegate.
    #[error("the chain has no hop after its root")]
    NoHop,

    // Issue.
    /// No such agent.
    #[error("no agent {agent} is known here")]
    UnknownAgent {
        /// Who.
        agent: AgentId,
    },
    /// The agent's profile does not exist.
    #[error("the profile {profile:?} of {agent} does not exist")]
    UnknownProfile {
        /// Which.
        profile: String,
        /// Whose.
        agent: AgentId,
    },
    /// The profile does not let the agent act for this principal.
    #[error(
        "the profile {profile:?} does not let {agent} act on behalf of {principal}; it allows {allowed}"
    )]
    PrincipalNotAllowed {
        /// The profile.
        profile: String,
        /// Who asks.
        agent: AgentId,
        /// For whom.
        principal: Principal,
        /// What the profile allows.
        allowed: String,
    },
    /// The profile allows less.
    #[error("{asked} {what} asked, the profile {profile:?} allows {allowed}")]
    ProfileLimit {
        /// Of what: `seconds`, `hops`, `offline hops`.
        what: &'static str,
        /// What is asked.
        asked: i64,
        /// What is allowed.
        allowed: i64,
        /// The profile.
        profile: String,
    },
    /// The profile's ceiling is exceeded.
    #[error("{} asks for {} {}; the profile {profile:?} holds {}: {}", exceeds.capability, exceeds.part, exceeds.asked, exceeds.held, exceeds.advice())]
    ProfileScope {
        /// What exceeds what.
        exceeds: Excess,
        /// The profile.
        profile: String,
    },

    // Identity.
    /// The join token opens nothing.
    #[error("the join token {0}")]
    JoinToken(BadJoinToken),
    /// Somebody enrolled with this token before.
    #[error("this token was enrolled with before: ask its issuer for another")]
    CredentialUsed,
    /// No profile, or more than one, says which agent the workload is.
    #[error("the token of {issuer} enrols nobody: {detail}")]
    NotEnrollable {
        /// Whose token it is.
        issuer: String,
        /// Why not.
        detail: String,
    },
    /// The key belongs to somebody already, or did.
    #[error("the key belongs, or belonged, to another agent; make a new one")]
    KeyTaken,
    /// An identity that another has renewed since: somebody has a copy of the agent's key.
    #[error("another holder of its key has renewed the identity of {agent}; it is locked")]
    IdentityCloned {
        /// Whose.
        agent: AgentId,
    },
    /// The agent has the wrong state for this.
    #[error("{agent} is {state}")]
    AgentState {
        /// Who.
        agent: AgentId,
        /// Its state.
        state: &'static str,
    },

    // Admin and revocation.
    /// It exists already, with other content.
    #[error("{0} exists already")]
    Exists(String),
    /// It does not exist, or the caller may not know that it does.
    #[error("no {0} is known here")]
    NotFound(String),
    /// The caller may not revoke this.
    #[error("the caller may revoke hops that it made or holds, not this")]
    NotYoursToRevoke,
    /// The same idempotency key with another request.
    #[error("this idempotency key was used with another request")]
    IdempotencyConflict,
    /// A secret is shown once; the first answer had it.
    #[error(
        "this was done before with the same idempotency key, and its secret is shown only once: create another"
    )]
    SecretShownOnce,
    /// The record is kept, by a hold.
    #[error("record {record} is under the hold {hold:?}: release that first")]
    UnderHold {
        /// Which.
        record: u64,
        /// The hold.
        hold: String,
    },
    /// The agent's own word is not enough.
    #[error("the profile {profile:?} demands the user's own token, or an operator's session")]
    ConsentNeeded {
        /// The profile.
        profile: String,
    },
    /// The user's token, or the operator's session, is somebody else's.
    #[error("{asked} was asked for, and {proven} was proven")]
    PrincipalNotProven {
        /// Asked.
        asked: Principal,
        /// Proven.
        proven: Principal,
    },
    /// What is asked for would be good for longer than the word that it rests on.
    #[error(
        "{asked} s are longer than the user's token or the session is good: at most {allowed} s"
    )]
    OutlivesConsent {
        /// Asked.
        asked: i64,
        /// What would pass.
        allowed: i64,
    },
    /// The session that the word is of has ended.
    #[error(
        "session {session} has ended: the user must log in again, or the operator say so again"
    )]
    SessionEnded {
        /// Which.
        session: SessionId,
    },
    /// Too many delegations are alive in one session.
    #[error("session {session} has {most} live delegations, which is all that one may have")]
    SessionFull {
        /// Which.
        session: SessionId,
        /// The bound.
        most: usize,
    },
    /// A step that a broker key cannot take.
    #[error("{detail}")]
    KeyStep {
        /// Why not.
        detail: String,
    },
    /// A broker key that was announced for later.
    #[error(
        "key {key} was announced to sign from {}, so that everybody has heard of it", utc(*from)
    )]
    KeyTooSoon {
        /// Which.
        key: KeyId,
        /// From when.
        from: i64,
    },
    /// What is asked for would be good for longer than the key that signs it.
    #[error("{asked} s are longer than the broker's key {key} is good for: at most {allowed} s")]
    OutlivesKey {
        /// Which.
        key: KeyId,
        /// Asked.
        asked: i64,
        /// What would pass.
        allowed: i64,
    },
    /// No key of the broker signs this.
    #[error("the broker has no active {0} key")]
    NoBrokerKey(&'static str),
    /// The caller's role may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A value that was asked for lies outside of what is allowed for anybody.
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

/// Why a join token opens nothing. Whoever does not have the secret hears that there is none, whatever
/// became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJoinToken {
    /// No such one, or another secret.
    #[error("is none that this broker knows")]
    Unknown,
    /// Somebody came in with it.
    #[error("was used before: if not by this agent, by somebody who had it")]
    Used,
    /// By an admin.
    #[error("was revoked")]
    Revoked,
    /// Too late.
    #[error("has expired")]
    Expired,
    /// It was made for another than is asked for.
    #[error("is for another agent")]
    OfAnother,
}

impl BadJoinToken {
    /// The stable code.
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
    /// The stable code.
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
            Deny::KeyOfAnother { .. } => "key_in_use",
            Deny::UnknownDelegation { .. } => "unknown_delegation",
            Deny::NoHop => "hop_not_found",
            Deny::UnknownAgent { .. } => "unknown_agent",
            Deny::UnknownProfile { .. } => "unknown_profile",
            Deny::PrincipalNotAllowed { .. } => "principal_not_allowed",
            Deny::ProfileLimit { .. } => "profile_limit",
            Deny::ProfileScope { .. } => "scope_exceeds_profile",
            Deny::JoinToken(bad) => bad.code(),
            Deny::CredentialUsed => "credential_used",
            Deny::NotEnrollable { .. } => "not_enrollable",
            Deny::KeyTaken => "key_in_use",
            Deny::IdentityCloned { .. } => "identity_cloned",
            Deny::AgentState { .. } => "agent_not_active",
            Deny::Exists(_) => "already_exists",
            Deny::NotFound(_) => "not_found",
            Deny::NotYoursToRevoke => "revoke_forbidden",
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
