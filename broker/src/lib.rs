//! Who is asked: the Sublet broker.
//!
//! The road, one word a step, one file a step:
//!
//! ```text
//! receive → authenticate → decide → record → respond
//! ```
//!
//! `service` receives and hands on; in `request`, `authenticate` shows who asks, `pipeline` has
//! `sublet_core::decide` decide and the `store` record, `respond` answers. `serve` is the wiring.

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
