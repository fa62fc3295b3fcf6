//! The part of an answer that describes the state, taken at one moment.
//!
//! Owns: the description and how it is taken. Does not own: the answer's bytes (the broker's
//! `respond`).
//!
//! Invariants: it is taken from the state that a commit made, or from the state that a decision
//! read, and never from a later one.

use std::sync::Arc;

use super::State;
use crate::base::id::HopId;
use crate::trust::bundle::SignedBundle;

/// The part of an answer that describes the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The trust bundle.
    pub trust: Arc<SignedBundle>,
    /// The number of the last revocation.
    pub revocation_sequence: u64,
    /// The recorded hop that the answer has a receipt for; `None` when it has no receipt.
    pub hop: Option<HopStatus>,
}

/// The content of a receipt for a recorded hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopStatus {
    /// The id of the hop.
    pub hop: HopId,
    /// The ledger indices of the chain up to the hop, root first.
    pub indices: Vec<u64>,
    /// Whether nothing of the chain is revoked: hops, agents, keys, the principal.
    pub is_alive: bool,
}

impl State {
    /// Describes this state, with a receipt for `hop` if one is given and it is recorded.
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
