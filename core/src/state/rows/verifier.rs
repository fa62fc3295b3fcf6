//! A tool that reports: a row of the state. SPEC 9.8.
//!
//! Owns: the row. Does not own: how it changes (`decide::uses`).

use serde::{Deserialize, Serialize};

use crate::base::id::AgentId;
use crate::revocation::feed::FeedPosition;

/// A tool that reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verifier {
    /// The agent that the tool is.
    pub agent: AgentId,
    /// The counter of its next use.
    pub next: u64,
    /// The position in the revocation feed that it has applied.
    pub revocations: FeedPosition,
    /// The number of records of the largest checkpoint that it was shown.
    #[serde(default)]
    pub head: u64,
    /// How often this row was changed.
    pub version: u64,
}
