//! What the broker knows when it decides. docs/ARCHITECTURE, "The store".
//!
//! Owns: the rows in memory, their indices, and the one state machine ([`State::apply`]). Does not own:
//! where rows lie on disk (the stores), what a decision is (`decide`).
//!
//! Invariants: the state changes only by [`Effects`] that were committed; every row that can change
//! carries a version; a key has one owner, ever.

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
    /// The state of a broker that has just begun, with its first trust bundle.
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

    /// The trust domain.
    pub fn domain(&self) -> &TrustDomain {
        self.trust.bundle().trust_domain()
    }

    /// The trust bundle.
    pub fn trust(&self) -> &Arc<SignedBundle> {
        &self.trust
    }

    /// An agent.
    pub fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(id)
    }

    /// All agents, by id.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// Whose a key is.
    pub fn key_owner(&self, key: &Thumbprint) -> Option<&KeyOwner> {
        self.key_owners.get(key)
    }

    /// A profile.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// All profiles, by name.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// A join token.
    pub fn join_token(&self, id: &str) -> Option<&JoinToken> {
        self.join_tokens.get(id)
    }

    /// All join tokens, by id.
    pub fn join_tokens(&self) -> impl Iterator<Item = &JoinToken> {
        self.join_tokens.values()
    }

    /// A delegation.
    pub fn delegation(&self, id: &DelegationId) -> Option<&Delegation> {
        self.delegations.get(id)
    }

    /// Agents with an id behind `after`, by id; all of them where it is `None`.
    pub fn agents_after(&self, after: Option<&AgentId>) -> impl Iterator<Item = &Agent> {
        behind(&self.agents, after)
    }

    /// Profiles with a name behind `after`, by name; all of them where it is `None`.
    pub fn profiles_after(&self, after: Option<&str>) -> impl Iterator<Item = &Profile> {
        behind(&self.profiles, after)
    }

    /// Join tokens with an id behind `after`, by id; all of them where it is `None`.
    pub fn join_tokens_after(&self, after: Option<&str>) -> impl Iterator<Item = &JoinToken> {
        behind(&self.join_tokens, after)
    }

    /// Sessions with an id behind `after`, by id; all of them where it is `None`.
    pub fn sessions_after(&self, after: Option<&SessionId>) -> impl Iterator<Item = &Session> {
        behind(&self.sessions, after)
    }

    /// Delegations with an id behind `after`, by id; all of them where it is `None`.
    pub fn delegations_after(
        &self,
        after: Option<DelegationId>,
    ) -> impl Iterator<Item = &Delegation> {
        behind(&self.delegations, after.as_ref())
    }

    /// A recorded hop.
    pub fn hop(&self, id: &HopId) -> Option<&RecordedHop> {
        self.hops.get(id)
    }

    /// How many hops were recorded behind this one and are still kept.
    pub fn followers(&self, hop: &HopId) -> u32 {
        self.followers.get(hop).copied().unwrap_or(0)
    }

    /// The answers that were given before.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// How many live hops are counted for an agent: those that it or its helpers made.
    pub fn hops_of(&self, agent: &AgentId) -> u32 {
        self.hops_of.get(agent).copied().unwrap_or(0)
    }

    /// The keys that an agent has and had, and how many recorded hops each holds.
    pub fn held(&self) -> &HeldKeys {
        &self.held
    }

    /// What is known of a tool that reports.
    pub fn verifier(&self, agent: &AgentId) -> Option<&Verifier> {
        self.verifiers.get(agent)
    }

    /// Whether somebody enrolled with a signed token, by its SHA-256.
    pub fn is_spent(&self, id: &[u8; 32]) -> bool {
        self.spent.contains_key(id)
    }

    /// How many of them are kept.
    pub fn spent_kept(&self) -> usize {
        self.spent.len()
    }

    /// A session of authority.
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// All sessions that are kept, by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// The delegations that were issued in a session and are not over.
    pub fn in_session(&self, id: &SessionId, now: UnixMillis) -> impl Iterator<Item = &Delegation> {
        let issued = self.in_sessions.get(id).into_iter().flatten();
        let issued = issued.filter_map(|id| self.delegations.get(id));
        issued.filter(move |row| row.expires_at > now)
    }

    /// What of the ledger may go.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// How many agents, delegations and hops there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.agents.len(), self.delegations.len(), self.hops.len())
    }

    /// The ledger indices of the chain up to a recorded hop, root first.
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

    /// Where the ledger ends.
    pub fn ledger(&self) -> LedgerEnd {
        self.ledger
    }

    /// Begins behind the records of a store that is opened.
    pub fn resume_ledger(&mut self, end: LedgerEnd) {
        self.ledger = end;
    }

    /// Takes a committed row in.
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
            // Where the feed begins: its writer goes by it, and no decision.
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

    /// Hops, join tokens, spent tokens and answers that ended before `before`, at most `most` of them. Agents,
    /// keys, profiles and delegations stay: the ledger is read through them. Revocations go with the feed's
    /// floor.
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
            // These stay: the ledger is read through them, or there is one of them, always.
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

/// The rows of a table behind a key, in order.
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
