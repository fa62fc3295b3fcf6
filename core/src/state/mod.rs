//! The broker's state, from which it decides. docs/ARCHITECTURE, "The store".
//!
//! Owns: the rows in memory, their indices, and the only state machine ([`State::apply`]). Does not
//! own: the rows on disk (the stores), what a decision is (`decide`).
//!
//! Invariants: the state changes only by [`Effects`] that were committed; every row that can change
//! has a version; a key belongs to one agent for ever.

mod apply;
mod basis;
mod effects;
mod ledger_end;
mod precondition;
mod revocations;
mod row;
pub mod rows;

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

pub use apply::{Applied, Outdated, Place, Placed};
pub use basis::{Basis, HopStatus};
pub use effects::{Effects, Mutation};
pub use ledger_end::LedgerEnd;
pub use precondition::{Precondition, Versioned};
pub use row::{Change, Row, RowKey};

use crate::base::id::{AgentId, DelegationId, HopId, TrustDomain, UnixMillis};
use crate::base::key::Thumbprint;
use crate::revocation::feed::{Delta, Revocation};
pub use crate::state::rows::agents::{
    Agent, AgentState, FormerKey, JoinToken, JoinTokenState, KeyOwner, LastIdentity, SpentToken,
};
use crate::state::rows::answers::Answers;
pub use crate::state::rows::answers::{AnswerKey, GivenAnswer};
pub use crate::state::rows::delegations::{Delegation, RecordedHop};
use crate::state::rows::held::HeldKeys;
pub use crate::state::rows::profile::{PrincipalPattern, Profile};
use crate::state::rows::retention::Retention;
use crate::state::rows::session::{Session, SessionId};
pub use crate::state::rows::verifier::Verifier;
use crate::trust::bundle::SignedBundle;

/// Everything that a decision may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    trust: Arc<SignedBundle>,
    agents: BTreeMap<AgentId, Agent>,
    key_owners: HashMap<Thumbprint, KeyOwner>,
    profiles: BTreeMap<String, Profile>,
    join_tokens: BTreeMap<String, JoinToken>,
    delegations: BTreeMap<DelegationId, Delegation>,
    hops: HashMap<HopId, RecordedHop>,
    followers: HashMap<HopId, u32>,
    revoked: HashMap<Revocation, Delta>,
    revocation_sequence: u64,
    answers: Answers,
    hops_of: HashMap<AgentId, u32>,
    held: HeldKeys,
    verifiers: BTreeMap<AgentId, Verifier>,
    retention: Retention,
    spent: HashMap<[u8; 32], SpentToken>,
    sessions: BTreeMap<SessionId, Session>,
    in_sessions: HashMap<SessionId, Vec<DelegationId>>,
    ledger: LedgerEnd,
}

impl State {
    /// Returns the state of a new broker with its first trust bundle.
    pub fn new(trust: SignedBundle) -> Self {
        State {
            trust: Arc::new(trust),
            agents: BTreeMap::new(),
            key_owners: HashMap::new(),
            profiles: BTreeMap::new(),
            join_tokens: BTreeMap::new(),
            delegations: BTreeMap::new(),
            hops: HashMap::new(),
            followers: HashMap::new(),
            revoked: HashMap::new(),
            revocation_sequence: 0,
            answers: Answers::default(),
            hops_of: HashMap::new(),
            held: HeldKeys::default(),
            verifiers: BTreeMap::new(),
            retention: Retention::default(),
            spent: HashMap::new(),
            sessions: BTreeMap::new(),
            in_sessions: HashMap::new(),
            ledger: LedgerEnd::EMPTY,
        }
    }

    /// Returns the trust domain.
    pub fn domain(&self) -> &TrustDomain {
        self.trust.bundle().trust_domain()
    }

    /// Returns the trust bundle.
    pub fn trust(&self) -> &Arc<SignedBundle> {
        &self.trust
    }

