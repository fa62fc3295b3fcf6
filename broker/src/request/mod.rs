//! A request from its proof to its answer: authenticate, decide and record, respond.

pub mod authenticate;
pub mod pipeline;
pub mod refusals;
pub mod repeat;
pub mod respond;
