//! What the broker does by itself: its keys change when it is time, and what has ended is pruned.

pub(crate) mod retain;
pub(crate) mod rotate;
