//! What is true: the pure heart of Sublet.
//!
//! No socket, file, clock or random source is named in this crate: `now` and entropy are
//! arguments. docs/SPEC.md is its contract; each module names its section.
//!
//! Where to look: a token from bytes to belief is `token` → `verify`; what it allows is
//! `capability`; what is shown with it is `proof` and `receipt`; what ends it is `feed`; making one is
//! `mint`. A tool's whole check of a call is `authorize`; the broker's decisions are `decide`.

pub mod agents;
mod alive;
pub mod answers;
pub mod authorize;
pub mod block;
pub mod bundle;
pub mod bytes;
pub mod call;
pub mod caller;
pub mod capability;
pub mod datalog;
pub mod decide;
mod delegations;
pub mod effective;
pub mod feed;
pub mod held;
pub mod id;
pub mod json;
pub mod key;
pub mod key_file;
pub mod limits;
pub mod mint;
pub mod narrow;
pub mod profile;
pub mod proof;
pub mod receipt;
pub mod record;
pub mod refusal;
pub mod replay_cache;
pub mod retention;
pub mod rotation;
pub mod session;
pub mod sign;
pub mod state;
pub mod text;
pub mod token;
pub mod utc;
mod verifier;
pub mod verify;
mod wire;
pub mod workload;
