//! The file form of a private key: PKCS#8 PEM (RFC 5958), plain or encrypted with a password.
//!
//! Owns: reading and writing the form. Does not own: files and their permissions (the client and
//! the broker), the key in memory (`sign`).
//!
//! Invariants: with a password only an encrypted key is accepted, and without one only a plain key,
//! so nobody can put the other kind in a key's place unnoticed; passwords and keys are wiped from
//! memory.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use pkcs8::pkcs5::{pbes2, scrypt};
use zeroize::Zeroizing;

use crate::base::key::PublicKey;
use crate::base::sign::{Inner, SecretKey};

/// The shortest password, in bytes.
pub const PASSWORD_BYTES_MIN: usize = 12;

/// Why a key file or a password is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyFile {
    /// The text is not PKCS#8 PEM of Ed25519 or P-256.
    #[error("no private key in PKCS#8 PEM of Ed25519 or P-256")]
    NoKey,
    /// The text is a public key instead of a private one.
    #[error("this is a public key, and the private one is expected: key.pem, and not key.pub")]
    Public,
    /// The key is encrypted, and no password is configured.
    #[error("it is encrypted, and no password is configured")]
    UnderPassword,
    /// The key is not encrypted, and a password is configured.
    #[error("it is not encrypted, although a password is configured")]
    Open,
    /// The password does not decrypt the key.
    #[error("the password does not decrypt it")]
    WrongPassword,
    /// The password is shorter than [`PASSWORD_BYTES_MIN`].
    #[error("a password of at least {PASSWORD_BYTES_MIN} bytes is expected")]
    ShortPassword,
    /// The encoder failed. It does not for a valid key.
    #[error("the key cannot be written")]
    NotWritten,
}

/// The password of private keys, or none. Clones share it.
#[derive(Clone, Default)]
pub struct KeyLock(Option<Arc<Zeroizing<Vec<u8>>>>);

impl KeyLock {
    /// Returns the lock without a password: keys are stored plain.
    pub fn open() -> Self {
        KeyLock(None)
    }

    /// Returns the lock with the password in a file's content; trailing white space is ignored. A
    /// short password is an error.
    pub fn under(file: &[u8]) -> Result<Self, BadKeyFile> {
        let password = Zeroizing::new(file.trim_ascii_end().to_vec());
        if password.len() < PASSWORD_BYTES_MIN {
            return Err(BadKeyFile::ShortPassword);
        }
        Ok(KeyLock(Some(Arc::new(password))))
    }

    /// Reads a private key from the text of its file.
    pub fn read(&self, pem: &str) -> Result<SecretKey, BadKeyFile> {
        let encrypted = pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----");
        match (&self.0, encrypted) {
            (None, false) => read_open(pem).ok_or_else(|| no_key(pem)),
            (None, true) => Err(BadKeyFile::UnderPassword),
            (Some(_), false) => match read_open(pem) {
                Some(_) => Err(BadKeyFile::Open),
                None => Err(no_key(pem)),
            },
            (Some(password), true) => read(pem, password).ok_or(BadKeyFile::WrongPassword),
        }
    }

    /// Returns the text of a key file: plain, or PBES2 (RFC 8018) with scrypt (2^15, 8, 1) and
    /// AES-256 in CBC mode. The 32 bytes are salt and initialisation vector; they must be random
    /// and new each time.
    pub fn write(
        &self,
        key: &SecretKey,
        random: &[u8; 32],
    ) -> Result<Zeroizing<String>, BadKeyFile> {
        let written = match &self.0 {
            None => write_open(key),
            Some(password) => write(key, password, random),
        };
        written.ok_or(BadKeyFile::NotWritten)
    }
}

impl fmt::Debug for KeyLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "KeyLock(a password)" } else { "KeyLock(open)" })
    }
}

/// Returns why a plain text is no private key.
fn no_key(text: &str) -> BadKeyFile {
    match text.trim_end().parse::<PublicKey>() {
        Ok(_) => BadKeyFile::Public,
        Err(_) => BadKeyFile::NoKey,
    }
}

