//! What a process of Sublet needs of the machine that it runs on: clocks, a random source, files that appear
//! whole, and a bounded memory of verified chains. Broker and client both stand on it.
//!
//! Where to look: `ports` for time and randomness, `files` for durable files, `chains` for the memory.

pub mod chains;
pub mod files;
pub mod ports;
