//! What is known of a tool that reports: a row of the state. SPEC 9.8.
//!
//! Owns: the row. Does not own: how it changes (`decide::uses`).

use serde::{Deserialize, Serialize};

use crate::base::id::AgentId;
use crate::revocation::feed::FeedPosition;

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
