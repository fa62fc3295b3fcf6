//! What is true: the pure heart of Sublet.
//!
//! No socket, file, clock or random source is named in this crate: `now` and entropy are
//! arguments. docs/SPEC.md is its contract; each module names its section.
//!
//! One room for one question:
//!
//! | room | question |
//! |---|---|
//! | [`base`] | names, keys, bytes and limits that everything stands on |
//! | `biscuit` | how a token's block is written and read |
//! | [`capability`] | what may be done, and is this inside of that? |
//! | [`token`] | from bytes to belief: read, verify, make a token |
//! | [`evidence`] | what is shown with a token (a call, its proof, its receipt), and what is recorded |
//! | [`trust`] | whose signature counts: the trust bundle and the life of its keys |
//! | [`revocation`] | what has ended: the revocation feed, and is a chain alive? |
//! | [`authorize`] | a tool's whole check of a call |
//! | [`state`] | what the broker knows, and the one way in which that changes |
//! | [`decide`] | one pure decision for each thing that the broker can be asked |
//! | [`refusal`] | why something is refused, with a stable code |

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
