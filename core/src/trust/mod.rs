//! Whose signature counts: the trust bundle, and the life of the broker's keys in it.

pub mod bundle;
pub mod rotation;
