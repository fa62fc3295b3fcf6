//! What an agent has: an identity that is enrolled, renewed and rotated, and delegations that it uses and hands on.

pub mod current;
pub mod delegation;
pub mod directory;
pub mod enrollment;
pub mod grant;
pub mod identity;
pub mod renewal;
pub mod workload;
