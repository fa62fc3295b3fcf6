//! The operating system as Sublet uses it: clocks, a random source, files that appear whole, and a
//! bounded cache of verified chains. Broker and client use this crate.
//!
//! Modules: `ports` for time and randomness, `files` for durable files, `chains` for the cache.

pub mod chains;
pub mod files;
pub mod ports;
