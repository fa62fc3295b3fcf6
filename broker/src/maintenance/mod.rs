//! What the broker does by itself: it rotates its keys, and prunes what has ended.

pub(crate) mod retain;
pub(crate) mod rotate;
