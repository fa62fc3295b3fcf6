//! The connection to a broker: TLS, credentials, retries, and one method for each call.

pub mod connect;
pub mod credential;
pub(crate) mod lists;
pub(crate) mod repeats;
pub mod rpc;
pub mod tls;
pub mod trace;
pub(crate) mod unreachable;
