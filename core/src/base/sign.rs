//! Private keys, and the trait through which they are used. SPEC section 2 (2.9).
//!
//! Owns: making signatures. Every signature of the project, over blocks and over messages, is made
//! through [`Signer::sign`]; the code that builds the bytes decides what may be signed. Does not
//! own: the file form of a key (`key_file`), where it is stored (the client and the broker).
//!
//! Invariants: a key in memory is zeroed on drop; no `Debug`, `Display` or serde output contains
//! it.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use crate::base::key::{Algorithm, PublicKey};

/// A signer could not sign, because its device is gone or its key is unusable. Nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signer did not sign: {0}")]
pub struct SignerFault(pub String);

/// A holder of one private key: in memory, or in a device.
pub trait Signer: Send + Sync {
    /// Returns the public half of the key.
    fn public_key(&self) -> &PublicKey;
    /// Signs exactly these bytes. Returns 64 bytes for Ed25519, and minimal low-s DER for
    /// secp256r1.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFault>;
}

/// A private key in memory.
///
/// ```
/// use sublet_core::base::key::PublicKey;
/// use sublet_core::base::sign::{SecretKey, Signer};
///
/// let key = SecretKey::ed25519_from_seed([7; 32]); // from a random source in real code
/// let public: PublicKey = key.public_key().to_string().parse()?; // ed25519:BASE64URL
/// let signature = key.sign(b"message")?;
/// assert!(public.verify(b"message", &signature));
/// assert!(!public.verify(b"another", &signature));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SecretKey {
    pub(crate) inner: Inner,
    public: PublicKey,
}

pub(crate) enum Inner {
    Ed25519(Box<SigningKey>),
    Secp256r1(Box<p256::ecdsa::SigningKey>),
}

impl SecretKey {
    /// Returns the Ed25519 key of a 32-byte seed (RFC 8032 section 5.1.5), which must come from a
    /// cryptographic random source.
    pub fn ed25519_from_seed(seed: [u8; 32]) -> Self {
        SecretKey::ed25519_of(&Zeroizing::new(seed))
    }

    /// Returns the Ed25519 key of a seed that its owner wipes, so no further copy of it is made.
    pub fn ed25519_of(seed: &Zeroizing<[u8; 32]>) -> Self {
        SecretKey::of_ed25519(SigningKey::from_bytes(seed))
    }

    pub(crate) fn of_ed25519(key: SigningKey) -> Self {
        let public = PublicKey::of_ed25519(key.verifying_key());
        SecretKey { inner: Inner::Ed25519(Box::new(key)), public }
    }

    /// Returns the secp256r1 key with this scalar; `None` for the scalars 0 and ≥ n.
    pub fn secp256r1_from_seed(scalar: &[u8; 32]) -> Option<Self> {
        let key = p256::ecdsa::SigningKey::from_slice(scalar).ok()?;
        SecretKey::from_p256(key)
    }

    pub(crate) fn from_p256(key: p256::ecdsa::SigningKey) -> Option<Self> {
        let point = key.verifying_key().to_encoded_point(true);
        let public = PublicKey::from_bytes(Algorithm::Secp256r1, point.as_bytes()).ok()?;
        Some(SecretKey { inner: Inner::Secp256r1(Box::new(key)), public })
    }
}

/// Converts a secp256r1 signature of a device, r and s of 32 bytes each (PKCS#11 3.0, section
/// 6.3.1), to the accepted form: minimal DER, low s. `None` if the bytes are no signature.
pub fn secp256r1_signature(raw: &[u8]) -> Option<Vec<u8>> {
    let signature = p256::ecdsa::Signature::from_slice(raw).ok()?;
    Some(one_form(signature))
}

fn one_form(signature: p256::ecdsa::Signature) -> Vec<u8> {
    signature.normalize_s().unwrap_or(signature).to_der().as_bytes().to_vec()
}

impl Signer for SecretKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFault> {
        match &self.inner {
            Inner::Ed25519(key) => Ok(key.sign(message).to_bytes().to_vec()),
            Inner::Secp256r1(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                Ok(one_form(signature))
            }
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types that hold a private key wipe it when they are dropped. Otherwise this does not compile.
    #[test]
    fn a_key_in_memory_is_wiped_when_it_is_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        for key in [
            SecretKey::ed25519_from_seed([9; 32]),
            SecretKey::secp256r1_from_seed(&[9; 32]).unwrap(),
        ] {
            match &key.inner {
                Inner::Ed25519(key) => is_wiped(key.as_ref()),
                Inner::Secp256r1(key) => is_wiped(key.as_ref()),
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SecretKey::ed25519_from_seed([9; 32]);
        assert!(!format!("{key:?}").contains("0909"));
        assert!(format!("{key:?}").starts_with("SecretKey(of ed25519:"));
    }

    #[test]
    fn the_signature_of_a_device_is_brought_into_its_one_form() {
        let key = SecretKey::secp256r1_from_seed(&[9; 32]).unwrap();
        let der = key.sign(b"message").unwrap();
        let parsed = p256::ecdsa::Signature::from_der(&der).unwrap();
        let (r, s) = parsed.split_scalars();
        let high = p256::ecdsa::Signature::from_scalars(r, -*s).unwrap();
        for raw in [parsed, high] {
            let brought = secp256r1_signature(&raw.to_bytes()).unwrap();
            assert_eq!(brought, der);
            assert!(key.public_key().verify(b"message", &brought));
        }
        assert_eq!(secp256r1_signature(&[0; 64]), None);
        assert_eq!(secp256r1_signature(&parsed.to_bytes()[..63]), None);
    }
}
