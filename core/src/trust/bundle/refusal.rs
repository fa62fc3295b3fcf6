//! Why a bundle, or a key of one, is not accepted.

use super::key::{BUNDLE_BYTES_MAX, KeyId};
use crate::base::id::{TrustDomain, UnixMillis};
use crate::base::json::BadJson;
use crate::base::utc::utc;

/// Returns the likely cause of a bundle that no expected key signed.
fn unsigned(of: &str) -> &'static str {
    match of {
        HELD => "it is another broker's, or a rotation of the bundle key was missed",
        _ => "it was altered",
    }
}

/// The name of the current bundle in messages.
pub(super) const HELD: &str = "the bundle held";

/// Why a bundle is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBundle {
    /// The text is larger than [`BUNDLE_BYTES_MAX`].
    #[error("larger than {BUNDLE_BYTES_MAX} bytes")]
    TooLarge,
    /// The text is not JSON.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// The JSON does not have the form of a bundle.
    #[error("not the form of a trust bundle: {0}")]
    Form(String),
    /// One number has two keys, one key is listed twice, or an algorithm is not the key's.
    #[error("key {0} is listed twice, or with two uses, or with the wrong algorithm")]
    Keys(KeyId),
    /// No bundle key that may sign it signed it.
    #[error("not signed by an active bundle key of {}: {}", .0, unsigned(.0))]
    Signature(&'static str),
    /// Its signing key was not valid when it was issued.
    #[error("its signing key {0} was not valid when it was issued")]
    SignedOutOfTime(KeyId),
    /// It has expired.
    #[error("it expired at {}", utc(.0.seconds()))]
    Expired(UnixMillis),
    /// It was issued in the future.
    #[error("it is issued in the future")]
    FromFuture,
    /// It is of another trust domain.
    #[error("it is of the trust domain {found}, not of {held}")]
    Domain {
        /// The trust domain of the bundle.
        found: TrustDomain,
        /// The trust domain of the current bundle.
        held: TrustDomain,
    },
    /// It is older than the current bundle, or of the same version and different.
    #[error("version {found} does not follow version {held}")]
    RolledBack {
        /// The version of the bundle.
        found: u64,
        /// The version of the current bundle.
        held: u64,
    },
    /// It gives a number to another key, or a key another number or use, than the current bundle.
    #[error("key {0} is another key, or has another number or use, than in the bundle held")]
    KeyChanged(KeyId),
    /// A key that is tainted in the current bundle is missing, or not tainted.
    #[error("key {0} is tainted in the bundle held: it must stay listed as that")]
    Untainted(KeyId),
}

impl BadBundle {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadBundle::TooLarge => "bundle_too_large",
            BadBundle::Json(_) | BadBundle::Form(_) => "bundle_form",
            BadBundle::Keys(_) => "bundle_keys",
            BadBundle::Signature(_) => "bundle_signature",
            BadBundle::SignedOutOfTime(_) => "bundle_signed_out_of_time",
            BadBundle::Expired(_) => "bundle_expired",
            BadBundle::FromFuture => "bundle_from_future",
            BadBundle::Domain { .. } => "bundle_domain",
            BadBundle::RolledBack { .. } => "bundle_rolled_back",
            BadBundle::KeyChanged(_) => "bundle_key_changed",
            BadBundle::Untainted(_) => "bundle_untainted",
        }
    }
}

/// The broker's own bundle lists a key that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the trust bundle lists key {0} for the use {1:?}, which this version does not understand: a bundle \
     made after it here would lose that key. Run the version of the broker that made it, or a later one"
)]
pub struct LaterBundle(pub KeyId, pub String);

/// Why a key may not have signed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// The bundle lists no such key for this use.
    #[error("key {0} is not in the trust bundle for this use")]
    Unknown(KeyId),
    /// The key is prepared, for later than this was signed.
    #[error("key {0} may sign only later than this was signed")]
    Prepared(KeyId),
    /// What it signed expires after the key.
    #[error("this is valid for longer than key {0}, which signed it")]
    Outlived(KeyId),
    /// This was signed outside the key's validity.
    #[error("key {0} was not valid when this was signed")]
    OutsideItsTime(KeyId),
    /// The key is tainted.
    #[error("key {0} is tainted: nothing that it signed is accepted")]
    Tainted(KeyId),
}

impl KeyRefusal {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            KeyRefusal::Unknown(_) => "unknown_key",
            KeyRefusal::Prepared(_) => "key_prepared",
            KeyRefusal::Outlived(_) => "key_outlived",
            KeyRefusal::OutsideItsTime(_) => "key_outside_its_time",
            KeyRefusal::Tainted(_) => "key_tainted",
        }
    }
}
