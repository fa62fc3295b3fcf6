//! Requests of the admin: agents, profiles, join tokens, the keys of the broker.

pub(in crate::decide) mod fleet;
pub(in crate::decide) mod keys;
