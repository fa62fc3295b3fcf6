//! Revocations, and the signed feed that brings them to tools. SPEC section 7.
//!
//! Owns: what can be revoked, the deltas and their hash chain ([`Delta`]), signed heads
//! ([`SignedHead`]), a verifier's view of them and its age ([`RevocationView`]), and the broker's
//! side ([`FeedWriter`]). Does not own: who may revoke (`decide`), sockets.
//!
//! Invariants: a delta counts only after a verified head covers it; numbers have no gap; a view
//! never goes back; a revocation stays in force until it expires on the issuer's clock, or its
//! agent is resumed, or its principal restored; a view's age is measured on the issuer's clock, so
//! replaying an old list does not make it fresh.

mod delta;
mod head;
mod position;
mod snapshot;
mod view;
mod writer;

#[cfg(test)]
mod tests;

use crate::base::bytes::BadLayout;
use crate::base::id::TrustDomain;
use crate::trust::bundle::KeyRefusal;

pub use delta::{Delta, Revocation};
pub use head::{Head, SignedHead};
pub use position::FeedPosition;
pub use snapshot::{SnapshotLine, read_snapshot, snapshot_text};
pub use view::{PENDING_MAX, RevocationView};
pub use writer::{FeedFloor, FeedWriter, Trim};

/// Why a part of a feed is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFeed {
    /// The bytes do not have the layout.
    #[error(transparent)]
    Layout(#[from] BadLayout),
    /// No feed key of the bundle may have signed the head.
    #[error("the head's key: {0}")]
    Key(KeyRefusal),
    /// The head's signature does not verify.
    #[error("the head's signature does not hold")]
    Signature,
    /// The feed is of another trust domain.
    #[error("the feed is of {found}, not of {held}")]
    OtherFeed {
        /// The trust domain of the feed.
        found: TrustDomain,
        /// The trust domain that is followed.
        held: TrustDomain,
    },
    /// A delta does not follow the last one.
    #[error("delta {found} does not follow {held}")]
    Gap {
        /// The number of the delta.
        found: u64,
        /// The last number of the view.
        held: u64,
    },
    /// The head is older than the view.
    #[error(
        "the head ({epoch}, {sequence}) is behind what was seen before: the feed was rolled back. What was revoked stays revoked here. The operator of the broker must put its newest store back, or, where that is lost, begin a new epoch of the feed by removing `store.reached`, and revoke anew what was revoked since"
    )]
    RolledBack {
        /// The epoch of the head.
        epoch: u64,
        /// The number of the head.
        sequence: u64,
    },
    /// There are two heads at one number, or the head does not cover the deltas that were sent.
    #[error(
        "the head at {sequence} does not bind the deltas that were sent: the feed is forked or altered"
    )]
    Forked {
        /// The number.
        sequence: u64,
    },
    /// The head covers deltas that were not sent.
    #[error("the head is at {head}, the deltas only reach {held}")]
    Incomplete {
        /// The number of the head.
        head: u64,
        /// The last number that was sent.
        held: u64,
    },
    /// The head is from the future.
    #[error("the head is {ahead_ms} ms ahead of this clock")]
    FromFuture {
        /// How far it is ahead, in milliseconds.
        ahead_ms: i64,
    },
    /// There are too many deltas without a head.
    #[error("over {PENDING_MAX} deltas without a head")]
    TooMany,
    /// The text is not that of a snapshot.
    #[error("line {line} is not a line of a revocation snapshot")]
    Text {
        /// The number of the first bad line, from 1.
        line: usize,
    },
}

impl BadFeed {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadFeed::Layout(_) => "feed_layout",
            BadFeed::Key(refusal) => refusal.code(),
            BadFeed::Signature => "feed_signature",
            BadFeed::OtherFeed { .. } => "feed_of_another",
            BadFeed::Gap { .. } => "feed_gap",
            BadFeed::RolledBack { .. } => "feed_rolled_back",
            BadFeed::Forked { .. } => "feed_forked",
            BadFeed::Incomplete { .. } => "feed_incomplete",
            BadFeed::FromFuture { .. } => "feed_from_future",
            BadFeed::TooMany => "feed_too_many",
            BadFeed::Text { .. } => "feed_text",
        }
    }
}
