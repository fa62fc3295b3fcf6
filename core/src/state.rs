//! What the broker knows when it decides. architecture.md, "The store".
//!
//! Owns: the rows, how a write changes them, and whether what a decision read still holds. Does
//! not own: where rows lie on disk (the stores), what a decision is (`decide`).
//!
//! Invariants: the state changes only by [`Write`]s that were committed; every row that can change
//! carries a version; a key has one owner, ever.

mod revocations;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::agents::{
    Agent, AgentState, FormerKey, JoinToken, JoinTokenState, KeyOwner, LastIdentity, SpentToken,
};
use crate::answers::Answers;
pub use crate::answers::{AnswerKey, GivenAnswer};
use crate::bundle::SignedBundle;
pub use crate::delegations::{Delegation, RecordedHop};
use crate::feed::{Delta, FeedFloor, FeedPosition, Revocation};
use crate::held::HeldKeys;
use crate::id::{AgentId, DelegationId, HopId, Principal, TrustDomain, UnixMillis};
use crate::key::Thumbprint;
pub use crate::profile::{PrincipalPattern, Profile};
use crate::retention::{Hold, Retention};
use crate::session::{Session, SessionId};

/// What is known of a tool that reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verifier {
    /// The agent that it is.
    pub agent: AgentId,
    /// The counter of its next use.
    pub next: u64,
    /// How far it has applied the revocation feed.
    pub revocations: FeedPosition,
    /// Records under the largest head that it was shown.
    #[serde(default)]
    pub head: u64,
    /// Counts changes of this row.
    pub version: u64,
}

/// One change, part of a committed verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// An agent's row.
    Agent(Agent),
    /// A key's owner.
    KeyOwner(KeyOwner),
    /// A profile's row.
    Profile(Profile),
    /// A join token's row.
    JoinToken(JoinToken),
    /// A new delegation.
    Delegation(Delegation),
    /// A recorded hop; its index is that of the verdict's record `record`.
    Hop {
        /// The row, its index not yet known.
        hop: RecordedHop,
        /// Which record of the verdict it stands in.
        record: usize,
    },
    /// A revocation; its sequence number is given by the committer.
    Revocation {
        /// What.
        revocation: Revocation,
        /// When all that it could kill has expired.
        expires_at: UnixMillis,
    },
    /// An answer to remember.
    Answer(GivenAnswer),
    /// What is known of a tool that reports.
    Verifier(Verifier),
    /// What lies beside the record of this index is erased.
    Erase(u64),
    /// Records below this index may be forgotten. Where the floor lies higher it stays there.
    Floor(u64),
    /// A signed token that was enrolled with.
    Spent(SpentToken),
    /// A hold.
    Hold(Hold),
    /// The hold of this name is gone.
    Release(String),
    /// The next trust bundle.
    Trust(SignedBundle),
    /// A session of authority.
    Session(Session),
}

/// Something that a decision read and that must be the same when it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// An agent's version; `None` if it did not exist.
    Agent(AgentId, Option<u64>),
    /// A key had no owner.
    KeyFree(Thumbprint),
    /// A profile's version.
    Profile(String, Option<u64>),
    /// A join token's version.
    JoinToken(String, Option<u64>),
    /// A delegation was not there.
    NoDelegation(DelegationId),
    /// A hop was not recorded.
    NoHop(HopId),
    /// Fewer hops than this follow a hop.
    FanOut(HopId, u32),
    /// None of these was revoked.
    Alive(Vec<Revocation>),
    /// What is issued for this principal at this time was not revoked.
    PrincipalAlive(Principal, UnixMillis),
    /// This principal was revoked.
    PrincipalRevoked(Principal),
    /// No such answer was given.
    NoAnswer(AnswerKey),
    /// A verifier's version; `None` if it had not reported.
    Verifier(AgentId, Option<u64>),
    /// A hold of this name was there, or was not.
    Hold(String, bool),
    /// The record of this index was under no hold.
    NotHeld(u64),
    /// Nobody enrolled with this token.
    NotSpent([u8; 32]),
    /// The trust bundle had this version.
    Trust(u64),
    /// A session's version; `None` if it did not exist.
    Session(SessionId, Option<u64>),
    /// The floor of the ledger lay below this index.
    FloorBelow(u64),
}

