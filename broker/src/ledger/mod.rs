//! The ledger for others: published as tiles, cosigned by witnesses, read below a hop. SPEC section 9.

pub(crate) mod below;
pub(crate) mod publish;
pub(crate) mod witness;
pub(crate) mod witnessed;
