//! The position of a reader in the feed. SPEC section 7.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A position in the revocation feed: all deltas up to and including this number, in this epoch.
/// Positions are ordered by epoch, then by number. Serialised as the two numbers.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct FeedPosition {
    /// The epoch: it counts restarts of the numbering, and never decreases.
    pub epoch: u64,
    /// The number of the last delta; 0 before the first.
    pub sequence: u64,
}

impl FeedPosition {
    /// The position of a reader that has nothing.
    pub const BEGINNING: FeedPosition = FeedPosition::new(0, 0);

    /// Returns the position after the delta of this number.
    pub const fn new(epoch: u64, sequence: u64) -> Self {
        FeedPosition { epoch, sequence }
    }
}

impl From<(u64, u64)> for FeedPosition {
    fn from((epoch, sequence): (u64, u64)) -> Self {
        FeedPosition { epoch, sequence }
    }
}

impl From<FeedPosition> for (u64, u64) {
    fn from(position: FeedPosition) -> Self {
        (position.epoch, position.sequence)
    }
}

/// `epoch/sequence`.
impl fmt::Display for FeedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_by_epoch_and_stored_as_before() {
        let position = FeedPosition::new;
        assert!(position(1, 9) < position(2, 0) && position(2, 0) < position(2, 1));
        assert!(FeedPosition::BEGINNING < position(1, 0));
        assert_eq!(position(3, 7).to_string(), "3/7");
        let stored = serde_json::to_string(&position(3, 7)).unwrap();
        assert_eq!(stored, "[3,7]");
        assert_eq!(serde_json::from_str::<FeedPosition>(&stored).unwrap(), position(3, 7));
    }
}
