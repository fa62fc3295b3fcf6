//! What the admin asks: agents, profiles, join tokens. docs/FORMATS, "Who may call what".

use super::{Ask, Decision, Entropy, Grant, Keeps, View, admin_only, is_name};
use crate::bytes::{Label, domain, sha256};
use crate::caller::Caller;
use crate::feed::Revocation;
use crate::id::{AgentId, UnixMillis};
use crate::limits;
use crate::no::{BadJoinToken, Deny};
use crate::record::Body;
use crate::state::{Agent, AgentState, Guard, JoinToken, JoinTokenState, KeyOwner, Profile, Write};
use crate::text::{base64url, from_base64url};
use crate::workload::RULES_MAX;

/// How a join token begins.
pub(super) const JOIN_TOKEN: &str = "sublet-join1.";

/// The longest life of a join token: a day.
const JOIN_SECONDS_MAX: i64 = 24 * 3600;

/// The id and secret of a join token in text form: `sublet-join1.<uuid>.<base64url of 32 bytes>`.
pub fn split_join_token(text: &str) -> Option<(String, Vec<u8>)> {
    let (id, secret) = text.trim_end().strip_prefix(JOIN_TOKEN)?.split_once('.')?;
    let id = uuid::Uuid::try_parse(id).ok()?.to_string();
    let secret = from_base64url(secret)?;
    (secret.len() == 32).then_some((id, secret))
}

/// What is kept of a join token.
pub fn join_token_hash(text: &str) -> [u8; 32] {
    let mut bytes = domain(Label::JoinToken);
    bytes.extend_from_slice(text.trim_end().as_bytes());
    sha256(&bytes)
}

/// A join token as it is shown, once.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Invitation {
    /// The token in text form. A secret.
    pub join_token: String,
    /// Its id.
    pub id: String,
    /// When it expires.
    pub expires_at: UnixMillis,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Invitation({})", self.id)
    }
}

fn invite(
    agent: &AgentId,
    ttl_seconds: i64,
    now: UnixMillis,
    entropy: &Entropy,
) -> Result<(Invitation, JoinToken), Deny> {
    if !(1..=JOIN_SECONDS_MAX).contains(&ttl_seconds) {
        return Err(Deny::NotPermitted("a join token lives 1 second to 24 hours"));
    }
    let id = uuid::Builder::from_random_bytes(entropy.nonce("join-id").0).into_uuid().to_string();
    let join_token = format!("{JOIN_TOKEN}{id}.{}", base64url(entropy.bytes("join-secret")));
    let expires_at = now.plus_ms(ttl_seconds.saturating_mul(1000));
    let hash = join_token_hash(&join_token);
    let row = JoinToken {
        id: id.clone(),
        agent: agent.clone(),
        hash,
        expires_at,
        state: JoinTokenState::Open,
        version: 0,
    };
    Ok((Invitation { join_token, id, expires_at }, row))
}

/// Create an agent, with a join token for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateAgent {
    /// Its id.
    pub agent: AgentId,
    /// Its profile's name.
    pub profile: String,
    /// How long the join token lives, in seconds.
    pub join_ttl_seconds: i64,
}

/// What creating gives.
pub type Created = Invitation;

impl Ask for CreateAgent {
    type Granted = Created;
    const METHOD: &'static str = "/sublet.v1.Admin/CreateAgent";

    fn asked(&self) -> String {
        format!("agent {} with profile {:?}", self.agent, self.profile)
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        entropy: &Entropy,
    ) -> Decision<Created> {
        admin_only(caller)?;
        if !self.agent.is_in(view.state.domain()) || self.agent == view.state.domain().issuer() {
            return Err(Deny::NotPermitted(
                "an agent belongs to the broker's trust domain, and is not the broker",
            ));
        }
        if view.state.agent(&self.agent).is_some() {
            return Err(Deny::Exists(format!("agent {}", self.agent)));
        }
        let profile = view.state.profile(&self.profile).ok_or_else(|| Deny::UnknownProfile {
            profile: self.profile.clone(),
            agent: self.agent.clone(),
        })?;
        let (invitation, row) = invite(&self.agent, self.join_ttl_seconds, now, entropy)?;
        let agent = Agent::invited(self.agent.clone(), &self.profile, now);
        let created =
            Body::AgentCreated { agent: agent.id.clone(), profile: agent.profile.clone() };
        let invited =
            Body::JoinTokenCreated { join_token: row.id.clone(), agent: agent.id.clone() };
        let guards = [
            Guard::Agent(agent.id.clone(), None),
            Guard::Profile(profile.name.clone(), Some(profile.version)),
        ];
        let writes = [Write::Agent(agent), Write::JoinToken(row)];
        let grant = Grant::read(invitation).guarded(guards).writing(writes);
        Ok(grant.recording(caller, created).recording(caller, invited))
    }

    fn remembered(_: &Created) -> Option<&Created> {
        None
    }
}

