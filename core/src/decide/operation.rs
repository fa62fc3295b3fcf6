//! What an operation is, and what granting one does.
//!
//! Owns: the one trait of all operations, a grant with its effects, what has to be signed for it. Does not
//! own: the operations (a file each), the commit.
//!
//! Invariants: a grant holds typed rows, from which the whole answer is made together with the state that
//! the commit made ([`crate::state::Basis`]); what rests on nothing being revoked says so.

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
    /// What is granted: typed rows, of which the answer is made.
    type Granted: Clone + Send + Serialize + DeserializeOwned + 'static;

    /// The full gRPC method path; also the action that the call proof binds.
    const METHOD: &'static str;

    /// Whether what was granted is kept, for when the same request is sent again.
    const KEEPS: Keeps = Keeps::WhereThereIsRoom;

    /// What is asked, in one line, for the record of a refusal.
    fn describe(&self) -> String;

    /// Decides.
    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted>;

    /// Takes the token that the broker signed for [`Unsigned`] into what is granted.
    fn with_token(granted: Self::Granted, token: &VerifiedToken) -> Self::Granted {
        let _ = token;
        granted
    }

    /// The recorded hop that the answer has a receipt of.
    fn receipt(granted: &Self::Granted) -> Option<HopId> {
        let _ = granted;
        None
    }

    /// What of the grant may be kept for a repeated request; `None` when it holds a secret.
    fn remembered(granted: &Self::Granted) -> Option<&Self::Granted> {
        Some(granted)
    }

    /// The identity token among what was granted, where it gives an agent one.
    fn identity(granted: &Self::Granted) -> Option<&[u8]> {
        let _ = granted;
        None
    }

    /// Whether what was granted then is an answer now; where it is none, the request is decided anew.
    fn still_holds(granted: &Self::Granted, view: View<'_>) -> bool {
        let _ = (granted, view);
        true
    }
}

/// Whether an answer is kept for a repeated request. docs/decisions/0003.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// It is not: to ask again changes nothing.
    Nothing,
    /// For some minutes, where the caller's room for answers is not full.
    WhereThereIsRoom,
    /// Always: it gives an agent an identity, and each agent has room for the last one.
    TheIdentity,
}

/// Granted with its effects, or refused.
pub type Decision<G> = Result<Grant<G>, Deny>;

/// A grant and its effects.
#[derive(Clone, Debug)]
pub struct Grant<G> {
    /// What is granted.
    pub granted: G,
    /// What it does. Empty for reads, which leave no trace.
    pub effects: Effects,
    /// What the decision asked whether it was revoked, beside the caller's own token, and was not.
    pub not_revoked: Vec<Revocation>,
    /// What the broker must sign before it commits.
    pub unsigned: Option<Unsigned>,
}

/// What one of the broker's keys has to sign.
#[derive(Clone, Debug)]
pub enum Unsigned {
    /// A block 0.
    Block(Box<UnsignedBlock>),
    /// The next trust bundle.
    Trust(Box<NextBundle>),
}

/// A block 0 to be signed by one of the broker's root keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedBlock {
    /// The block.
    pub block: Block,
    /// The holder's key.
    pub holder_key: PublicKey,
    /// Which root signs.
    pub root: TrustedKey,
}

impl<G> Grant<G> {
    /// A grant that leaves no trace.
    pub fn read(granted: G) -> Self {
        let effects = Effects::default();
        Grant { granted, effects, not_revoked: Vec::new(), unsigned: None }
    }

    /// The same effects of another grant.
    pub(super) fn with<H>(self, granted: H) -> Grant<H> {
        let Grant { effects, not_revoked, unsigned, .. } = self;
        Grant { granted, effects, not_revoked, unsigned }
    }

    /// These effects, and behind them those of another grant, whose mutations name no records.
    pub(super) fn and(mut self, next: Grant<G>) -> Self {
        self.effects.extend(next.effects);
        self.not_revoked.extend(next.not_revoked);
        self
    }

    /// Only if these still hold when it is committed.
    pub(super) fn requiring(mut self, more: impl IntoIterator<Item = Precondition>) -> Self {
        self.effects.preconditions.extend(more);
        self
    }

    /// Only if none of these is revoked when it is committed.
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
