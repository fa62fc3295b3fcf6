//! The revocation feed, as the broker publishes it, and those who follow it. SPEC section 7.

pub mod feed;
pub(crate) mod places;
