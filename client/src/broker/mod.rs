//! The way to a broker: connecting, TLS, who asks, and one method for each call.

pub mod connect;
pub mod credential;
pub(crate) mod lists;
pub(crate) mod repeats;
pub mod rpc;
pub mod tls;
pub mod trace;
pub(crate) mod unreachable;
