//! A token from bytes to belief: [`UnverifiedToken`] is read, [`verify`] makes a verified one of it, [`mint`]
//! makes a new block. SPEC sections 2 to 5.

pub mod mint;
pub mod narrow;
mod presentation;
mod unverified;
pub mod verify;

pub use presentation::Presentation;
pub use unverified::*;