/// Create one more join token for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateJoinToken {
    /// For whom.
    pub agent: AgentId,
    /// How long it lives, in seconds.
    pub ttl_seconds: i64,
}

impl Ask for CreateJoinToken {
    type Granted = Invitation;
    const METHOD: &'static str = "/sublet.v1.Admin/CreateJoinToken";

    fn asked(&self) -> String {
        format!("a join token for {}", self.agent)
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        entropy: &Entropy,
    ) -> Decision<Invitation> {
        admin_only(caller)?;
        let agent = known_agent(view, &self.agent)?;
        let (invitation, row) = invite(&agent.id, self.ttl_seconds, now, entropy)?;
        let body = Body::JoinTokenCreated { join_token: row.id.clone(), agent: agent.id.clone() };
        let grant =
            Grant::read(invitation).guarded([guard(agent)]).writing([Write::JoinToken(row)]);
        Ok(grant.recording(caller, body))
    }

    fn remembered(_: &Invitation) -> Option<&Invitation> {
        None
    }
}

/// Revoke a join token that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeJoinToken {
    /// Its id.
    pub id: String,
}

impl Ask for RevokeJoinToken {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Admin/RevokeJoinToken";

    fn asked(&self) -> String {
        format!("revoke join token {}", self.id)
    }

    fn decide(&self, view: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        admin_only(caller)?;
        let row = view
            .state
            .join_token(&self.id)
            .ok_or_else(|| Deny::NotFound(format!("join token {}", self.id)))?;
        if row.state == JoinTokenState::Revoked {
            return Ok(Grant::read(()));
        }
        if row.state == JoinTokenState::Spent {
            return Err(Deny::JoinToken(BadJoinToken::Used));
        }
        let mut revoked = row.clone();
        revoked.state = JoinTokenState::Revoked;
        revoked.version += 1;
        let guard = Guard::JoinToken(row.id.clone(), Some(row.version));
        let grant = Grant::read(()).guarded([guard]).writing([Write::JoinToken(revoked)]);
        Ok(grant.recording(caller, Body::JoinTokenRevoked { join_token: self.id.clone() }))
    }
}

/// Publish a profile, new or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyProfile {
    /// The profile; its version is given here.
    pub profile: Profile,
}

impl Ask for ApplyProfile {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Admin/ApplyProfile";

    fn asked(&self) -> String {
        format!("profile {:?}", self.profile.name)
    }

    fn decide(&self, view: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        admin_only(caller)?;
        check_profile(&self.profile)?;
        let before = view.state.profile(&self.profile.name);
        let version = before.map(|row| row.version);
        let mut row = self.profile.clone();
        row.version = version.unwrap_or(0);
        if before == Some(&row) {
            return Ok(Grant::read(()));
        }
        row.version = version.map_or(0, |version| version + 1);
        let text = serde_json::to_string(&row).unwrap_or_default();
        let body = Body::ProfileApplied { name: row.name.clone(), text };
        let grant = Grant::read(()).guarded([Guard::Profile(row.name.clone(), version)]);
        Ok(grant.writing([Write::Profile(row)]).recording(caller, body))
    }
}

fn check_profile(profile: &Profile) -> Result<(), Deny> {
    if !is_name(&profile.name) {
        return Err(Deny::NotPermitted("a profile's name is 1 to 63 of a-z 0-9 -"));
    }
    if !(1..=limits::DELEGATION_SECONDS_MAX).contains(&profile.ttl_seconds_max) {
        return Err(Deny::NotPermitted("ttl_seconds_max is 1 second to 7 days"));
    }
    if profile.hops_max > limits::HOPS_MAX || profile.offline_hops_max > profile.hops_max {
        return Err(Deny::NotPermitted(
            "hops_max is at most 64, offline_hops_max at most hops_max",
        ));
    }
    if profile.enroll.len() > RULES_MAX {
        return Err(Deny::NotPermitted("a profile has at most 64 enrolment rules"));
    }
    if profile.enroll.iter().any(|rule| rule.check().is_err()) {
        return Err(Deny::NotPermitted(
            "an enrolment rule names an issuer, at least one claim, and an agent of whole segments",
        ));
    }
    if profile.fan_out_max > limits::FAN_OUT_MAX {
        return Err(Deny::NotPermitted("fan_out_max is at most 65,536"));
    }
    Ok(())
}

fn known_agent<'a>(view: View<'a>, id: &AgentId) -> Result<&'a Agent, Deny> {
    view.state.agent(id).ok_or_else(|| Deny::UnknownAgent { agent: id.clone() })
}

fn guard(agent: &Agent) -> Guard {
    Guard::Agent(agent.id.clone(), Some(agent.version))
}

/// When all that a revocation made now could kill has expired, skew included.
pub(super) fn horizon(now: UnixMillis) -> UnixMillis {
    now.plus_ms(limits::DELEGATION_SECONDS_MAX * 1000 + limits::CLOCK_SKEW_MS)
}

