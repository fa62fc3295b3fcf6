//! What an agent has: an identity, which it enrolls, renews and rotates, and delegations, which it
//! uses and attenuates for others.

pub mod current;
pub mod delegation;
pub mod directory;
pub mod enrollment;
pub mod grant;
pub mod identity;
pub mod renewal;
pub mod workload;
