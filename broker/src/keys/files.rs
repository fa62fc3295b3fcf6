//! Private keys as files of the data directory, and its other secret files.
//!
//! Owns: reading and writing them. Does not own: the format of a key (`sublet_core::base::key_file`).
//!
//! Invariants: a key is a file of mode 0600, encrypted if a password is configured. It never replaces
//! another file, and it is whole when it appears under its name. A secret file that others may read is
//! refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sublet_core::base::key::PublicKey;
use sublet_core::base::key_file::{BadKeyFile, KeyLock};
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::decide::Entropy;
use sublet_core::trust::bundle::KeyUse;
use zeroize::Zeroizing;

use sublet_host::ports::RandomSource;

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadKeys {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// A file has the wrong content or the wrong mode.
    #[error("{}: {detail}", path.display())]
    Form {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The device that holds keys does not work.
    #[error("keys.pkcs11: {0}")]
    Device(String),
}

/// The directory of the broker's keys.
pub struct KeyFiles {
    directory: PathBuf,
    lock: KeyLock,
    entropy: Arc<dyn RandomSource>,
}

impl KeyFiles {
    /// The directory at this path. It is created if it is missing.
    pub fn open(
        directory: PathBuf,
        lock: KeyLock,
        entropy: Arc<dyn RandomSource>,
    ) -> Result<Self, BadKeys> {
        fs::create_dir_all(&directory)
            .map_err(|error| BadKeys::Io { path: directory.clone(), error })?;
        Ok(KeyFiles { directory, lock, entropy })
    }

    /// Returns every key in the directory.
    pub fn all(&self) -> Result<Vec<SecretKey>, BadKeys> {
        let io = |error| BadKeys::Io { path: self.directory.clone(), error };
        let mut keys = Vec::new();
        for file in fs::read_dir(&self.directory).map_err(io)? {
            let path = file.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                keys.push(read_key(&path, &self.lock)?);
            }
        }
        Ok(keys)
    }

    /// Returns the key with this name, from an interrupted first start; if there is none, makes it.
    pub fn first(&self, name: &str) -> Result<SecretKey, BadKeys> {
        named_key(&self.directory.join(format!("{name}.pem")), self.entropy.as_ref(), &self.lock)
    }

    /// Makes a key of this use.
    pub fn make(&self, use_: KeyUse) -> Result<SecretKey, BadKeys> {
        let key = new_key(&self.directory, self.entropy.as_ref())?;
        write_key(&self.path(use_, key.public_key()), &key, self.entropy.as_ref(), &self.lock)?;
        Ok(key)
    }

    /// Removes a key that [`KeyFiles::make`] made and that was never published.
    pub fn forget(&self, use_: KeyUse, key: &PublicKey) -> Result<(), BadKeys> {
        let path = self.path(use_, key);
        fs::remove_file(&path).map_err(|error| BadKeys::Io { path, error })
    }

    fn path(&self, use_: KeyUse, key: &PublicKey) -> PathBuf {
        self.directory.join(format!("{}-{}.pem", use_.name(), key.thumbprint()))
    }
}

/// Returns the encryption of key files: by the password in this file; without a file, none.
pub fn read_lock(path: Option<&Path>) -> Result<KeyLock, BadKeys> {
    let Some(path) = path else { return Ok(KeyLock::open()) };
    check_private(path)?;
    let text = fs::read(path).map_err(|error| BadKeys::Io { path: path.to_owned(), error })?;
    KeyLock::under(&Zeroizing::new(text)).map_err(|bad| at(path, &bad))
}

/// Returns the key in this file; if there is no file, makes it.
pub(super) fn named_key(
    path: &Path,
    entropy: &dyn RandomSource,
    lock: &KeyLock,
) -> Result<SecretKey, BadKeys> {
    if path.exists() {
        return read_key(path, lock);
    }
    let key = new_key(path, entropy)?;
    write_key(path, &key, entropy, lock)?;
    Ok(key)
}

fn new_key(at: &Path, entropy: &dyn RandomSource) -> Result<SecretKey, BadKeys> {
    let seed = entropy.seed();
    let seed =
        seed.map_err(|fault| BadKeys::Form { path: at.to_owned(), detail: fault.to_string() })?;
    Ok(SecretKey::ed25519_of(&seed))
}

fn write_key(
    path: &Path,
    key: &SecretKey,
    entropy: &dyn RandomSource,
    lock: &KeyLock,
) -> Result<(), BadKeys> {
    let random = drawn(path, entropy)?.bytes("key-file");
    let pem = lock.write(key, &random).map_err(|bad| at(path, &bad))?;
    write_new(path, pem.as_bytes(), 0o600)
}

fn read_key(path: &Path, lock: &KeyLock) -> Result<SecretKey, BadKeys> {
    check_private(path)?;
    let text =
        fs::read_to_string(path).map_err(|error| BadKeys::Io { path: path.to_owned(), error })?;
    lock.read(&Zeroizing::new(text)).map_err(|bad| at(path, &bad))
}

fn at(path: &Path, bad: &BadKeyFile) -> BadKeys {
    BadKeys::Form { path: path.to_owned(), detail: format!("{bad} (keys.password_file)") }
}

/// Returns random bytes for a file.
pub(super) fn drawn(at: &Path, entropy: &dyn RandomSource) -> Result<Entropy, BadKeys> {
    let form = |detail: String| BadKeys::Form { path: at.to_owned(), detail };
    entropy.draw().map_err(|fault| form(fault.to_string()))
}

/// Refuses a file that others may read.
fn check_private(path: &Path) -> Result<(), BadKeys> {
    let about = fs::metadata(path);
    let about = about.map_err(|error| BadKeys::Io { path: path.to_owned(), error })?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let detail = format!("others may read it (mode {mode:o}): chmod 600");
    Err(BadKeys::Form { path: path.to_owned(), detail })
}

/// Writes a new file, whole or not at all. An error if it exists.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), BadKeys> {
    sublet_host::files::create(path, mode, content)
        .map_err(|error| BadKeys::Io { path: path.to_owned(), error })
}
