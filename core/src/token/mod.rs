//! Tokens: [`UnverifiedToken`] is decoded, [`verify`] verifies it, [`mint`] makes new blocks. SPEC
//! sections 2 to 5.

pub mod mint;
pub mod narrow;
mod presentation;
mod unverified;
pub mod verify;

pub use presentation::Presentation;
pub use unverified::*;
