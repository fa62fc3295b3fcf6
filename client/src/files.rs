//! Files that appear whole, and key files that only their owner may read. docs/FORMATS, "Files".
//!
//! Owns: key files, the size limit of a read. Does not own: how a file appears whole
//! (`sublet_host::files`), which files an identity has.
//!
//! Invariants: a key file is created (never overwritten), readable by its owner alone, and on disk
//! before anyone learns its public key; any other file is replaced. A reader sees the whole file or
//! no file.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use sublet_core::base::id::UnixMillis;
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::SecretKey;
use sublet_host::files;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::ports::Ports;

/// The largest file that is read, in bytes: a token of 64 KiB in base64, or a trust bundle, with
/// some reserve.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The age from which an unfinished file counts as abandoned.
const UNFINISHED_AGE: Duration = Duration::from_secs(3600);

/// Reads a file of at most 256 KiB.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(|error| Error::io("read", path, &error))?;
    read_whole(file, path)
}

fn read_whole(file: File, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::io("read", path, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::file(path, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Reads a UTF-8 text file of at most 256 KiB.
pub fn read_text(path: &Path) -> Result<String, Error> {
    String::from_utf8(read(path)?).map_err(|_| Error::file(path, "not UTF-8"))
}

/// Reads the password of private keys from its file. Without a path it returns the lock of keys
/// that are not encrypted. A file that others may read is refused.
pub fn read_lock(path: Option<&Path>) -> Result<KeyLock, Error> {
    let Some(path) = path else { return Ok(KeyLock::open()) };
    let file = File::open(path).map_err(|error| Error::io("read", path, &error))?;
    let text = read_secret(file, path)?;
    KeyLock::under(&text).map_err(|bad| Error::file(path, bad))
}

/// Reads a private key from a PKCS#8 PEM file. A file that others may read is refused.
pub fn read_key(path: &Path, lock: &KeyLock) -> Result<SecretKey, Error> {
    find_key(path, lock)?
        .ok_or_else(|| Error::io("read", path, &std::io::Error::from(ErrorKind::NotFound)))
}

/// Reads a private key; `None` when there is no such file.
pub(crate) fn find_key(path: &Path, lock: &KeyLock) -> Result<Option<SecretKey>, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| Error::io("read", path, &error))?,
    };
    let secret = read_secret(file, path)?;
    let pem = std::str::from_utf8(&secret).map_err(|_| Error::file(path, "not UTF-8"))?;
    lock.read(pem).map(Some).map_err(|bad| Error::file(path, bad))
}

/// Reads a file that only its owner may read.
fn read_secret(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    refuse_shared(&file, path)?;
    read_whole(file, path).map(Zeroizing::new)
}

/// Makes a new Ed25519 key and writes it to a new file, durably. A file that exists is an error.
pub fn create_key(path: &Path, lock: &KeyLock, ports: &Ports) -> Result<SecretKey, Error> {
    let key = ports.new_key()?;
    write_key(path, &key, lock, ports)?;
    Ok(key)
}

/// Writes a private key to a new file, durably. A file that exists is an error.
pub fn write_key(path: &Path, key: &SecretKey, lock: &KeyLock, ports: &Ports) -> Result<(), Error> {
    let mut random = [0; 32];
    ports.entropy.fill(&mut random)?;
    let pem = lock.write(key, &random).map_err(|bad| Error::file(path, bad))?;
    create_new(path, pem.as_bytes())
}

/// The mode of every file here, as each may hold a secret.
const PRIVATE: u32 = 0o600;

/// Replaces a file by this content, whole and durably, with mode 0600.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    files::replace(path, PRIVATE, content).map_err(|bad| Error::io("write", path, &bad))
}

/// Replaces a file by what `write` writes, whole and durably, with mode 0600.
pub(crate) fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), Error> {
    files::replace_with(path, PRIVATE, write).map_err(|bad| Error::io("write", path, &bad))
}

/// Creates a directory and its parents with mode 0700. A directory that exists is left as it is.
pub fn create_directory(path: &Path) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| Error::io("create", path, &error))
}

/// Removes a file. A file that does not exist is no error.
pub fn remove(path: &Path) -> Result<(), Error> {
    files::remove(path).map_err(|error| Error::io("remove", path, &error))
}

/// Writes a new file with this content, whole and durably, with mode 0600. A file that exists is an
/// error.
pub fn create_new(path: &Path, content: &[u8]) -> Result<(), Error> {
    files::create(path, PRIVATE, content).map_err(|bad| Error::io("create", path, &bad))
}

/// Waits until a file and its name are on disk.
pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    files::sync(path).map_err(|error| Error::io("sync", path, &error))
}

/// Waits until the names in the file's directory are on disk.
pub(crate) fn sync_directory_of(path: &Path) -> Result<(), Error> {
    let synced = files::sync_directory_of(path);
    synced.map_err(|error| Error::io("sync", files::directory_of(path), &error))
}

/// Locks a directory, or a file, which is created if missing. The lock lasts as long as the
/// returned file; `None` when another process has it.
pub fn claim(path: &Path) -> Result<Option<File>, Error> {
    let file = if path.is_dir() { File::open(path) } else { File::create(path) };
    let file = file.map_err(|error| Error::io("open", path, &error))?;
    files::lock(file).map_err(|error| Error::io("lock", path, &error))
}

/// Removes unfinished files that are at least an hour old. They are left by processes that were
/// killed while writing; younger files may be in use.
pub(crate) fn sweep(directory: &Path, now: UnixMillis) -> Result<(), Error> {
    let begun = u64::try_from(now.0).unwrap_or(0);
    let begun = UNIX_EPOCH + Duration::from_millis(begun).saturating_sub(UNFINISHED_AGE);
    files::sweep(directory, Some(begun)).map_err(|error| Error::io("read", directory, &error))
}

/// Refuses a secret file that others may read.
#[cfg(unix)]
fn refuse_shared(file: &File, path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let about = file.metadata().map_err(|error| Error::io("read", path, &error))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::file(path, format!("others may read it (mode {mode:o}): chmod 600")))
}

#[cfg(not(unix))]
fn refuse_shared(_: &File, _: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sublet_core::base::sign::Signer as _;

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let missing = tempfile::tempdir().unwrap().path().join("missing");
        let failure = read(&missing).unwrap_err();
        assert_eq!(format!("[{}]", failure.code()), "[io]");
        assert!(failure.message().contains("missing"), "{failure}");
    }

    #[test]
    fn a_key_is_never_written_over_and_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let (ports, open) = (Ports::system(), KeyLock::open());
        let key = create_key(&path, &open, &ports).unwrap();
        assert_eq!(read_key(&path, &open).unwrap().public_key(), key.public_key());
        let again = create_key(&path, &open, &ports).unwrap_err();
        assert!(again.message().contains("exists"), "{again}");
        assert_eq!(read_key(&path, &open).unwrap().public_key(), key.public_key());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            let shared = read_key(&path, &open).unwrap_err();
            assert!(shared.message().contains("others may read it (mode 640)"), "{shared}");
        }
    }

    #[test]
    fn replacing_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.token");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        let gone = read(&path).unwrap_err();
        assert!(gone.message().contains("identity.token"), "{gone}");
    }
}
