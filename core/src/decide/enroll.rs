//! May this key be this agent's? Enroll, Renew, RotateKey. SPEC 3.7, 2.11.

use super::join_token_hash;
use super::{Ask, Decision, Entropy, Grant, Unsigned, View, agent_only};
use crate::block::{Block, Origin, Role};
use crate::bundle::KeyUse;
use crate::caller::{Caller, Kind};
use crate::id::{AgentId, UnixMillis};
use crate::key::{PublicKey, Thumbprint};
use crate::limits;
use crate::no::Deny;
use crate::record::Body;
use crate::state::{Agent, AgentState, Guard, JoinTokenState, KeyOwner, Write};
use crate::verify::VerifiedToken;

/// Someone with a new key and a join token asks for an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enroll {
    /// The join token's id, of which the secret was checked (`admin::join_token_hash`).
    pub join_token: String,
    /// SHA-256 over the join token that was shown.
    pub hash: [u8; 32],
    /// The agent that the caller says it is; `None` lets the join token say.
    pub agent: Option<AgentId>,
}

impl Ask for Enroll {
    /// The identity token's bytes.
    type Granted = serde_bytes::ByteBuf;
    const METHOD: &'static str = "/sublet.v1.Identity/Enroll";

    fn asked(&self) -> String {
        let agent =
            self.agent.as_ref().map_or("the agent it was made for".to_owned(), ToString::to_string);
        format!("join token {} for {agent}", self.join_token)
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        entropy: &Entropy,
    ) -> Decision<Self::Granted> {
        let Kind::NewKey(key) = caller.kind() else {
            return Err(Deny::NotPermitted("enrolment is signed by the new key"));
        };
        let not_good = |why| Deny::JoinToken { why };
        let row = view.state.join_token(&self.join_token).ok_or(not_good("unknown"))?;
        if row.hash != self.hash {
            return Err(not_good("of another secret"));
        }
        match row.state {
            JoinTokenState::Open => {}
            JoinTokenState::Spent => return Err(not_good("used before")),
            JoinTokenState::Revoked => return Err(not_good("revoked")),
        }
        if now >= row.expires_at {
            return Err(not_good("expired"));
        }
        if self.agent.as_ref().is_some_and(|agent| *agent != row.agent) {
            return Err(not_good("of another agent"));
        }
        let agent = view
            .state
            .agent(&row.agent)
            .ok_or_else(|| Deny::UnknownAgent { agent: row.agent.clone() })?;
        if agent.state == AgentState::Suspended {
            return Err(Deny::AgentState { agent: agent.id.clone(), state: agent.state.name() });
        }
        let thumbprint = free_key(view, key)?;
        let mut spent = row.clone();
        spent.state = JoinTokenState::Spent;
        spent.version += 1;
        let body = Body::AgentEnrolled {
            agent: agent.id.clone(),
            key: thumbprint,
            join_token: row.id.clone(),
        };
        let grant = identity(view, agent, key, now, entropy)
            .guarded([Guard::JoinToken(row.id.clone(), Some(row.version))])
            .writing([Write::JoinToken(spent)])
            .recording(caller, body);
        Ok(owned(grant, agent, key))
    }

    fn with_token(_: Self::Granted, token: &VerifiedToken) -> Self::Granted {
        token.encode().into()
    }
}

impl Enroll {
    /// Reads a join token in text form; `None` when it is none.
    pub fn from_join_token(text: &str, agent: Option<AgentId>) -> Option<Self> {
        let (id, _) = super::split_join_token(text)?;
        Some(Enroll { join_token: id, hash: join_token_hash(text), agent })
    }

    /// Whether the state knows this very token; else the caller has shown nothing.
    pub fn is_known(&self, view: View<'_>) -> bool {
        view.state.join_token(&self.join_token).is_some_and(|row| row.hash == self.hash)
    }
}

/// An agent asks for a new identity for the key that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renew;

