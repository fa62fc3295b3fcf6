//! The Biscuit format: how a block of a token is written and read. SPEC section 2.

pub mod block;
pub mod datalog;
pub(crate) mod wire;
