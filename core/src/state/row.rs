//! The rows of the state, and their keys. SPEC sections 3, 6, 7 and 9.
//!
//! Owns: the list of all kinds of row. Does not own: the content of a row (a file of its own each),
//! the rows on disk (the stores).

use crate::base::id::{AgentId, DelegationId, HopId};
use crate::base::key::Thumbprint;
use crate::revocation::feed::{Delta, FeedFloor, Revocation};
use crate::state::rows::agents::{Agent, JoinToken, KeyOwner, SpentToken};
use crate::state::rows::answers::{AnswerKey, GivenAnswer};
use crate::state::rows::delegations::{Delegation, RecordedHop};
use crate::state::rows::profile::Profile;
use crate::state::rows::retention::Hold;
use crate::state::rows::session::{Session, SessionId};
use crate::state::rows::verifier::Verifier;
use crate::trust::bundle::SignedBundle;

/// A row of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// An agent.
    Agent(Agent),
    /// The owner of a key.
    KeyOwner(KeyOwner),
    /// A profile.
    Profile(Profile),
    /// A join token.
    JoinToken(JoinToken),
    /// A delegation.
    Delegation(Delegation),
    /// A recorded hop.
    Hop(RecordedHop),
    /// A revocation.
    Revocation(Delta),
    /// An answer that was given.
    Answer(GivenAnswer),
    /// A tool that reports.
    Verifier(Verifier),
    /// The index below which records may be pruned.
    Floor(u64),
    /// A legal hold.
    Hold(Hold),
    /// A signed token that a workload enrolled with.
    Spent(SpentToken),
    /// The trust bundle.
    Trust(SignedBundle),
    /// A session of authority.
    Session(Session),
    /// The floor of the revocation feed.
    FeedFloor(FeedFloor),
}

/// The key of a row. There is at most one row with each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// An agent, by its id.
    Agent(AgentId),
    /// The owner of a key, by the key.
    KeyOwner(Thumbprint),
    /// A profile, by its name.
    Profile(String),
    /// A join token, by its id.
    JoinToken(String),
    /// A delegation, by its id.
    Delegation(DelegationId),
    /// A recorded hop, by its id.
    Hop(HopId),
    /// A revocation, by its number in the feed and its subject.
    Revocation(u64, Revocation),
    /// An answer, by its name.
    Answer(AnswerKey),
    /// The answer that gave an agent its identity: one for each agent.
    IdentityAnswer(AgentId),
    /// A tool that reports, by its agent id.
    Verifier(AgentId),
    /// The floor of the ledger, of which there is one.
    Floor,
    /// A legal hold, by its name.
    Hold(String),
    /// A signed token that a workload enrolled with, by its SHA-256.
    Spent([u8; 32]),
    /// The trust bundle, of which there is one.
    Trust,
    /// A session, by its id.
    Session(SessionId),
    /// The floor of the revocation feed, of which there is one.
    FeedFloor,
}

impl Row {
    /// Returns the row's key.
    pub fn key(&self) -> RowKey {
        match self {
            Row::Agent(row) => RowKey::Agent(row.id.clone()),
            Row::KeyOwner(row) => RowKey::KeyOwner(row.key),
            Row::Profile(row) => RowKey::Profile(row.name.clone()),
            Row::JoinToken(row) => RowKey::JoinToken(row.id.clone()),
            Row::Delegation(row) => RowKey::Delegation(row.id),
            Row::Hop(row) => RowKey::Hop(row.id),
            Row::Revocation(row) => RowKey::Revocation(row.sequence, row.revocation.clone()),
            Row::Answer(row) => match &row.identity_of {
                Some(agent) => RowKey::IdentityAnswer(agent.clone()),
                None => RowKey::Answer(row.name.clone()),
            },
            Row::Verifier(row) => RowKey::Verifier(row.agent.clone()),
            Row::Floor(_) => RowKey::Floor,
            Row::Hold(row) => RowKey::Hold(row.name.clone()),
            Row::Spent(row) => RowKey::Spent(row.id),
            Row::Trust(_) => RowKey::Trust,
            Row::Session(row) => RowKey::Session(row.id),
            Row::FeedFloor(_) => RowKey::FeedFloor,
        }
    }
}

macro_rules! rows {
    ($($kind:ident($row:ty)),* $(,)?) => {$(
        impl From<$row> for Row {
            fn from(row: $row) -> Self {
                Row::$kind(row)
            }
        }
    )*};
}

rows!(
    Agent(Agent),
    KeyOwner(KeyOwner),
    Profile(Profile),
    JoinToken(JoinToken),
    Delegation(Delegation),
    Answer(GivenAnswer),
    Verifier(Verifier),
    Hold(Hold),
    Spent(SpentToken),
    Trust(SignedBundle),
    Session(Session),
);

/// One step of a committed change of the state. The steps of a commit are applied in order, to the
/// state in memory and to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A row replaces the row with the same key.
    Put(Box<Row>),
    /// The row with this key is removed.
    Forget(RowKey),
}
