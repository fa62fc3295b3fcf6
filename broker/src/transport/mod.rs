//! How requests come in: sockets, TLS and client certificates, gRPC, and OAuth over HTTP.

pub mod certificate;
pub(crate) mod grpc;
pub mod listen;
pub(crate) mod oauth;
pub(crate) mod shown;
pub mod tls;
