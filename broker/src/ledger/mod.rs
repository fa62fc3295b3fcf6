//! The ledger towards others: published as tiles, shown to witnesses, read below a hop. SPEC section 9.

pub(crate) mod below;
pub(crate) mod publish;
pub(crate) mod witness;
pub(crate) mod witnessed;
