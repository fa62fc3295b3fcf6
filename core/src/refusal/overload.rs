//! What was not looked at, and when it may be asked again. SPEC section 8.

use crate::evidence::replay_cache::ReplayRefusal;

/// Not looked at: come back later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overload {
    /// A bounded queue is full.
    #[error("the queue of {0} is full")]
    Queue(&'static str),
    /// The set of seen proofs has no room.
    #[error("{0}")]
    Proofs(ReplayRefusal),
    /// What the decision rested on kept changing under it.
    #[error("the state kept changing under the decision; try again")]
    Contention,
    /// A table has reached its bound.
    #[error("the table of {0} is full")]
    Table(&'static str),
    /// Requests in flight hold as many bytes as they may.
    #[error("requests in flight of {0} hold as many bytes as they may; try again")]
    Bytes(&'static str),
    /// As many calls without a proof are in flight as may be.
    #[error("as many calls without a proof as may be are in flight from {0}; try again")]
    Calls(&'static str),
    /// This caller has as many calls waiting as it may, while the broker is busy.
    #[error(
        "the broker is busy and this caller has as many calls waiting as it may; try again in {retry_ms} ms"
    )]
    Busy {
        /// After how many milliseconds there may be room.
        retry_ms: u64,
    },
    /// A message that is larger than this call takes. Trying again won't help.
    #[error("the message is larger than the {bytes_max} bytes that this call takes")]
    TooLarge {
        /// How many it takes.
        bytes_max: usize,
    },
}

impl Overload {
    /// The stable code.
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

    /// After how many milliseconds the same call may be made again, with a new proof; `None` where that
    /// won't help, or not soon.
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
