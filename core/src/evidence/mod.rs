//! What is shown with a token, and what is recorded: calls, their proofs, receipts, records.

pub mod call;
pub mod proof;
pub mod receipt;
pub mod record;
pub mod replay_cache;
pub mod workload;
