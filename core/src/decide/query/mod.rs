//! Reads and lists, and who may see what.

pub(in crate::decide) mod list;
pub(in crate::decide) mod read;
