//! Requests of the admin: agents, profiles, join tokens. docs/FORMATS, "Who may call what".

use crate::base::bytes::{Label, domain, sha256};
use crate::base::id::{AgentId, UnixMillis};
use crate::base::key::Thumbprint;
use crate::base::limits;
use crate::base::text::{base64url, from_base64url};
use crate::decide::{Context, Decision, Entropy, Grant, Keeps, Operation, is_name};
use crate::evidence::record::Body;
use crate::evidence::workload::RULES_MAX;
use crate::refusal::{BadJoinToken, Deny};
use crate::revocation::feed::Revocation;
use crate::state::{
    Agent, AgentState, JoinToken, JoinTokenState, KeyOwner, Mutation, Precondition, Profile, RowKey,
};

/// The start of a join token.
pub(in crate::decide) const JOIN_TOKEN: &str = "sublet-join1.";

/// The longest life of a join token, in seconds: a day.
const JOIN_SECONDS_MAX: i64 = 24 * 3600;

/// Returns the id and secret of a join token in text form: `sublet-join1.<uuid>.<base64url of 32
/// bytes>`; `None` for any other text.
pub fn split_join_token(text: &str) -> Option<(String, Vec<u8>)> {
    let (id, secret) = text.trim_end().strip_prefix(JOIN_TOKEN)?.split_once('.')?;
    let id = uuid::Uuid::try_parse(id).ok()?.to_string();
    let secret = from_base64url(secret)?;
    (secret.len() == 32).then_some((id, secret))
}

/// Returns the hash of a join token, which the broker stores.
pub fn join_token_hash(text: &str) -> [u8; 32] {
    let mut bytes = domain(Label::JoinToken);
    bytes.extend_from_slice(text.trim_end().as_bytes());
    sha256(&bytes)
}

/// A new join token. It is shown once.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Invitation {
    /// The token in text form. It is a secret.
    pub join_token: String,
    /// The id of the token.
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
        return Err(Deny::OutOfRange("a join token lives 1 second to 24 hours"));
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

/// Creates an agent, with a join token for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateAgent {
    /// The agent's SPIFFE id.
    pub agent: AgentId,
    /// The name of its profile.
    pub profile: String,
    /// The lifetime of the join token, in seconds.
    pub join_ttl_seconds: i64,
}

/// The grant of [`CreateAgent`].
pub type Created = Invitation;

impl Operation for CreateAgent {
    type Granted = Created;
    const METHOD: &'static str = "/sublet.v1.Admin/CreateAgent";

    fn describe(&self) -> String {
        format!("agent {} with profile {:?}", self.agent, self.profile)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Created> {
        cx.admin_only()?;
        if !self.agent.is_in(cx.view.state.domain())
            || self.agent == cx.view.state.domain().issuer()
        {
            return Err(Deny::OutOfRange(
                "an agent belongs to the broker's trust domain, and is not the broker",
            ));
        }
        if cx.view.state.agent(&self.agent).is_some() {
            return Err(Deny::Exists(format!("agent {}", self.agent)));
        }
        let profile = cx.view.state.profile(&self.profile).ok_or_else(|| Deny::UnknownProfile {
            profile: self.profile.clone(),
            agent: self.agent.clone(),
        })?;
        let (invitation, row) = invite(&self.agent, self.join_ttl_seconds, cx.now, cx.entropy)?;
        let agent = Agent::invited(self.agent.clone(), &self.profile, cx.now);
        let created =
            Body::AgentCreated { agent: agent.id.clone(), profile: agent.profile.clone() };
        let invited =
            Body::JoinTokenCreated { join_token: row.id.clone(), agent: agent.id.clone() };
        let guards = [
            Precondition::absent(RowKey::Agent(agent.id.clone())),
            Precondition::unchanged(profile),
        ];
        let writes = [Mutation::from(agent), Mutation::from(row)];
        let grant = Grant::read(invitation).requiring(guards).changing(writes);
        Ok(grant.recording(cx.caller, created).recording(cx.caller, invited))
    }

    fn remembered(_: &Created) -> Option<&Created> {
        None
    }
}

/// Creates another join token for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateJoinToken {
    /// The agent.
    pub agent: AgentId,
    /// The lifetime of the join token, in seconds.
    pub ttl_seconds: i64,
}

impl Operation for CreateJoinToken {
    type Granted = Invitation;
    const METHOD: &'static str = "/sublet.v1.Admin/CreateJoinToken";

