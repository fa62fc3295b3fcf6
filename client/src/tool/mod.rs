//! What a tool has: a guard or a checker in front of its work, the revocation feed, and evidence of
//! each decision.

pub mod checker;
pub mod follow;
pub mod guard;
pub(crate) mod inclusion;
pub mod peer;
pub mod runtime;
pub mod spool;
