//! A key of a trust bundle: its number, use, state and time. SPEC 2.11.
//!
//! Owns: the types. Does not own: which of them a bundle takes (`skipped`),
//! how one bundle follows another.

use serde::{Deserialize, Serialize};

use crate::base::id::UnixMillis;
use crate::base::key::PublicKey;

/// A bundle's bytes: some 200 a key, room for hundreds of keys.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024;

/// A key's number, unique in its bundle. Selects a key and is trusted for nothing else.
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

    /// The word for it, as in a bundle.
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

    /// The use with this word, `None` if this version knows none.
    pub fn from_name(name: &str) -> Option<Self> {
        KeyUse::ALL.into_iter().find(|use_| use_.name() == name)
    }
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published ahead, so that what it signs from `not_before` on is believed by whoever has not
    /// heard yet that it has become active.
    Prepared,
    /// Signs.
    Active,
    /// Signs no more; what it signed in its time holds.
    Retired,
    /// Compromised: nothing that it signed holds.
    Tainted,
}

/// One key of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// What it signs.
    #[serde(rename = "use")]
    pub use_: KeyUse,
    /// Its number.
    pub id: KeyId,
    /// Its algorithm; must be that of `public`.
    pub alg: String,
    /// The key.
    pub public: PublicKey,
    /// From when it may sign.
    pub not_before: UnixMillis,
    /// From when it may sign no more, and what it signed for a time is over.
    pub not_after: UnixMillis,
    /// Where it is in its life.
    pub state: KeyState,
}

impl KeyState {
    /// The word for it, as in a bundle.
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
