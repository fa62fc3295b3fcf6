//! Revocations, and the signed feed that carries them to tools. SPEC section 7.
//!
//! Owns: what can be revoked, the deltas and their hash chain ([`Delta`]), signed heads
//! ([`SignedHead`]), the view that a verifier keeps of them and how old it is
//! ([`RevocationView`]), and the broker's side ([`FeedWriter`]).
//! Does not own: who may revoke (`decide`), sockets.
//!
//! Invariants: a delta counts only once a verified head binds it; sequence numbers have no gap; a
//! view never goes back; what is revoked stays so until it expires on the issuer's clock, or its
//! agent is resumed, or its principal restored; and a view's age is on the issuer's clock, so an old list that is played
//! again does not become fresh.

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

/// Why something of a feed is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFeed {
    /// Not the layout.
    #[error(transparent)]
    Layout(#[from] BadLayout),
    /// A head that no feed key of the bundle signed.
    #[error("the head's key: {0}")]
    Key(KeyRefusal),
    /// The signature does not hold.
    #[error("the head's signature does not hold")]
    Signature,
    /// Another feed.
    #[error("the feed is of {found}, not of {held}")]
    OtherFeed {
        /// Of whom it is.
        found: TrustDomain,
        /// Whose is followed.
        held: TrustDomain,
    },
    /// A delta that does not follow the last one.
    #[error("delta {found} does not follow {held}")]
    Gap {
        /// Its number.
        found: u64,
        /// The last number held.
        held: u64,
    },
    /// The head goes back behind what is held.
    #[error(
        "the head ({epoch}, {sequence}) is behind what was seen before: the feed was rolled back. What was revoked stays revoked here. The operator of the broker must put its newest store back, or, where that is lost, begin a new epoch of the feed by removing `store.reached`, and revoke anew what was revoked since"
    )]
    RolledBack {
        /// Its epoch.
        epoch: u64,
        /// Its sequence.
        sequence: u64,
    },
    /// Two heads at one number, or deltas that the head does not bind.
    #[error(
        "the head at {sequence} does not bind the deltas that were sent: the feed is forked or altered"
    )]
    Forked {
        /// At which number.
        sequence: u64,
    },
    /// The head counts deltas that were not sent.
    #[error("the head is at {head}, the deltas only reach {held}")]
    Incomplete {
        /// Its number.
        head: u64,
        /// The last number held.
        held: u64,
    },
    /// The head is from the future.
    #[error("the head is {ahead_ms} ms ahead of this clock")]
    FromFuture {
        /// By how much.
        ahead_ms: i64,
    },
    /// Too many deltas without a head.
    #[error("over {PENDING_MAX} deltas without a head")]
    TooMany,
    /// Not the text form.
    #[error("no revocation snapshot in text form, line {line}")]
    Text {
        /// Which line.
        line: usize,
    },
}

impl BadFeed {
    /// The stable code.
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
