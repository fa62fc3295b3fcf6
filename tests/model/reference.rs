//! What must be true, kept in plain maps and found without the core's logic: who holds which hop, what ended
//! when, and so what each token still allows.
//!
//! Owns: the facts and the questions about them. Does not own: how they change (`learn`), what is compared
//! with them.

use std::collections::{BTreeMap, HashMap, HashSet};

use sublet_core::base::id::{AgentId, HelperPath, HopId, Nonce, Principal, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::state::rows::session::SessionId;
use sublet_core::token::verify::VerifiedToken;

use crate::cast::{Mask, mask};

/// An agent.
#[derive(Clone, Debug)]
pub(crate) struct AgentFacts {
    pub(crate) profile: String,
    /// Its current key.
    pub(crate) key: Option<Thumbprint>,
    /// The key of before a rotation, and when that was.
    pub(crate) former: Option<(Thumbprint, UnixMillis)>,
    pub(crate) suspended: bool,
    /// The identity that it got last: its nonce, and when in seconds.
    pub(crate) last: Option<(Nonce, i64)>,
}

impl AgentFacts {
    /// One that has not come in yet.
    pub(crate) fn invited(profile: &str) -> Self {
        let profile = profile.to_owned();
        AgentFacts { profile, key: None, former: None, suspended: false, last: None }
    }
}

/// A profile.
#[derive(Clone, Debug)]
pub(crate) struct ProfileFacts {
    pub(crate) mask: Mask,
    pub(crate) ttl_seconds: i64,
    pub(crate) hops: u32,
    pub(crate) offline_hops: u32,
    pub(crate) fan_out: u32,
    pub(crate) principals: Vec<Principal>,
    pub(crate) consent_required: bool,
}

/// A join token.
#[derive(Clone, Debug)]
pub(crate) struct InvitationFacts {
    pub(crate) agent: AgentId,
    pub(crate) expires_at: UnixMillis,
    pub(crate) open: bool,
}

/// A hop of any chain that was ever made, recorded or not.
#[derive(Clone, Debug)]
pub(crate) struct HopFacts {
    pub(crate) id: HopId,
    pub(crate) parent: Option<HopId>,
    pub(crate) delegation: HopId,
    pub(crate) position: u32,
    pub(crate) agent: AgentId,
    pub(crate) helper: Option<HelperPath>,
    pub(crate) key: Thumbprint,
    pub(crate) not_after: i64,
    pub(crate) hops_max: u32,
    pub(crate) offline_max: u32,
    pub(crate) mask: Mask,
    /// Of the root: the principal, when it was issued, from when it is good, and the key that signed it.
    pub(crate) principal: Option<Principal>,
    pub(crate) issued_at: i64,
    pub(crate) not_before: i64,
    pub(crate) root: Thumbprint,
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct SessionFacts {
    pub(crate) principal: Principal,
    /// The agent that it is for; `None` for a login.
    pub(crate) agent: Option<AgentId>,
    pub(crate) expires_at: UnixMillis,
    pub(crate) live: bool,
    /// What was issued in it, and when the user's token said that it was issued.
    pub(crate) issued: Vec<(HopId, UnixMillis)>,
}

/// What was ended, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) hops: HashMap<HopId, UnixMillis>,
    pub(crate) keys: HashMap<Thumbprint, UnixMillis>,
    pub(crate) agents: HashMap<AgentId, UnixMillis>,
    pub(crate) roots: HashMap<Thumbprint, UnixMillis>,
    /// Principals that are revoked.
    pub(crate) principals: HashMap<Principal, UnixMillis>,
    /// Principals that came back: what was issued up to then stays ended.
    pub(crate) restored: HashMap<Principal, UnixMillis>,
}

/// Everything that the model knows of the broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) agents: BTreeMap<AgentId, AgentFacts>,
    /// Whose each key is, for ever.
    pub(crate) owners: HashMap<Thumbprint, AgentId>,
    pub(crate) profiles: BTreeMap<String, ProfileFacts>,
    pub(crate) invitations: BTreeMap<String, InvitationFacts>,
    pub(crate) hops: HashMap<HopId, HopFacts>,
    /// Recorded hops, with the index of their record.
    pub(crate) recorded: HashMap<HopId, u64>,
    /// How many hops may follow one hop of a delegation.
    pub(crate) fan_out: HashMap<HopId, u32>,
    pub(crate) ended: Ended,
    pub(crate) sessions: BTreeMap<SessionId, SessionFacts>,
    /// Until when tokens of a login are over.
    pub(crate) over: HashMap<SessionId, UnixMillis>,
    /// Others' tokens that somebody enrolled with, and when each is over.
    pub(crate) spent: BTreeMap<[u8; 32], UnixMillis>,
    pub(crate) floor: u64,
    pub(crate) holds: BTreeMap<String, (u64, u64)>,
    /// Uses that are recorded: the tool, and its counter.
    pub(crate) uses: HashSet<(AgentId, u64)>,
}

