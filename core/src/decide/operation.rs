//! Operations, and the effects of granting one.
//!
//! Owns: the trait of all operations, a grant with its effects, what must be signed for it. Does
//! not own: the operations (a file each), the commit.
//!
//! Invariants: a grant has typed rows, from which the whole answer is made together with the state
//! that the commit made ([`crate::state::Basis`]); a grant that depends on a subject not being
//! revoked names it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Context, View};
use crate::base::id::HopId;
use crate::base::key::PublicKey;
use crate::biscuit::block::Block;
use crate::decide::caller::Caller;
use crate::evidence::record::{Body, Record};
use crate::refusal::Deny;
use crate::revocation::feed::Revocation;
use crate::state::{Effects, Mutation, Precondition};
use crate::token::verify::VerifiedToken;
use crate::trust::bundle::TrustedKey;
use crate::trust::rotation::NextBundle;

/// A request that can be decided.
pub trait Operation: Clone + Send + Sync + 'static {
    /// The grant: typed rows from which the answer is made.
    type Granted: Clone + Send + Serialize + DeserializeOwned + 'static;

    /// The full path of the gRPC method, which is also the action that the call proof covers.
    const METHOD: &'static str;

    /// Whether the grant is stored for a repeated request.
    const KEEPS: Keeps = Keeps::WhereThereIsRoom;

    /// Describes the request in one line, for the record of a refusal.
    fn describe(&self) -> String;

    /// Decides the request.
    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted>;

    /// Adds the token that the broker signed for [`Unsigned`] to the grant.
    fn with_token(granted: Self::Granted, token: &VerifiedToken) -> Self::Granted {
        let _ = token;
        granted
    }

    /// Returns the recorded hop that the answer has a receipt for; `None` when it has no receipt.
    fn receipt(granted: &Self::Granted) -> Option<HopId> {
        let _ = granted;
        None
    }

    /// Returns the part of the grant that may be stored for a repeated request; `None` when it
    /// contains a secret.
    fn remembered(granted: &Self::Granted) -> Option<&Self::Granted> {
        Some(granted)
    }

    /// Returns the identity token in the grant; `None` unless it gives an agent an identity.
    fn identity(granted: &Self::Granted) -> Option<&[u8]> {
        let _ = granted;
        None
    }

    /// Returns whether a stored grant is still a valid answer. Otherwise the request is decided
    /// again.
    fn still_holds(granted: &Self::Granted, view: View<'_>) -> bool {
        let _ = (granted, view);
        true
    }
}

/// Whether an answer is stored for a repeated request. docs/decisions/0003.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// It is not stored, because repeating the request changes nothing.
    Nothing,
    /// It is stored for some minutes, unless the caller has too many stored answers.
    WhereThereIsRoom,
    /// It is always stored: it gives an agent an identity, and each agent has room for its last
    /// one.
    TheIdentity,
}

/// A grant with its effects, or a refusal.
pub type Decision<G> = Result<Grant<G>, Deny>;

/// A grant and its effects.
#[derive(Clone, Debug)]
pub struct Grant<G> {
    /// The grant.
    pub granted: G,
    /// The effects; empty for a read.
    pub effects: Effects,
    /// The subjects, besides the caller's own token, that the decision found not revoked.
    pub not_revoked: Vec<Revocation>,
    /// What the broker must sign before the commit; `None` when nothing.
    pub unsigned: Option<Unsigned>,
}

/// Something that one of the broker's keys must sign.
#[derive(Clone, Debug)]
pub enum Unsigned {
    /// A block 0.
    Block(Box<UnsignedBlock>),
    /// The next trust bundle.
    Trust(Box<NextBundle>),
}

/// A block 0 to be signed by a root key of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedBlock {
    /// The block.
    pub block: Block,
    /// The holder's key.
    pub holder_key: PublicKey,
    /// The root key that signs.
    pub root: TrustedKey,
}

impl<G> Grant<G> {
    /// Returns a grant without effects.
    pub fn read(granted: G) -> Self {
        let effects = Effects::default();
        Grant { granted, effects, not_revoked: Vec::new(), unsigned: None }
    }

    /// Returns these effects with another grant.
    pub(super) fn with<H>(self, granted: H) -> Grant<H> {
        let Grant { effects, not_revoked, unsigned, .. } = self;
        Grant { granted, effects, not_revoked, unsigned }
    }

    /// Returns these effects, followed by those of another grant, whose mutations must not refer to
    /// records.
    pub(super) fn and(mut self, next: Grant<G>) -> Self {
        self.effects.extend(next.effects);
        self.not_revoked.extend(next.not_revoked);
        self
    }

    /// Adds conditions that must hold at the commit.
    pub(super) fn requiring(mut self, more: impl IntoIterator<Item = Precondition>) -> Self {
        self.effects.preconditions.extend(more);
        self
    }

    /// Adds subjects that must not be revoked at the commit.
    pub(super) fn not_revoked(mut self, subjects: impl IntoIterator<Item = Revocation>) -> Self {
        self.not_revoked.extend(subjects);
        self
    }

    pub(super) fn changing(mut self, mutations: impl IntoIterator<Item = Mutation>) -> Self {
        self.effects.mutations.extend(mutations);
        self
    }

    pub(super) fn recording(mut self, actor: &Caller, body: Body) -> Self {
        let record = Record { delegation: None, actor: actor.actor(), body };
        self.effects.records.push(record);
        self
    }

    pub(super) fn recording_in(mut self, delegation: HopId, actor: &Caller, body: Body) -> Self {
        let record = Record { delegation: Some(delegation), actor: actor.actor(), body };
        self.effects.records.push(record);
        self
    }
}
