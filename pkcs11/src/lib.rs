//! Keys in a PKCS#11 token: an HSM, a smart card, SoftHSM.
//!
//! A [`Token`] is named by a [`Uri`] (RFC 7512). It makes keys that never leave it, finds them again by
//! their public halves, and signs with them as a [`sublet_core::base::sign::Signer`]. It makes Ed25519 keys where
//! it offers them (PKCS#11 3.0, section 6.3), else secp256r1. Every signature is verified before it leaves
//! here, so that a device that errs is a fault and no bad token.

mod key;
mod keys;
mod token;
mod uri;

use std::path::PathBuf;

pub use self::key::TokenKey;
pub use self::token::Token;
pub use self::uri::Uri;

/// Why there is no token, or no key.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Not a URI of RFC 7512 with what is needed.
    #[error("{0}")]
    Uri(String),
    /// The module cannot be loaded.
    #[error("the module {}: {}", path.display(), said(.error))]
    Module {
        /// Which.
        path: PathBuf,
        /// Why.
        error: cryptoki::error::Error,
    },
    /// The PIN cannot be read.
    #[error("the PIN in {}: {detail}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// No token has this label.
    #[error("no token is labelled {0:?}")]
    NoToken(String),
    /// More than one key has this label.
    #[error("{found} keys are labelled {label:?}: one is needed")]
    Object {
        /// Which.
        label: String,
        /// How many.
        found: usize,
    },
    /// A key with this label was made by somebody else, and is not found by its thumbprint.
    #[error("the key that is labelled {0:?} was not made by sublet")]
    NotOurs(String),
    /// The token makes neither kind.
    #[error("the token makes no Ed25519 and no secp256r1 keys")]
    NoAlgorithm,
    /// A key that is none of ours.
    #[error("a key of the token is no Ed25519 or secp256r1 key: {0}")]
    Key(String),
    /// What the token says.
    #[error("the token: {}", said(.0))]
    Device(#[from] cryptoki::error::Error),
}

/// The name of what was called and of the answer: the words of the standard are a page.
fn said(error: &cryptoki::error::Error) -> String {
    match error {
        cryptoki::error::Error::Pkcs11(why, called) => format!("{called:?}: {why:?}"),
        other => other.to_string(),
    }
}
