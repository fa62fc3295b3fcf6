//! Who is asked: the Sublet broker.
//!
//! The road, one word a step, one file a step:
//!
//! ```text
//! receive → authenticate → decide → record → respond
//! ```
//!
//! `service` receives and hands on, `authenticate` shows who asks, `sublet_core::decide` decides,
//! `pipeline` has it recorded by the `store`, `respond` answers. `serve` is the wiring.

mod admission;
pub mod authenticate;
mod below;
pub mod broker;
mod calls;
pub mod certificate;
pub mod config;
pub mod enroll;
pub mod feed;
pub mod keys;
pub mod listen;
pub mod login;
mod metrics;
mod oauth;
pub mod pipeline;
mod places;
mod publish;
mod record;
pub mod refusals;
pub mod repeat;
pub mod respond;
mod retain;
mod rotate;
pub mod serve;
mod service;
mod shown;
pub mod store;
pub mod tls;
mod traces;
mod transport;
pub mod witness;
mod witnessed;