    fn describe(&self) -> String {
        format!("a join token for {}", self.agent)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Invitation> {
        cx.admin_only()?;
        let agent = cx.known_agent(&self.agent)?;
        let (invitation, row) = invite(&agent.id, self.ttl_seconds, cx.now, cx.entropy)?;
        let body = Body::JoinTokenCreated { join_token: row.id.clone(), agent: agent.id.clone() };
        let grant = Grant::read(invitation)
            .requiring([Precondition::unchanged(agent)])
            .changing([Mutation::from(row)]);
        Ok(grant.recording(cx.caller, body))
    }

    fn remembered(_: &Invitation) -> Option<&Invitation> {
        None
    }
}

/// Revokes a join token that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeJoinToken {
    /// The id of the join token.
    pub id: String,
}

impl Operation for RevokeJoinToken {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Admin/RevokeJoinToken";

    fn describe(&self) -> String {
        format!("revoke join token {}", self.id)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<()> {
        cx.admin_only()?;
        let row = cx
            .view
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
        let guard = Precondition::unchanged(row);
        let grant = Grant::read(()).requiring([guard]).changing([Mutation::from(revoked)]);
        Ok(grant.recording(cx.caller, Body::JoinTokenRevoked { join_token: self.id.clone() }))
    }
}

/// Creates or changes a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyProfile {
    /// The profile; its version is set here.
    pub profile: Profile,
}

impl Operation for ApplyProfile {
    /// The profile after this.
    type Granted = Profile;
    const METHOD: &'static str = "/sublet.v1.Admin/ApplyProfile";

    fn describe(&self) -> String {
        format!("profile {:?}", self.profile.name)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Profile> {
        cx.admin_only()?;
        check_profile(&self.profile)?;
        let before = cx.view.state.profile(&self.profile.name);
        let version = before.map(|row| row.version);
        let mut row = self.profile.clone();
        row.version = version.unwrap_or(0);
        if before == Some(&row) {
            return Ok(Grant::read(row));
        }
        row.version = version.map_or(0, |version| version + 1);
        let text = serde_json::to_string(&row).unwrap_or_default();
        let body = Body::ProfileApplied { name: row.name.clone(), text };
        let grant = Grant::read(row.clone())
            .requiring([Precondition::as_read(RowKey::Profile(row.name.clone()), before)]);
        Ok(grant.changing([Mutation::from(row)]).recording(cx.caller, body))
    }
}

fn check_profile(profile: &Profile) -> Result<(), Deny> {
    if !is_name(&profile.name) {
        return Err(Deny::OutOfRange("a profile's name is 1 to 63 of a-z 0-9 -"));
    }
    if !(1..=limits::DELEGATION_SECONDS_MAX).contains(&profile.ttl_seconds_max) {
        return Err(Deny::OutOfRange("ttl_seconds_max is 1 second to 7 days"));
    }
    if profile.hops_max > limits::HOPS_MAX || profile.offline_hops_max > profile.hops_max {
        return Err(Deny::OutOfRange("hops_max is at most 64, offline_hops_max at most hops_max"));
    }
    if profile.enroll.len() > RULES_MAX {
        return Err(Deny::OutOfRange("a profile has at most 64 enrollment rules"));
    }
    if profile.enroll.iter().any(|rule| rule.check().is_err()) {
        return Err(Deny::OutOfRange(
            "an enrollment rule needs an issuer, at least one claim, and an agent of whole segments",
        ));
    }
    if profile.fan_out_max > limits::FAN_OUT_MAX {
        return Err(Deny::OutOfRange("fan_out_max is at most 65,536"));
    }
    Ok(())
}

/// Returns when everything that a revocation made now could end has expired, including the clock
/// skew.
pub(in crate::decide) fn horizon(now: UnixMillis) -> UnixMillis {
    now.plus_ms(limits::DELEGATION_SECONDS_MAX * 1000 + limits::CLOCK_SKEW_MS)
}

/// Suspends an agent: its tokens and its helpers' are refused until it is resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspendAgent {
    /// The agent.
    pub agent: AgentId,
    /// The reason, as text.
    pub reason: String,
}

impl Operation for SuspendAgent {
    /// The agent's row after this.
    type Granted = Agent;
    const METHOD: &'static str = "/sublet.v1.Admin/SuspendAgent";
    const KEEPS: Keeps = Keeps::Nothing;

