//! Revoking an agent's former keys. SPEC 3.7.4: the remedy for a key that leaked.
//!
//! A rotation ends nothing: tokens that were delegated to the previous key are valid at tools until
//! they expire. This request revokes each former key of the agent, and so every chain through one.

use serde::{Deserialize, Serialize};

use crate::base::key::Thumbprint;
use crate::decide::admin::fleet::horizon;
use crate::decide::{Context, Decision, Grant, Keeps, Operation};
use crate::evidence::record::Body;
use crate::refusal::Deny;
use crate::revocation::feed::Revocation;
use crate::state::{KeyOwner, Mutation, Precondition};

/// How many keys one request revokes, each with a record of its own. Ask again for the rest.
pub const FORMER_KEYS_MAX: usize = 64;

/// How many former keys of one agent may be revoked at one time: a rotation every ten minutes for a
/// week, which is how long a revocation is sent to tools. This limits how much of the feed one
/// agent can fill by rotating its key.
pub const FORMER_KEYS_IN_FORCE_MAX: usize = 1_024;

/// Revokes the former keys of the calling agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeFormerKeys {
    /// The reason, as text.
    pub reason: String,
}

/// The result of revoking former keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerKeys {
    /// The thumbprints of the keys that were revoked now, those with the most hops first.
    pub keys: Vec<Thumbprint>,
    /// How many recorded hops they held. Everything below these hops ends too.
    pub hops: u64,
    /// How many former keys are still valid, because one request, or one agent, may revoke only so
    /// many.
    pub left: u64,
}

impl Operation for RevokeFormerKeys {
    type Granted = FormerKeys;
    const METHOD: &'static str = "/sublet.v1.Identity/RevokeFormerKeys";
    const KEEPS: Keeps = Keeps::Nothing;

    fn describe(&self) -> String {
        format!("revoke the keys of before: {}", self.reason)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<FormerKeys> {
        let agent = cx.agent()?;
        let current = agent.key.as_ref().map(|key| key.thumbprint());
        // Within the minute in which the previous key is accepted, a holder of a copy must not end
        // anything.
        if current.is_none() || cx.caller.key() != current {
            return Err(Deny::NotTheAgentsKey { hop: 0, agent: agent.id.clone() });
        }
        let held = cx.view.state.held();
        let former = held.keys_of(&agent.id).iter().filter(|key| Some(**key) != current);
        let (revoked, mut keys): (Vec<Thumbprint>, Vec<Thumbprint>) =
            former.partition(|key| cx.view.is_revoked(Revocation::AgentKey(**key)));
        keys.retain(|key| cx.view.state.key_owner(key).is_some_and(|owner| !owner.revoked));
        let last = agent.former.map(|former| former.key);
        keys.sort_by_key(|key| (Some(*key) != last, std::cmp::Reverse(held.hops_of(key))));
        let room = FORMER_KEYS_IN_FORCE_MAX.saturating_sub(revoked.len()).min(FORMER_KEYS_MAX);
        let left = keys.len().saturating_sub(room);
        keys.truncate(room);
        let hops = keys.iter().map(|key| u64::from(held.hops_of(key))).sum();
        let left = u64::try_from(left).unwrap_or(u64::MAX);
        let ended = FormerKeys { keys: keys.clone(), hops, left };
        if keys.is_empty() {
            return Ok(Grant::read(ended));
        }
        let guard = Precondition::unchanged(agent);
        let mut grant = Grant::read(ended)
            .requiring([guard])
            .not_revoked(keys.iter().copied().map(Revocation::AgentKey));
        for key in keys {
            let owner = KeyOwner { key, agent: agent.id.clone(), revoked: true };
            // By then everything that was delegated to the key has expired, and nothing more can be
            // delegated to it.
            let (revocation, expires_at) = (Revocation::AgentKey(key), horizon(cx.now));
            let body = Body::KeyRevoked {
                agent: Some(agent.id.clone()),
                key,
                reason: self.reason.clone(),
            };
            grant = grant
                .changing([Mutation::from(owner), Mutation::Revoke { revocation, expires_at }])
                .recording(cx.caller, body);
        }
        Ok(grant)
    }
}
