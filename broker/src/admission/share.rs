//! Whose share of the broker's work a request takes, before and after its proof.
//!
//! Owns: [`Share`]. Does not own: how work is shared (`turns`), who a caller is (`authenticate`).
//!
//! Invariants: a share of a caller is taken only on a connection on which a proof of that caller held
//! last, or after the proof of the request itself; a claimed name takes none.

use super::account::{Account, Network};

/// Whose share a request takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Share {
    /// A caller that has proven itself.
    Caller(Account),
    /// An address of which nobody has proven itself yet on this connection.
    Address(Network),
    /// The same, of connections on which proofs did not hold: whoever is new at that address does not
    /// wait behind them.
    Suspect(Network),
    /// A connection of which the address tells nothing: of the admin's socket, or of a proxy.
    Connection(u64),
}

impl Share {
    /// Whether somebody has proven itself.
    pub(crate) fn is_proven(&self) -> bool {
        matches!(self, Share::Caller(_))
    }
}
