//! The conditions that must still hold when a decision is committed. docs/ARCHITECTURE, "The
//! store".
//!
//! Owns: the kinds of precondition and how each is checked. Does not own: which of them a decision
//! has (`decide`), the check before a commit (`apply`).
//!
//! Invariants: a decision names everything that it read and that another commit may change; if one
//! precondition fails, nothing of the commit is applied and the decision is made again.

use super::{Agent, JoinToken, Profile, RowKey, Session, State, Verifier};
use crate::base::id::{AgentId, HopId, Principal, UnixMillis};
use crate::revocation::feed::Revocation;

/// A condition on something that a decision read, which must still hold at the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The row with this key has this version; `None`: there is no such row. Rows that do not count
    /// their changes have version 0.
    Version(RowKey, Option<u64>),
    /// Fewer recorded hops than this are directly below the hop.
    FanOut(HopId, u32),
    /// Fewer live hops than this are counted for an agent.
    HopsOf(AgentId, u32),
    /// None of these subjects is revoked.
    NotRevoked(Vec<Revocation>),
    /// A delegation that is issued for this principal at this time is not revoked.
    PrincipalAlive(Principal, UnixMillis),
    /// This principal is revoked.
    PrincipalRevoked(Principal),
    /// No legal hold covers the record with this index.
    NotHeld(u64),
    /// The floor of the ledger is below this index.
    FloorBelow(u64),
}

impl Precondition {
    /// Returns the condition that there is no row with this key.
    pub fn absent(key: RowKey) -> Self {
        Precondition::Version(key, None)
    }

    /// Returns the condition that there is a row with this key, which does not count its changes.
    pub fn present(key: RowKey) -> Self {
        Precondition::Version(key, Some(0))
    }

    /// Returns the condition that the row has not changed since it was read.
    pub fn unchanged(row: &impl Versioned) -> Self {
        Precondition::Version(row.row_key(), Some(row.row_version()))
    }

    /// Returns the condition that the row with this key has not changed since it was read, or is
    /// still absent.
    pub fn as_read(key: RowKey, row: Option<&impl Versioned>) -> Self {
        Precondition::Version(key, row.map(Versioned::row_version))
    }

    /// Returns the condition that the trust bundle has this version.
    pub fn trust(version: u64) -> Self {
        Precondition::Version(RowKey::Trust, Some(version))
    }
}

/// A row that counts its changes.
pub trait Versioned {
    /// Returns the row's key.
    fn row_key(&self) -> RowKey;
    /// Returns how often the row was changed.
    fn row_version(&self) -> u64;
}

macro_rules! versioned {
    ($($kind:ident by $field:ident),* $(,)?) => {$(
        impl Versioned for $kind {
            fn row_key(&self) -> RowKey {
                RowKey::$kind(self.$field.clone())
            }

            fn row_version(&self) -> u64 {
                self.version
            }
        }
    )*};
}

versioned!(Agent by id, Profile by name, JoinToken by id, Session by id, Verifier by agent);

impl State {
    /// Returns whether all of these conditions hold.
    pub fn meets(&self, preconditions: &[Precondition]) -> bool {
        preconditions.iter().all(|precondition| match precondition {
            Precondition::Version(key, version) => self.version(key) == *version,
            Precondition::FanOut(id, most) => self.followers(id) < *most,
            Precondition::HopsOf(agent, most) => self.hops_of(agent) < *most,
            Precondition::NotRevoked(subjects) => {
                !subjects.iter().any(|subject| self.revoked(subject).is_some())
            }
            Precondition::PrincipalAlive(principal, issued_at) => !self.ends(principal, *issued_at),
            Precondition::PrincipalRevoked(principal) => {
                self.revoked(&Revocation::Principal(principal.clone())).is_some()
            }
            Precondition::NotHeld(index) => {
                self.retention.held(&(*index..index.saturating_add(1))).is_none()
            }
            Precondition::FloorBelow(index) => self.retention.floor() < *index,
        })
    }

    /// Returns the version of a row, 0 for one that does not count its changes; `None` when there
    /// is no row.
    fn version(&self, key: &RowKey) -> Option<u64> {
        let there = |is_there: bool| is_there.then_some(0);
        match key {
            RowKey::Agent(id) => self.agents.get(id).map(|row| row.version),
            RowKey::KeyOwner(key) => there(self.key_owners.contains_key(key)),
            RowKey::Profile(name) => self.profiles.get(name).map(|row| row.version),
            RowKey::JoinToken(id) => self.join_tokens.get(id).map(|row| row.version),
            RowKey::Delegation(id) => there(self.delegations.contains_key(id)),
            RowKey::Hop(id) => there(self.hops.contains_key(id)),
            RowKey::Revocation(sequence, revocation) => {
                there(self.revoked(revocation).is_some_and(|held| held.sequence == *sequence))
            }
            RowKey::Answer(name) => there(self.answers.get(name).is_some()),
            RowKey::IdentityAnswer(agent) => there(self.answers.of_identity(agent).is_some()),
            RowKey::Verifier(agent) => self.verifiers.get(agent).map(|row| row.version),
            RowKey::Floor | RowKey::FeedFloor => Some(0),
            RowKey::Hold(name) => there(self.retention.hold(name).is_some()),
            RowKey::Spent(id) => there(self.spent.contains_key(id)),
            RowKey::Trust => Some(self.trust.bundle().version()),
            RowKey::Session(id) => self.sessions.get(id).map(|row| row.version),
        }
    }
}
