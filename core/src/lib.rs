//! The pure core of Sublet: tokens, capabilities, verification and decisions.
//!
//! This crate uses no socket, file, clock or random source: the time and entropy are arguments.
//! docs/SPEC.md is its contract; each module names its section.
//!
//! Each folder answers one question:
//!
//! | folder | question |
//! |---|---|
//! | [`base`] | names, keys, bytes and limits |
//! | `biscuit` | how is a token's block written and read? |
//! | [`capability`] | what may be done, and does one capability cover another? |
//! | [`token`] | reading, verifying and making tokens |
//! | [`evidence`] | what is shown with a token (a call, its proof, its receipt), and what is recorded |
//! | [`trust`] | whose signature counts: the trust bundle and the life of its keys |
//! | [`revocation`] | what is revoked: the revocation feed, and is a chain still valid? |
//! | [`authorize`] | a tool's whole check of a call |
//! | [`state`] | what the broker knows, and the only way to change it |
//! | [`decide`] | one pure decision for each request to the broker |
//! | [`refusal`] | why something is refused, with a stable code |
//!
//! A chain is made and attenuated with [`token::mint`], verified with [`token::verify`], and a call
//! under it is decided with [`authorize::Authorizer`].

pub mod authorize;
pub mod base;
pub mod biscuit;
pub mod capability;
pub mod decide;
pub mod evidence;
pub mod refusal;
pub mod revocation;
pub mod state;
pub mod token;
pub mod trust;
