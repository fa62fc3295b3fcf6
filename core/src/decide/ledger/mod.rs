//! Recording uses, and retention of the ledger. SPEC 9.

pub(in crate::decide) mod retain;
pub(in crate::decide) mod uses;
