//! Keys in a PKCS#11 token: an HSM, a smart card, SoftHSM.
//!
//! A [`Uri`] (RFC 7512) names a [`Token`]. The token makes keys that never leave it, finds them by their
//! public keys, and signs with them as a [`sublet_core::base::sign::Signer`]. It makes Ed25519 keys if
//! it can (PKCS#11 3.0, section 6.3), else secp256r1. Every signature is verified before it is returned,
//! so an error of the device is a fault and never an invalid token.

mod key;
mod keys;
mod token;
mod uri;

use std::path::PathBuf;

pub use self::key::TokenKey;
pub use self::token::Token;
pub use self::uri::Uri;

/// Why a token or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// It is not a URI of RFC 7512, or an attribute is missing or not understood.
    #[error("{0}")]
    Uri(String),
    /// The module cannot be loaded.
    #[error("the module {}: {}", path.display(), said(.error))]
    Module {
        /// The path of the module.
        path: PathBuf,
        /// The error of the module.
        error: cryptoki::error::Error,
    },
    /// The PIN cannot be read or was refused before.
    #[error("the PIN in {}: {detail}", path.display())]
    Pin {
        /// The path of the PIN's file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// No token has this label.
    #[error("no token is labelled {0:?}")]
    NoToken(String),
    /// More than one key has this label.
    #[error("{found} keys are labelled {label:?}: one is needed")]
    Object {
        /// The label.
        label: String,
        /// The number of keys with this label.
        found: usize,
    },
    /// Another program made the key with this label, so it is not found by its thumbprint.
    #[error("the key that is labelled {0:?} was not made by sublet")]
    NotOurs(String),
    /// The token makes neither Ed25519 nor secp256r1 keys.
    #[error("the token makes no Ed25519 and no secp256r1 keys")]
    NoAlgorithm,
    /// A key of the token is of another kind.
    #[error("a key of the token is no Ed25519 or secp256r1 key: {0}")]
    Key(String),
    /// The token returned an error.
    #[error("the token: {}", said(.0))]
    Device(#[from] cryptoki::error::Error),
}

/// Returns the function and the error code. The full text of the standard is a page long.
fn said(error: &cryptoki::error::Error) -> String {
    match error {
        cryptoki::error::Error::Pkcs11(why, called) => format!("{called:?}: {why:?}"),
        other => other.to_string(),
    }
}
