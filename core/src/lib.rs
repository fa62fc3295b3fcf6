//! What is true: the pure heart of Sublet.
//!
//! No socket, file, clock or random source is named in this crate: `now` and entropy are
//! arguments. docs/SPEC.md is its contract; each module names its section.

pub mod bytes;
pub mod id;
pub mod key;
pub mod limits;
pub mod sign;
pub mod text;
