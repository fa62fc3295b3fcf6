//! What has ended: the revocation feed, and the question whether a chain is alive. SPEC section 7.

pub(crate) mod alive;
pub mod feed;
