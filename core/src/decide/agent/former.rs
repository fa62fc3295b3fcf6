//! May an agent end what its former keys hold? SPEC 3.7.4: the remedy for a key that leaked.
//!
//! A rotation ends nothing: what was handed to the key of before stays good at tools until it ends. This
//! revokes each key that the agent had before its current one, and so every chain through it.

use serde::{Deserialize, Serialize};

use crate::base::key::Thumbprint;
use crate::decide::admin::fleet::horizon;
use crate::decide::{Context, Decision, Grant, Keeps, Operation};
use crate::evidence::record::Body;
use crate::refusal::Deny;
use crate::revocation::feed::Revocation;
use crate::state::{KeyOwner, Mutation, Precondition};

/// Keys that one request revokes, each with a record of its own. What is left is asked for again.
pub const FORMER_KEYS_MAX: usize = 64;

/// Former keys of one agent that it may have revoked at once: a rotation each ten minutes for a week, which is
/// how long a revocation is sent to tools. So much of the feed can one agent fill by changing its key.
pub const FORMER_KEYS_IN_FORCE_MAX: usize = 1_024;

/// An agent ends what its former keys hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeFormerKeys {
    /// Why.
    pub reason: String,
}

/// What was ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerKeys {
    /// The keys that were revoked just now: those that hold most first.
    pub keys: Vec<Thumbprint>,
    /// Recorded hops that they held. All below them ends too.
    pub hops: u64,
    /// Former keys that are not revoked yet: more than one request takes, or than one agent may have revoked.
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
        // Whoever has a copy of the key of before ends nothing with it, for the minute that it is good.
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
            // What was handed to it ends by then, and nothing is handed to it any more: no longer is told.
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
