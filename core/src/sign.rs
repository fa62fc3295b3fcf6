//! Private keys, and the trait behind which they hide. SPEC section 2 (2.9).
//!
//! Owns: making signatures. Every signature of the project, over blocks and over messages, is
//! made through [`Signer::sign`]; what may be signed is decided where the bytes are built.
//! Does not own: where a key lies (files: the client and the broker; later PKCS#11, KMS, TPM).
//!
//! Invariants: a key in memory is zeroed on drop; no `Debug`, no `Display`, no serde shows it.

use std::fmt;

use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use crate::key::{Algorithm, PublicKey};

/// A signer could not sign: the device is gone or the key is unusable. Nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signer did not sign: {0}")]
pub struct SignerFault(pub String);

/// Something that holds one private key.
pub trait Signer: Send + Sync {
    /// The public half.
    fn public_key(&self) -> &PublicKey;
    /// Signs exactly these bytes: 64 bytes for Ed25519, minimal low-s DER for secp256r1.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFault>;
}

/// A private key in memory.
pub struct SecretKey {
    inner: Inner,
    public: PublicKey,
}

enum Inner {
    Ed25519(Box<SigningKey>),
    Secp256r1(Box<p256::ecdsa::SigningKey>),
}

impl SecretKey {
    /// The Ed25519 key of a 32-byte seed (RFC 8032 section 5.1.5), which must come from a
    /// cryptographic random source.
    pub fn ed25519_from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let key = SigningKey::from_bytes(&seed);
        let public = PublicKey::of_ed25519(key.verifying_key());
        SecretKey { inner: Inner::Ed25519(Box::new(key)), public }
    }

    /// The secp256r1 key with this scalar; `None` for the scalars 0 and ≥ n.
    pub fn secp256r1_from_seed(scalar: &[u8; 32]) -> Option<Self> {
        let key = p256::ecdsa::SigningKey::from_slice(scalar).ok()?;
        SecretKey::from_p256(key)
    }

    fn from_p256(key: p256::ecdsa::SigningKey) -> Option<Self> {
        let point = key.verifying_key().to_encoded_point(true);
        let public = PublicKey::from_bytes(Algorithm::Secp256r1, point.as_bytes()).ok()?;
        Some(SecretKey { inner: Inner::Secp256r1(Box::new(key)), public })
    }

    /// Reads a PKCS#8 PEM document (RFC 5958) of either algorithm.
    pub fn from_pem(pem: &str) -> Option<Self> {
        if let Ok(key) = SigningKey::from_pkcs8_pem(pem) {
            let public = PublicKey::of_ed25519(key.verifying_key());
            return Some(SecretKey { inner: Inner::Ed25519(Box::new(key)), public });
        }
        let key = p256::SecretKey::from_pkcs8_pem(pem).ok()?;
        SecretKey::from_p256(key.into())
    }

    /// Whether a PEM document is a private key under a password.
    pub fn is_encrypted(pem: &str) -> bool {
        pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    }

    /// Reads a PKCS#8 PEM document under a password (RFC 5958 section 3, RFC 8018).
    pub fn from_encrypted_pem(pem: &str, password: &[u8]) -> Option<Self> {
        if let Ok(key) = SigningKey::from_pkcs8_encrypted_pem(pem, password) {
            let public = PublicKey::of_ed25519(key.verifying_key());
            return Some(SecretKey { inner: Inner::Ed25519(Box::new(key)), public });
        }
        let key = p256::SecretKey::from_pkcs8_encrypted_pem(pem, password).ok()?;
        SecretKey::from_p256(key.into())
    }

    /// Writes it under a password: PBES2 with scrypt (2^15, 8, 1) and AES-256 in CBC mode. The 32 bytes
    /// must be random, and new each time: salt and initialisation vector.
    pub fn to_encrypted_pem(
        &self,
        password: &[u8],
        random: &[u8; 32],
    ) -> Option<Zeroizing<String>> {
        let plain = match &self.inner {
            Inner::Ed25519(key) => key.to_pkcs8_der().ok()?,
            Inner::Secp256r1(key) => key.to_pkcs8_der().ok()?,
        };
        let (salt, rest) = random.split_first_chunk::<16>()?;
        let iv: &[u8; 16] = rest.try_into().ok()?;
        let scrypt = pkcs8::pkcs5::scrypt::Params::new(15, 8, 1, 32).ok()?;
        let parameters =
            pkcs8::pkcs5::pbes2::Parameters::scrypt_aes256cbc(scrypt, salt, iv).ok()?;
        let key = pkcs8::PrivateKeyInfo::try_from(plain.as_bytes()).ok()?;
        let encrypted = key.encrypt_with_params(parameters, password).ok()?;
        encrypted.to_pem("ENCRYPTED PRIVATE KEY", Default::default()).ok()
    }

    /// Writes a PKCS#8 PEM document; `None` only if the encoder fails, which no valid key does.
    pub fn to_pem(&self) -> Option<Zeroizing<String>> {
        match &self.inner {
            Inner::Ed25519(key) => key.to_pkcs8_pem(Default::default()).ok(),
            Inner::Secp256r1(key) => key.to_pkcs8_pem(Default::default()).ok(),
        }
    }
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
                let signature = signature.normalize_s().unwrap_or(signature);
                Ok(signature.to_der().as_bytes().to_vec())
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

    #[test]
    fn pem_round_trips_for_both_algorithms() {
        for key in [
            SecretKey::ed25519_from_seed([9; 32]),
            SecretKey::secp256r1_from_seed(&[9; 32]).unwrap(),
        ] {
            let pem = key.to_pem().unwrap();
            let back = SecretKey::from_pem(&pem).unwrap();
            assert_eq!(back.public_key(), key.public_key());
            assert!(key.public_key().verify(b"m", &back.sign(b"m").unwrap()));
        }
    }

    #[test]
    fn a_key_under_a_password_opens_with_it_and_with_no_other() {
        for key in [
            SecretKey::ed25519_from_seed([9; 32]),
            SecretKey::secp256r1_from_seed(&[9; 32]).unwrap(),
        ] {
            let pem = key.to_encrypted_pem(b"correct horse", &[7; 32]).unwrap();
            assert!(SecretKey::is_encrypted(&pem) && SecretKey::from_pem(&pem).is_none());
            let back = SecretKey::from_encrypted_pem(&pem, b"correct horse").unwrap();
            assert_eq!(back.public_key(), key.public_key());
            assert!(SecretKey::from_encrypted_pem(&pem, b"wrong horse").is_none());
            let again = key.to_encrypted_pem(b"correct horse", &[8; 32]).unwrap();
            assert_ne!(*pem, *again);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SecretKey::ed25519_from_seed([9; 32]);
        assert!(!format!("{key:?}").contains("0909"));
        assert!(format!("{key:?}").starts_with("SecretKey(of ed25519:"));
    }
}