    /// Returns an agent; `None` when there is none with this id.
    pub fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(id)
    }

    /// Returns all agents, by id.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// Returns the owner of a key; `None` when the key belongs to no agent.
    pub fn key_owner(&self, key: &Thumbprint) -> Option<&KeyOwner> {
        self.key_owners.get(key)
    }

    /// Returns a profile; `None` when there is none with this name.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// Returns all profiles, by name.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// Returns a join token; `None` when there is none with this id.
    pub fn join_token(&self, id: &str) -> Option<&JoinToken> {
        self.join_tokens.get(id)
    }

    /// Returns all join tokens, by id.
    pub fn join_tokens(&self) -> impl Iterator<Item = &JoinToken> {
        self.join_tokens.values()
    }

    /// Returns a delegation; `None` when there is none with this id.
    pub fn delegation(&self, id: &DelegationId) -> Option<&Delegation> {
        self.delegations.get(id)
    }

    /// Returns the agents with an id after `after`, by id; all of them for `None`.
    pub fn agents_after(&self, after: Option<&AgentId>) -> impl Iterator<Item = &Agent> {
        behind(&self.agents, after)
    }

    /// Returns the profiles with a name after `after`, by name; all of them for `None`.
    pub fn profiles_after(&self, after: Option<&str>) -> impl Iterator<Item = &Profile> {
        behind(&self.profiles, after)
    }

    /// Returns the join tokens with an id after `after`, by id; all of them for `None`.
    pub fn join_tokens_after(&self, after: Option<&str>) -> impl Iterator<Item = &JoinToken> {
        behind(&self.join_tokens, after)
    }

    /// Returns the sessions with an id after `after`, by id; all of them for `None`.
    pub fn sessions_after(&self, after: Option<&SessionId>) -> impl Iterator<Item = &Session> {
        behind(&self.sessions, after)
    }

    /// Returns the delegations with an id after `after`, by id; all of them for `None`.
    pub fn delegations_after(
        &self,
        after: Option<DelegationId>,
    ) -> impl Iterator<Item = &Delegation> {
        behind(&self.delegations, after.as_ref())
    }

    /// Returns a recorded hop; `None` when it is not recorded, or no longer kept.
    pub fn hop(&self, id: &HopId) -> Option<&RecordedHop> {
        self.hops.get(id)
    }

    /// Returns how many recorded hops directly below this one are kept.
    pub fn followers(&self, hop: &HopId) -> u32 {
        self.followers.get(hop).copied().unwrap_or(0)
    }

    /// Returns the answers that were given before.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Returns how many live hops an agent and its helpers have made.
    pub fn hops_of(&self, agent: &AgentId) -> u32 {
        self.hops_of.get(agent).copied().unwrap_or(0)
    }

    /// Returns the current and former keys of agents, and how many recorded hops each holds.
    pub fn held(&self) -> &HeldKeys {
        &self.held
    }

    /// Returns the row of a tool that reports; `None` when it has not reported.
    pub fn verifier(&self, agent: &AgentId) -> Option<&Verifier> {
        self.verifiers.get(agent)
    }

    /// Returns whether a workload enrolled with the signed token of this SHA-256.
    pub fn is_spent(&self, id: &[u8; 32]) -> bool {
        self.spent.contains_key(id)
    }

    /// Returns how many such tokens are kept.
    pub fn spent_kept(&self) -> usize {
        self.spent.len()
    }

    /// Returns a session of authority; `None` when there is none with this id.
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// Returns all sessions that are kept, by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// Returns the delegations that were issued in a session and have not expired.
    pub fn in_session(&self, id: &SessionId, now: UnixMillis) -> impl Iterator<Item = &Delegation> {
        let issued = self.in_sessions.get(id).into_iter().flatten();
        let issued = issued.filter_map(|id| self.delegations.get(id));
        issued.filter(move |row| row.expires_at > now)
    }

    /// Returns which records of the ledger may be pruned.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Returns how many agents, delegations and hops there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.agents.len(), self.delegations.len(), self.hops.len())
    }

    /// Returns the ledger indices of the chain up to a recorded hop, root first; `None` when a hop
    /// is not recorded.
    pub fn indices(&self, hop: &HopId) -> Option<Vec<u64>> {
        let mut indices = Vec::new();
        let mut next = Some(*hop);
        while let Some(id) = next {
            let row = self.hops.get(&id)?;
            indices.push(row.index);
            next = row.parent;
        }
        indices.reverse();
        Some(indices)
    }

    /// Returns the end of the ledger.
    pub fn ledger(&self) -> LedgerEnd {
        self.ledger
    }

    /// Sets the end of the ledger when a store is opened.
    pub fn resume_ledger(&mut self, end: LedgerEnd) {
        self.ledger = end;
    }

    /// Applies a committed row.
    pub fn put(&mut self, row: Row) {
        match row {
            Row::Agent(row) => drop(self.agents.insert(row.id.clone(), row)),
            Row::KeyOwner(row) => self.put_key_owner(row),
            Row::Profile(row) => drop(self.profiles.insert(row.name.clone(), row)),
            Row::JoinToken(row) => drop(self.join_tokens.insert(row.id.clone(), row)),
            Row::Delegation(row) => self.put_delegation(row),
            Row::Session(row) => drop(self.sessions.insert(row.id, row)),
            Row::Hop(row) => self.put_hop(row),
            Row::Revocation(delta) => self.put_revocation(delta),
            Row::Answer(row) => self.answers.put(row),
            Row::Verifier(row) => drop(self.verifiers.insert(row.agent.clone(), row)),
            Row::Spent(row) => drop(self.spent.insert(row.id, row)),
            Row::Floor(floor) => self.retention.raise(floor),
            Row::Hold(hold) => self.retention.put(hold),
            Row::Trust(bundle) => self.trust = Arc::new(bundle),
            // The feed's writer uses this row, and no decision.
            Row::FeedFloor(_) => {}
        }
    }

    fn put_key_owner(&mut self, row: KeyOwner) {
        let (key, agent) = (row.key, row.agent.clone());
        if self.key_owners.insert(key, row).is_none() {
            self.held.add_key(agent, key);
        }
    }

    fn put_delegation(&mut self, row: Delegation) {
        let (id, session) = (row.id, row.session);
        if let (None, Some(session)) = (self.delegations.insert(id, row), session) {
            self.in_sessions.entry(session).or_default().push(id);
        }
    }

    fn put_hop(&mut self, row: RecordedHop) {
        let (parent, maker) = (row.parent, row.maker.clone());
        let key = row.helper.is_none().then_some(row.key);
        if self.hops.insert(row.id, row).is_some() {
            return;
        }
        if let Some(key) = key {
            self.held.add_hop(key);
        }
        if let Some(parent) = parent {
            *self.followers.entry(parent).or_default() += 1;
        }
        if let Some(maker) = maker {
            *self.hops_of.entry(maker).or_default() += 1;
        }
    }

    fn forget_hop(&mut self, id: &HopId) {
        let Some(row) = self.hops.remove(id) else { return };
        if row.helper.is_none() {
            self.held.forget_hop(&row.key);
        }
        if let Some(maker) = row.maker {
            match self.hops_of(&maker).saturating_sub(1) {
                0 => drop(self.hops_of.remove(&maker)),
                left => drop(self.hops_of.insert(maker, left)),
            }
        }
        let Some(parent) = row.parent else { return };
        let left = self.followers(&parent).saturating_sub(1);
        match left {
            0 => drop(self.followers.remove(&parent)),
            left => drop(self.followers.insert(parent, left)),
        }
    }

    /// Returns the keys of hops, join tokens, spent tokens, answers and sessions that ended before
    /// `before`, at most `most` of them. Agents, keys, profiles and delegations stay, because
    /// reading the ledger needs them. Revocations are removed with the feed's floor.
    fn expired(&self, before: UnixMillis, most: usize) -> Vec<RowKey> {
        let hops =
            self.hops.values().filter(|row| row.expires_at < before).map(|row| RowKey::Hop(row.id));
        let joins = self.join_tokens.values().filter(|row| row.expires_at < before);
        let joins = joins.map(|row| RowKey::JoinToken(row.id.clone()));
        let answers = self.answers.expired(before).cloned().map(RowKey::Answer);
        let spent = self.spent.values().filter(|row| row.expires_at < before);
        let spent = spent.map(|row| RowKey::Spent(row.id));
        let sessions = self.sessions.values().filter(|row| row.expires_at < before);
        let sessions = sessions.map(|row| RowKey::Session(row.id));
        hops.chain(joins).chain(answers).chain(spent).chain(sessions).take(most).collect()
    }

    fn forget(&mut self, key: &RowKey) {
        match key {
            RowKey::Hop(id) => self.forget_hop(id),
            RowKey::JoinToken(id) => drop(self.join_tokens.remove(id)),
            RowKey::Answer(name) => self.answers.forget(name),
            RowKey::Spent(id) => drop(self.spent.remove(id)),
            RowKey::Session(id) => {
                self.sessions.remove(id);
                self.in_sessions.remove(id);
            }
            RowKey::Hold(name) => self.retention.release(name),
            RowKey::Revocation(sequence, revocation) => {
                self.forget_revocation(*sequence, revocation);
            }
            // These rows stay: reading the ledger needs them, or there is always exactly one.
            RowKey::Agent(_)
            | RowKey::KeyOwner(_)
            | RowKey::Profile(_)
            | RowKey::Delegation(_)
            | RowKey::IdentityAnswer(_)
            | RowKey::Verifier(_)
            | RowKey::Floor
            | RowKey::Trust
            | RowKey::FeedFloor => {}
        }
    }
}

/// Returns the rows of a table after a key, in order.
fn behind<'a, K, Q, T>(
    table: &'a BTreeMap<K, T>,
    after: Option<&Q>,
) -> impl Iterator<Item = &'a T> + use<'a, K, Q, T>
where
    K: Borrow<Q> + Ord,
    Q: Ord + ?Sized,
{
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    table.range::<Q, _>((from, Bound::Unbounded)).map(|(_, row)| row)
}
