//! The Sublet broker, which issues and records delegations.
//!
//! The road of a request:
//!
//! ```text
//! receive → authenticate → decide → record → respond
//! ```
//!
//! `service` reads the message. In `request`, `authenticate` shows who calls; `pipeline` lets
//! `sublet_core::decide` decide and the `store` record; `respond` answers. `serve` is the wiring.

mod admission;
pub mod broker;
pub mod config;
pub mod enroll;
pub mod keys;
mod ledger;
mod maintenance;
mod observe;
pub mod request;
pub mod revocation;
pub mod serve;
mod service;
pub mod store;
pub mod transport;
