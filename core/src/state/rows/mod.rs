//! The rows of the state. Each file has one kind of row; `State::apply` changes them.

pub mod agents;
pub mod answers;
pub(crate) mod delegations;
pub mod held;
pub mod profile;
pub mod retention;
pub mod session;
pub(crate) mod verifier;