/// Suspend an agent: its tokens and its helpers' are refused until it is resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspendAgent {
    /// Whom.
    pub agent: AgentId,
    /// Why.
    pub reason: String,
}

impl Ask for SuspendAgent {
    /// The revocation's sequence number; 0 when it was suspended already.
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Admin/SuspendAgent";
    const KEEPS: Keeps = Keeps::Nothing;

    fn asked(&self) -> String {
        format!("suspend {}", self.agent)
    }

    fn decide(&self, view: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        admin_only(caller)?;
        suspend(view, caller, &self.agent, &self.reason, ())
    }
}

/// Suspends an agent, whoever asked for it.
pub(super) fn suspend<G>(
    view: View<'_>,
    caller: &Caller,
    agent: &AgentId,
    reason: &str,
    granted: G,
) -> Decision<G> {
    let agent = known_agent(view, agent)?;
    if agent.state == AgentState::Suspended {
        return Ok(Grant::read(granted));
    }
    let mut row = agent.clone();
    row.state = AgentState::Suspended;
    row.version += 1;
    // A suspension has no end of its own: it is remembered until the agent is resumed.
    let revocation = Revocation::AgentSuspended(agent.id.clone());
    let writes =
        [Write::Agent(row), Write::Revocation { revocation, expires_at: UnixMillis(i64::MAX) }];
    let body = Body::AgentSuspended { agent: agent.id.clone(), reason: reason.to_owned() };
    Ok(Grant::read(granted).guarded([guard(agent)]).writing(writes).recording(caller, body))
}

/// Resume a suspended agent. Keys that were revoked stay revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeAgent {
    /// Whom.
    pub agent: AgentId,
}

impl Ask for ResumeAgent {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Admin/ResumeAgent";
    const KEEPS: Keeps = Keeps::Nothing;

    fn asked(&self) -> String {
        format!("resume {}", self.agent)
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        _: &Entropy,
    ) -> Decision<()> {
        admin_only(caller)?;
        let agent = known_agent(view, &self.agent)?;
        if agent.state != AgentState::Suspended {
            return Ok(Grant::read(()));
        }
        let mut row = agent.clone();
        row.state = if agent.key.is_some() { AgentState::Active } else { AgentState::Invited };
        row.version += 1;
        let revocation = Revocation::AgentResumed(agent.id.clone());
        let writes =
            [Write::Agent(row), Write::Revocation { revocation, expires_at: horizon(now) }];
        let body = Body::AgentResumed { agent: agent.id.clone() };
        Ok(Grant::read(()).guarded([guard(agent)]).writing(writes).recording(caller, body))
    }
}

/// Revoke an agent's current key, for ever. The agent needs a join token to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeAgentKey {
    /// Whose.
    pub agent: AgentId,
    /// Why.
    pub reason: String,
}

impl Ask for RevokeAgentKey {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Admin/RevokeAgentKey";

    fn asked(&self) -> String {
        format!("revoke the key of {}", self.agent)
    }

    fn decide(&self, view: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        admin_only(caller)?;
        let agent = known_agent(view, &self.agent)?;
        let key =
            agent.key.as_ref().ok_or_else(|| Deny::NotFound(format!("key of {}", self.agent)))?;
        revoke_key(view, caller, &key.thumbprint(), &self.reason, ())
    }
}

/// Revokes a key for ever; its owner, if it has one, is left without a key.
pub(super) fn revoke_key<G>(
    view: View<'_>,
    caller: &Caller,
    key: &crate::key::Thumbprint,
    reason: &str,
    granted: G,
) -> Decision<G> {
    let owner = view.state.key_owner(key);
    let revocation = Revocation::AgentKey(*key);
    if super::is_revoked(view, revocation.clone()) {
        return Ok(Grant::read(granted));
    }
    let body = Body::KeyRevoked {
        agent: owner.map(|owner| owner.agent.clone()),
        key: *key,
        reason: reason.to_owned(),
    };
    let mut grant = Grant::read(granted)
        .resting_on([revocation.clone()])
        .writing([Write::Revocation { revocation, expires_at: UnixMillis(i64::MAX) }])
        .recording(caller, body);
    if let Some(owner) = owner {
        grant = grant.writing([Write::KeyOwner(KeyOwner { revoked: true, ..owner.clone() })]);
        let agent = known_agent(view, &owner.agent)?;
        if agent.key.as_ref().is_some_and(|current| current.thumbprint() == *key) {
            let mut row = agent.clone();
            row.key = None;
            row.state = if agent.state == AgentState::Suspended {
                AgentState::Suspended
            } else {
                AgentState::Invited
            };
            row.version += 1;
            grant = grant.guarded([guard(agent)]).writing([Write::Agent(row)]);
        }
    }
    Ok(grant)
}