impl Reference {
    /// Takes in the last hop of a token.
    pub(crate) fn meet(&mut self, token: &VerifiedToken) {
        let last = token.signed_blocks().len() - 1;
        let id = token.id_at(last).unwrap();
        let block = token.last().block();
        let origin = token.root().role.origin().unwrap();
        let facts = HopFacts {
            id,
            parent: last.checked_sub(1).and_then(|before| token.id_at(before)),
            delegation: token.delegation(),
            position: u32::try_from(last).unwrap(),
            agent: block.agent.clone(),
            helper: block.helper.clone(),
            key: token.holder_key().thumbprint(),
            not_after: block.not_after,
            hops_max: block.hops_max,
            offline_max: block.offline_hops_max,
            mask: block.scope.as_ref().map_or(0, mask),
            principal: token.principal().cloned(),
            issued_at: origin.issued_at,
            not_before: origin.not_before,
            root: token.root_key().thumbprint(),
        };
        self.hops.insert(id, facts);
    }

    /// The chain up to a hop, root first.
    pub(crate) fn chain(&self, hop: &HopId) -> Vec<&HopFacts> {
        let mut chain = Vec::new();
        let mut next = Some(*hop);
        while let Some(facts) = next.and_then(|id| self.hops.get(&id)) {
            chain.push(facts);
            next = facts.parent;
        }
        chain.reverse();
        chain
    }

    /// When a chain is over, in seconds: the least of all its hops.
    pub(crate) fn expires(&self, hop: &HopId) -> i64 {
        self.chain(hop).iter().map(|hop| hop.not_after).min().unwrap_or(i64::MIN)
    }

    /// Since when something in a chain is revoked; `None` where nothing is.
    pub(crate) fn ended_since(&self, hop: &HopId) -> Option<UnixMillis> {
        let chain = self.chain(hop);
        let Some(root) = chain.first() else { return Some(UnixMillis(i64::MIN)) };
        let of_hops = chain.iter().flat_map(|hop| {
            let of = [
                self.ended.hops.get(&hop.id),
                self.ended.keys.get(&hop.key),
                self.ended.agents.get(&hop.agent),
            ];
            of.into_iter().flatten().copied()
        });
        let principal = root.principal.as_ref();
        let of_root = self.ended.roots.get(&root.root).copied();
        let revoked = principal.and_then(|name| self.ended.principals.get(name)).copied();
        let back = principal.and_then(|name| self.ended.restored.get(name)).copied();
        let before = back.filter(|at| root.issued_at * 1000 <= at.0);
        of_hops.chain(of_root).chain(revoked).chain(before).min()
    }

    /// Whether a chain is in its time and nothing of it is revoked.
    pub(crate) fn is_alive(&self, hop: &HopId, now: UnixMillis) -> bool {
        let chain = self.chain(hop);
        let begun = chain.first().is_some_and(|root| now.seconds() >= root.not_before);
        begun && now.seconds() < self.expires(hop) && self.ended_since(hop).is_none()
    }

    /// Whether every hop of a chain admits a probe.
    pub(crate) fn admits(&self, hop: &HopId, probe: usize) -> bool {
        self.chain(hop).iter().all(|hop| hop.mask & (1 << probe) != 0)
    }

    /// Whether a chain may be used as deep as it is, with its hops up to `covered` under a receipt.
    pub(crate) fn is_within_depth(&self, hop: &HopId, covered: u32) -> bool {
        let chain = self.chain(hop);
        let depth = u32::try_from(chain.len()).unwrap().saturating_sub(1);
        let offline = depth.saturating_sub(covered);
        let bounds = chain.iter().all(|hop| depth <= hop.hops_max && offline <= hop.offline_max);
        let named = chain.windows(2).all(|pair| {
            let (parent, child) = (pair[0], pair[1]);
            child.position <= covered || child.helper.is_some() || same_holder(parent, child)
        });
        bounds && named
    }

    /// Whether an agent has this key now, or had it until less than a minute ago.
    pub(crate) fn has_key(&self, agent: &AgentId, key: &Thumbprint, now: UnixMillis) -> bool {
        let Some(facts) = self.agents.get(agent) else { return false };
        let former =
            |(former, until): (Thumbprint, UnixMillis)| former == *key && now.0 - until.0 < 60_000;
        match facts.key {
            Some(current) => current == *key || facts.former.is_some_and(former),
            None => false,
        }
    }

    /// Whether an agent may act.
    pub(crate) fn is_active(&self, agent: &AgentId) -> bool {
        self.agents.get(agent).is_some_and(|facts| facts.key.is_some() && !facts.suspended)
    }

    /// Whether something of an agent's identity is revoked.
    pub(crate) fn is_identity_revoked(&self, token: &VerifiedToken) -> bool {
        self.ended.keys.contains_key(&token.holder_key().thumbprint())
            || self.ended.hops.contains_key(&token.id())
            || self.ended.agents.contains_key(&token.root().agent)
            || self.ended.roots.contains_key(&token.root_key().thumbprint())
    }

    /// Whether an agent's identity is good to act with.
    pub(crate) fn is_identity_alive(&self, token: &VerifiedToken, now: UnixMillis) -> bool {
        let (root, key) = (token.root(), token.holder_key().thumbprint());
        let in_time = now.seconds() < root.not_after;
        let current = self.is_active(&root.agent) && self.has_key(&root.agent, &key, now);
        in_time && current && !self.is_identity_revoked(token)
    }
}

/// Whether a hop goes to the holder of the hop before it, name and key unchanged.
pub(crate) fn same_holder(parent: &HopFacts, child: &HopFacts) -> bool {
    (&parent.agent, &parent.helper, parent.key) == (&child.agent, &child.helper, child.key)
}
