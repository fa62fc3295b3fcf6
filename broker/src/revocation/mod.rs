//! The revocation feed, as the broker publishes it, and its watchers. SPEC section 7.

pub mod feed;
pub(crate) mod places;
