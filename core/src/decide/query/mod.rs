//! What may be seen, and by whom: reads and lists.

pub(in crate::decide) mod list;
pub(in crate::decide) mod read;
