//! Requests of an agent about itself: enrollment, renewal, its keys. SPEC 3.7.

pub(in crate::decide) mod enroll;
pub(in crate::decide) mod former;
pub(in crate::decide) mod kept_identity;
