//! The share of the broker's work that a request counts for, before and after its proof.
//!
//! Owns: [`Share`]. Does not own: how work is shared (`turns`), who a caller is (`authenticate`).
//!
//! Invariants: a request counts for a caller only if the last proof on its connection was that caller's,
//! or after its own proof. A claimed name counts for nothing.

use super::account::{Account, Network};

/// The share that a request counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Share {
    /// A proven caller.
    Caller(Account),
    /// An address, on a connection without a valid proof.
    Address(Network),
    /// An address, on a connection with failed proofs. New connections of the address do not wait for them.
    Suspect(Network),
    /// A connection on the admin's socket or behind a proxy, where the address says nothing.
    Connection(u64),
}

impl Share {
    /// Returns whether it is a proven caller's.
    pub(crate) fn is_proven(&self) -> bool {
        matches!(self, Share::Caller(_))
    }
}
