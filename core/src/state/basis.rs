//! What an answer says of the state, beside what was granted: all of it of one moment.
//!
//! Owns: the picture and how it is taken. Does not own: the answer's bytes (the broker's `respond`).
//!
//! Invariants: it is taken of the state that a commit made, or of the one that a decision read, and never
//! of a later one.

use std::sync::Arc;

use super::State;
use crate::base::id::HopId;
use crate::trust::bundle::SignedBundle;

/// What an answer says of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The trust bundle.
    pub trust: Arc<SignedBundle>,
    /// The number of the last revocation.
    pub revocation_sequence: u64,
    /// The recorded hop that the answer has a receipt of; `None` where it has none.
    pub hop: Option<HopStatus>,
}

/// What a receipt says of a recorded hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopStatus {
    /// Which.
    pub hop: HopId,
    /// The ledger indices of the chain up to it, root first.
    pub indices: Vec<u64>,
    /// Whether nothing of that chain is revoked: hops, agents, keys, the principal.
    pub is_alive: bool,
}

impl State {
    /// What an answer says of this state, with a receipt for `hop` if one is asked for.
    pub fn basis(&self, hop: Option<&HopId>) -> Basis {
        Basis {
            trust: self.trust.clone(),
            revocation_sequence: self.revocation_sequence,
            hop: hop.and_then(|hop| self.hop_status(hop)),
        }
    }

    fn hop_status(&self, hop: &HopId) -> Option<HopStatus> {
        let indices = self.indices(hop)?;
        Some(HopStatus { hop: *hop, indices, is_alive: self.is_alive(hop) })
    }
}
