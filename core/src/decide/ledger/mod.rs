//! What is recorded of uses, and what of the ledger is kept. SPEC 9.

pub(in crate::decide) mod retain;
pub(in crate::decide) mod uses;