/// Everything that a decision may read.
#[derive(Clone, Debug)]
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

    /// Delegations with an id after `after`, by id.
    pub fn delegations_after(
        &self,
        after: Option<DelegationId>,
    ) -> impl Iterator<Item = &Delegation> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.delegations.range((from, Bound::Unbounded)).map(|(_, row)| row)
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

    /// Whether all that a decision read is still so.
    pub fn holds(&self, guards: &[Guard]) -> bool {
        guards.iter().all(|guard| match guard {
            Guard::Agent(id, version) => self.agents.get(id).map(|row| row.version) == *version,
            Guard::KeyFree(key) => !self.key_owners.contains_key(key),
            Guard::Profile(name, version) => {
                self.profiles.get(name).map(|row| row.version) == *version
            }
            Guard::JoinToken(id, version) => {
                self.join_tokens.get(id).map(|row| row.version) == *version
            }
            Guard::NoDelegation(id) => !self.delegations.contains_key(id),
            Guard::NoHop(id) => !self.hops.contains_key(id),
            Guard::FanOut(id, most) => self.followers(id) < *most,
            Guard::Alive(subjects) => {
                !subjects.iter().any(|subject| self.revoked.contains_key(subject))
            }
            Guard::PrincipalAlive(principal, issued_at) => !self.ends(principal, *issued_at),
            Guard::PrincipalRevoked(principal) => {
                self.revoked.contains_key(&Revocation::Principal(principal.clone()))
            }
            Guard::NoAnswer(name) => self.answers.get(name).is_none(),
            Guard::Verifier(agent, version) => {
                self.verifiers.get(agent).map(|row| row.version) == *version
            }
            Guard::Hold(name, there) => self.retention.hold(name).is_some() == *there,
            Guard::NotSpent(id) => !self.spent.contains_key(id),
            Guard::Session(id, version) => self.sessions.get(id).map(|row| row.version) == *version,
            Guard::Trust(version) => self.trust.bundle().version() == *version,
            Guard::FloorBelow(index) => self.retention.floor() < *index,
            Guard::NotHeld(index) => {
                self.retention.held(&(*index..index.saturating_add(1))).is_none()
            }
        })
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
    pub fn expired(&self, before: UnixMillis, most: usize) -> Vec<RowKey> {
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

    /// Forgets rows that `expired` named.
    pub fn forget(&mut self, keys: &[RowKey]) {
        for key in keys {
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
            }
        }
    }
}

/// A committed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// An agent.
    Agent(Agent),
    /// A key's owner.
    KeyOwner(KeyOwner),
    /// A profile.
    Profile(Profile),
    /// A join token.
    JoinToken(JoinToken),
    /// A delegation.
    Delegation(Delegation),
    /// A hop.
    Hop(RecordedHop),
    /// A revocation.
    Revocation(Delta),
    /// An answer.
    Answer(GivenAnswer),
    /// A verifier.
    Verifier(Verifier),
    /// Records below this index may be forgotten.
    Floor(u64),
    /// A hold.
    Hold(Hold),
    /// A signed token that was enrolled with.
    Spent(SpentToken),
    /// The trust bundle.
    Trust(SignedBundle),
    /// A session of authority.
    Session(Session),
    /// Where the revocation feed begins.
    FeedFloor(FeedFloor),
}

/// Names a row that can be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// A hop.
    Hop(HopId),
    /// A join token.
    JoinToken(String),
    /// An answer.
    Answer(AnswerKey),
    /// A hold.
    Hold(String),
    /// A signed token that was enrolled with.
    Spent([u8; 32]),
    /// A session of authority.
    Session(SessionId),
    /// A revocation that the feed's floor has passed, by its number.
    Revocation(u64, Revocation),
}
