//! Overload: the request was not looked at, and may be sent again. SPEC section 8.

use crate::evidence::replay_cache::ReplayRefusal;

/// The request was not looked at, for lack of capacity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overload {
    /// A bounded queue is full.
    #[error("the queue of {0} is full")]
    Queue(&'static str),
    /// The replay cache has no room.
    #[error("{0}")]
    Proofs(ReplayRefusal),
    /// The state kept changing while the decision was made.
    #[error("the state kept changing under the decision; try again")]
    Contention,
    /// A table has reached its limit.
    #[error("the table of {0} is full")]
    Table(&'static str),
    /// The requests in flight hold as many bytes as they may.
    #[error("requests in flight of {0} have reached their limit of bytes; try again")]
    Bytes(&'static str),
    /// There are as many calls without a proof in flight as there may be.
    #[error("calls without a proof from {0} have reached their limit; try again")]
    Calls(&'static str),
    /// The broker is busy, and this caller has as many calls waiting as it may.
    #[error(
        "the broker is busy and this caller has reached its limit of waiting calls; try again in {retry_ms} ms"
    )]
    Busy {
        /// The time in milliseconds after which there may be capacity.
        retry_ms: u64,
    },
    /// The message is larger than this call accepts. A retry does not help.
    #[error("the message is larger than the {bytes_max} bytes that this call takes")]
    TooLarge {
        /// The largest message of this call, in bytes.
        bytes_max: usize,
    },
}

impl Overload {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Overload::Queue(_) => "queue_full",
            Overload::Proofs(bad) => bad.code(),
            Overload::Contention => "contention",
            Overload::Table(_) => "table_full",
            Overload::Bytes(_) => "bytes_full",
            Overload::Calls(_) => "calls_full",
            Overload::Busy { .. } => "busy",
            Overload::TooLarge { .. } => "message_too_large",
        }
    }

    /// Returns after how many milliseconds the same call may be made again, with a new proof;
    /// `None` when a retry does not help, or not soon.
    pub fn retry_ms(&self) -> Option<u64> {
        match self {
            Overload::Contention => Some(20),
            Overload::Queue(_) => Some(100),
            Overload::Bytes(_) | Overload::Calls(_) => Some(200),
            Overload::Busy { retry_ms } => Some(*retry_ms),
            // A remembered proof is forgotten after 36 s.
            Overload::Proofs(ReplayRefusal::QuotaExceeded { .. } | ReplayRefusal::Full { .. }) => {
                Some(2_000)
            }
            Overload::Proofs(_) | Overload::Table(_) | Overload::TooLarge { .. } => None,
        }
    }
}