    fn describe(&self) -> String {
        format!("suspend {}", self.agent)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Agent> {
        cx.admin_only()?;
        suspend(cx, &self.agent, &self.reason)
    }
}

/// Suspends an agent, whoever asked for it.
pub(in crate::decide) fn suspend(
    cx: &Context<'_>,
    agent: &AgentId,
    reason: &str,
) -> Decision<Agent> {
    let agent = cx.known_agent(agent)?;
    if agent.state == AgentState::Suspended {
        return Ok(Grant::read(agent.clone()));
    }
    let mut row = agent.clone();
    row.state = AgentState::Suspended;
    row.version += 1;
    // A suspension does not expire: it is kept until the agent is resumed.
    let revocation = Revocation::AgentSuspended(agent.id.clone());
    let revoked = Mutation::Revoke { revocation, expires_at: UnixMillis(i64::MAX) };
    let body = Body::AgentSuspended { agent: agent.id.clone(), reason: reason.to_owned() };
    let grant = Grant::read(row.clone()).requiring([Precondition::unchanged(agent)]);
    Ok(grant.changing([Mutation::from(row), revoked]).recording(cx.caller, body))
}

/// Resumes a suspended agent. Revoked keys stay revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeAgent {
    /// The agent.
    pub agent: AgentId,
}

impl Operation for ResumeAgent {
    /// The agent's row after this.
    type Granted = Agent;
    const METHOD: &'static str = "/sublet.v1.Admin/ResumeAgent";
    const KEEPS: Keeps = Keeps::Nothing;

    fn describe(&self) -> String {
        format!("resume {}", self.agent)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Agent> {
        cx.admin_only()?;
        let agent = cx.known_agent(&self.agent)?;
        if agent.state != AgentState::Suspended {
            return Ok(Grant::read(agent.clone()));
        }
        let mut row = agent.clone();
        row.state = if agent.key.is_some() { AgentState::Active } else { AgentState::Invited };
        row.version += 1;
        let revocation = Revocation::AgentResumed(agent.id.clone());
        let resumed = Mutation::Revoke { revocation, expires_at: horizon(cx.now) };
        let body = Body::AgentResumed { agent: agent.id.clone() };
        let grant = Grant::read(row.clone()).requiring([Precondition::unchanged(agent)]);
        Ok(grant.changing([Mutation::from(row), resumed]).recording(cx.caller, body))
    }
}

/// Revokes an agent's current key, for ever. The agent needs a credential to enroll again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeAgentKey {
    /// The agent.
    pub agent: AgentId,
    /// The reason, as text.
    pub reason: String,
}

impl Operation for RevokeAgentKey {
    /// The agent's row after this.
    type Granted = Agent;
    const METHOD: &'static str = "/sublet.v1.Admin/RevokeAgentKey";

    fn describe(&self) -> String {
        format!("revoke the key of {}", self.agent)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Agent> {
        cx.admin_only()?;
        let agent = cx.known_agent(&self.agent)?;
        let key = agent.key.as_ref();
        let key = key.ok_or_else(|| Deny::NotFound(format!("key of {}", self.agent)))?;
        let revoked = revoke_key(cx, &key.thumbprint(), &self.reason)?;
        let row = revoked.granted.clone().unwrap_or_else(|| agent.clone());
        Ok(revoked.with(row))
    }
}

/// Revokes a key for ever. If it is an agent's current key, the agent is left without a key, and
/// the grant is its row.
pub(in crate::decide) fn revoke_key(
    cx: &Context<'_>,
    key: &Thumbprint,
    reason: &str,
) -> Decision<Option<Agent>> {
    let owner = cx.view.state.key_owner(key);
    let revocation = Revocation::AgentKey(*key);
    if cx.view.is_revoked(revocation.clone()) {
        return Ok(Grant::read(None));
    }
    let body = Body::KeyRevoked {
        agent: owner.map(|owner| owner.agent.clone()),
        key: *key,
        reason: reason.to_owned(),
    };
    let mut grant = Grant::read(None)
        .not_revoked([revocation.clone()])
        .changing([Mutation::Revoke { revocation, expires_at: UnixMillis(i64::MAX) }])
        .recording(cx.caller, body);
    let Some(owner) = owner else { return Ok(grant) };
    grant = grant.changing([Mutation::from(KeyOwner { revoked: true, ..owner.clone() })]);
    let agent = cx.known_agent(&owner.agent)?;
    if agent.key.as_ref().is_some_and(|current| current.thumbprint() == *key) {
        let mut row = agent.clone();
        row.key = None;
        row.state = match agent.state {
            AgentState::Suspended => AgentState::Suspended,
            AgentState::Invited | AgentState::Active => AgentState::Invited,
        };
        row.version += 1;
        grant.granted = Some(row.clone());
        grant = grant.requiring([Precondition::unchanged(agent)]).changing([Mutation::from(row)]);
    }
    Ok(grant)
}
