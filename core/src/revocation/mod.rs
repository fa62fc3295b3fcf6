//! Revocation: the revocation feed, and the check whether a chain is valid. SPEC section 7.

pub(crate) mod alive;
pub mod feed;
