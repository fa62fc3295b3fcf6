//! Shared support of the tests: a fleet with keys, tokens and a tool, all of core alone.
//!
//! [`Fleet`] is the honest side: a trust bundle, roots, hops, receipts. [`Tool`] is what a guarded
//! tool does with a request, step by step, so that a test asserts the code that a user would see.
//! [`House`] is the broker's state with decisions committed to memory. [`raw`] is the attacker's
//! bench: envelopes and blocks that no honest maker writes. [`later`] writes what a later version may.
//! [`universe`] draws scopes and calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod fleet;
mod house;
pub mod later;
pub mod raw;
mod tool;
pub mod universe;

pub use fleet::{
    AUDIENCE, Fleet, NOW, agent, append, curve_key, key, key_id, nonce, scope, to_agent, to_helper,
    to_self,
};
pub use house::House;
pub use tool::{Request, Tool};

use sublet_core::refusal::Refusal;

/// Random cases of each law: `SUBLET_LAW_CASES`, or 256.
pub fn law_cases() -> u32 {
    std::env::var("SUBLET_LAW_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

/// The stable code of a refusal, or `granted`.
pub fn code<T>(outcome: Result<T, impl Into<Refusal>>) -> &'static str {
    match outcome {
        Ok(_) => "granted",
        Err(refusal) => refusal.into().code(),
    }
}