fn read_open(pem: &str) -> Option<SecretKey> {
    if let Ok(key) = SigningKey::from_pkcs8_pem(pem) {
        return Some(SecretKey::of_ed25519(key));
    }
    SecretKey::from_p256(p256::SecretKey::from_pkcs8_pem(pem).ok()?.into())
}

fn read(pem: &str, password: &[u8]) -> Option<SecretKey> {
    if let Ok(key) = SigningKey::from_pkcs8_encrypted_pem(pem, password) {
        return Some(SecretKey::of_ed25519(key));
    }
    SecretKey::from_p256(p256::SecretKey::from_pkcs8_encrypted_pem(pem, password).ok()?.into())
}

fn write_open(key: &SecretKey) -> Option<Zeroizing<String>> {
    match &key.inner {
        Inner::Ed25519(key) => key.to_pkcs8_pem(Default::default()).ok(),
        Inner::Secp256r1(key) => key.to_pkcs8_pem(Default::default()).ok(),
    }
}

fn write(key: &SecretKey, password: &[u8], random: &[u8; 32]) -> Option<Zeroizing<String>> {
    let plain = match &key.inner {
        Inner::Ed25519(key) => key.to_pkcs8_der().ok()?,
        Inner::Secp256r1(key) => key.to_pkcs8_der().ok()?,
    };
    let (salt, rest) = random.split_first_chunk::<16>()?;
    let iv: &[u8; 16] = rest.try_into().ok()?;
    let scrypt = scrypt::Params::new(15, 8, 1, 32).ok()?;
    let parameters = pbes2::Parameters::scrypt_aes256cbc(scrypt, salt, iv).ok()?;
    let key = pkcs8::PrivateKeyInfo::try_from(plain.as_bytes()).ok()?;
    let encrypted = key.encrypt_with_params(parameters, password).ok()?;
    encrypted.to_pem("ENCRYPTED PRIVATE KEY", Default::default()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sign::Signer as _;

    fn keys() -> [SecretKey; 2] {
        [SecretKey::ed25519_from_seed([9; 32]), SecretKey::secp256r1_from_seed(&[9; 32]).unwrap()]
    }

    #[test]
    fn an_open_key_round_trips_for_both_algorithms() {
        for key in keys() {
            let pem = KeyLock::open().write(&key, &[7; 32]).unwrap();
            let back = KeyLock::open().read(&pem).unwrap();
            assert_eq!(back.public_key(), key.public_key());
            assert!(key.public_key().verify(b"m", &back.sign(b"m").unwrap()));
        }
        assert_eq!(KeyLock::open().read("no key").unwrap_err(), BadKeyFile::NoKey);
    }

    #[test]
    fn a_key_under_a_password_opens_with_it_and_with_no_other() {
        let (right, wrong) = (KeyLock::under(b"correct horse\n"), KeyLock::under(b"another horse"));
        let (right, wrong) = (right.unwrap(), wrong.unwrap());
        for key in keys() {
            let pem = right.write(&key, &[7; 32]).unwrap();
            assert_eq!(right.read(&pem).unwrap().public_key(), key.public_key());
            assert_eq!(wrong.read(&pem).unwrap_err(), BadKeyFile::WrongPassword);
            assert_eq!(KeyLock::open().read(&pem).unwrap_err(), BadKeyFile::UnderPassword);
            assert_ne!(*pem, *right.write(&key, &[8; 32]).unwrap());
            let open = KeyLock::open().write(&key, &[7; 32]).unwrap();
            assert_eq!(right.read(&open).unwrap_err(), BadKeyFile::Open);
        }
        assert_eq!(KeyLock::under(b"short\n").unwrap_err(), BadKeyFile::ShortPassword);
    }

    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?}", KeyLock::under(b"correct horse").unwrap());
        assert_eq!(shown, "KeyLock(a password)");
        assert_eq!(format!("{:?}", KeyLock::open()), "KeyLock(open)");
    }

    #[test]
    fn a_password_may_be_as_short_as_its_bound() {
        assert!(KeyLock::under(&[b'p'; PASSWORD_BYTES_MIN]).is_ok());
        assert!(KeyLock::under(&[b'p'; PASSWORD_BYTES_MIN - 1]).is_err());
    }
}
