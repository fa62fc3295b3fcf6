//! A key of a trust bundle: its number, use, state and validity. SPEC 2.11.
//!
//! Owns: the types. Does not own: which of them a bundle accepts (`skipped`), how one bundle
//! follows another.

use serde::{Deserialize, Serialize};

use crate::base::id::UnixMillis;
use crate::base::key::PublicKey;

/// The largest bundle, in bytes: about 200 bytes a key, so hundreds of keys.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024;

/// A key's number, unique in its bundle. It selects a key and has no other meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a key signs. A key has one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// Block 0 of delegations.
    Delegation,
    /// Identity tokens.
    Identity,
    /// Receipts.
    Receipt,
    /// Checkpoints of the ledger.
    Ledger,
    /// Heads of the revocation feed.
    Feed,
    /// Trust bundles.
    Bundle,
}

impl KeyUse {
    /// All uses, in the order of the first numbers of their keys.
    pub const ALL: [KeyUse; 6] = [
        KeyUse::Delegation,
        KeyUse::Identity,
        KeyUse::Receipt,
        KeyUse::Ledger,
        KeyUse::Feed,
        KeyUse::Bundle,
    ];

    /// Returns the name of the use in a bundle.
    pub fn name(self) -> &'static str {
        match self {
            KeyUse::Delegation => "delegation",
            KeyUse::Identity => "identity",
            KeyUse::Receipt => "receipt",
            KeyUse::Ledger => "ledger",
            KeyUse::Feed => "feed",
            KeyUse::Bundle => "bundle",
        }
    }

    /// Returns the use with this name; `None` for a name that this version does not know.
    pub fn from_name(name: &str) -> Option<Self> {
        KeyUse::ALL.into_iter().find(|use_| use_.name() == name)
    }
}

/// The state of a key in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published before it signs. What it signs from `not_before` on is accepted by a reader that
    /// does not know yet that it has become active.
    Prepared,
    /// Signs.
    Active,
    /// Signs no more. What it signed during its validity stays valid.
    Retired,
    /// Compromised. Nothing that it signed is accepted.
    Tainted,
}

/// One key of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// What the key signs.
    #[serde(rename = "use")]
    pub use_: KeyUse,
    /// The key's number.
    pub id: KeyId,
    /// The name of its algorithm, which must be that of `public`.
    pub alg: String,
    /// The public key.
    pub public: PublicKey,
    /// The time from which on it may sign.
    pub not_before: UnixMillis,
    /// The time from which on it may not sign. What it signed must expire by then.
    pub not_after: UnixMillis,
    /// The state of the key.
    pub state: KeyState,
}

impl KeyState {
    /// Returns the name of the state in a bundle.
    pub fn name(self) -> &'static str {
        match self {
            KeyState::Prepared => "prepared",
            KeyState::Active => "active",
            KeyState::Retired => "retired",
            KeyState::Tainted => "tainted",
        }
    }
}

impl TrustedKey {
    pub(super) fn in_its_time(&self, at: UnixMillis) -> bool {
        (self.not_before..self.not_after).contains(&at)
    }
}