impl Ask for Renew {
    type Granted = serde_bytes::ByteBuf;
    const METHOD: &'static str = "/sublet.v1.Identity/Renew";

    fn asked(&self) -> String {
        "a new identity".to_owned()
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        entropy: &Entropy,
    ) -> Decision<Self::Granted> {
        let agent = agent_only(view, caller)?;
        let key = agent.key.clone().ok_or(Deny::NotPermitted("the agent has no key"))?;
        let body = Body::AgentRenewed { agent: agent.id.clone(), key: key.thumbprint() };
        Ok(identity(view, agent, &key, now, entropy).recording(caller, body))
    }

    fn with_token(_: Self::Granted, token: &VerifiedToken) -> Self::Granted {
        token.encode().into()
    }
}

/// An agent asks to change its key; that it holds the new one was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateKey {
    /// The new key.
    pub new_key: PublicKey,
}

impl Ask for RotateKey {
    type Granted = serde_bytes::ByteBuf;
    const METHOD: &'static str = "/sublet.v1.Identity/RotateKey";

    fn asked(&self) -> String {
        format!("the key {}", self.new_key.thumbprint())
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        entropy: &Entropy,
    ) -> Decision<Self::Granted> {
        let agent = agent_only(view, caller)?;
        let old =
            agent.key.as_ref().ok_or(Deny::NotPermitted("the agent has no key"))?.thumbprint();
        let new = free_key(view, &self.new_key)?;
        let body = Body::KeyRotated { agent: agent.id.clone(), old, new };
        let grant = identity(view, agent, &self.new_key, now, entropy).recording(caller, body);
        Ok(owned(grant, agent, &self.new_key))
    }

    fn with_token(_: Self::Granted, token: &VerifiedToken) -> Self::Granted {
        token.encode().into()
    }
}

/// A key that is nobody's, ever, before now.
fn free_key(view: View<'_>, key: &PublicKey) -> Result<Thumbprint, Deny> {
    let thumbprint = key.thumbprint();
    if view.state.key_owner(&thumbprint).is_some() { Err(Deny::KeyTaken) } else { Ok(thumbprint) }
}

/// Makes the key the agent's own.
fn owned(
    grant: Grant<serde_bytes::ByteBuf>,
    agent: &Agent,
    key: &PublicKey,
) -> Grant<serde_bytes::ByteBuf> {
    let thumbprint = key.thumbprint();
    let mut row = agent.clone();
    row.state = AgentState::Active;
    row.key = Some(key.clone());
    row.version += 1;
    let owner = KeyOwner { key: thumbprint, agent: agent.id.clone(), revoked: false };
    grant.guarded([Guard::KeyFree(thumbprint)]).writing([Write::Agent(row), Write::KeyOwner(owner)])
}

/// An identity token to be signed for the agent and key.
fn identity(
    view: View<'_>,
    agent: &Agent,
    key: &PublicKey,
    now: UnixMillis,
    entropy: &Entropy,
) -> Grant<serde_bytes::ByteBuf> {
    let seconds = now.seconds();
    let ttl = view.settings.identity_ttl_seconds.min(limits::IDENTITY_SECONDS_MAX);
    let origin = Origin {
        issuer: view.state.domain().issuer(),
        nonce: entropy.nonce("identity"),
        issued_at: seconds,
        not_before: seconds.saturating_sub(limits::BACKDATE_SECONDS),
    };
    let block = Block {
        role: Role::Identity { origin },
        agent: agent.id.clone(),
        helper: None,
        not_after: seconds.saturating_add(ttl),
        hops_max: 0,
        unrecorded_max: 0,
        scope: None,
    };
    let mut grant = Grant::read(serde_bytes::ByteBuf::new())
        .guarded([Guard::Agent(agent.id.clone(), Some(agent.version))]);
    grant.unsigned = Some(Unsigned { block, holder_key: key.clone(), root: KeyUse::Identity });
    grant
}
