//! End to end: the real binary, real processes, real sockets on port 0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod ahead;
mod bounds;
mod causes;
mod clones;
mod codes;
mod consent;
mod crowded;
mod demo;
mod enroll;
mod evidence;
mod fleet;
mod former_keys;
mod golden;
mod guard;
mod handed;
mod heads;
#[cfg(feature = "pkcs11")]
mod hsm;
mod incident;
mod inclusion;
mod key_files;
mod kills;
mod ledger;
mod memory;
mod names;
mod overload;
mod peers;
mod person;
mod pki;
mod race;
mod records;
mod replay;
mod restored;
mod retention;
mod room;
mod rotation;
mod stage;
mod traces;
mod transport;
mod upkeep;
mod uses;
mod walk;
mod wire;
mod witness;
mod workload_api;
