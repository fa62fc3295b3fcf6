//! Files that must be whole, and keys that nobody else may read. docs/FORMATS, "Files".
//!
//! Owns: atomic and durable writing, key files. Does not own: which files an identity has.
//!
//! Invariants: a key file is made new (never over another), readable by its owner alone, and on
//! disk before anyone is told of its public half; any other file is replaced whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;

use sublet_core::key_file::KeyLock;
use sublet_core::sign::SecretKey;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::ports::Ports;

/// The largest file that is read: a token of 64 KiB in base64, or a trust bundle, and room.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Reads a file of at most 256 KiB.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let trouble = |error| Failure::io("read", path, &error);
    let file = File::open(path).map_err(trouble)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(trouble)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::file(path, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read(path)?).map_err(|_| Failure::file(path, "not UTF-8"))
}

/// Reads what private keys lie under: the password in a file of its own, or nothing without one.
pub fn read_lock(path: Option<&Path>) -> Result<KeyLock, Failure> {
    let Some(path) = path else { return Ok(KeyLock::open()) };
    refuse_shared(path)?;
    let text = Zeroizing::new(read(path)?);
    KeyLock::under(&text).map_err(|bad| Failure::file(path, bad))
}

/// Reads a key of its PKCS#8 PEM file. One that others may read is refused.
pub fn read_key(path: &Path, lock: &KeyLock) -> Result<SecretKey, Failure> {
    refuse_shared(path)?;
    let pem = Zeroizing::new(read_text(path)?);
    lock.read(&pem).map_err(|bad| Failure::file(path, bad))
}

/// Makes a new Ed25519 key and writes it to a new file, durably. A file that exists is refused.
pub fn create_key(path: &Path, lock: &KeyLock, ports: &Ports) -> Result<SecretKey, Failure> {
    let key = ports.new_key()?;
    write_key(path, &key, lock, ports)?;
    Ok(key)
}

/// Writes a key to a new file, durably. A file that exists is refused.
pub fn write_key(
    path: &Path,
    key: &SecretKey,
    lock: &KeyLock,
    ports: &Ports,
) -> Result<(), Failure> {
    let mut random = [0; 32];
    ports.entropy.fill(&mut random)?;
    let pem = lock.write(key, &random).map_err(|bad| Failure::file(path, bad))?;
    write_new(path, pem.as_bytes())
}

/// Replaces a file by one with this content, whole and durably; 0600, as it may be a secret.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Failure> {
    replace_with(path, |file| whole(file, content))
}

/// The same, with what is written piece by piece and then synced.
pub(crate) fn replace_with(
    path: &Path,
    write: impl FnOnce(File) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let temporary = beside(path);
    // One that was left by a process that was killed is in the way of no one.
    if let Err(error) = std::fs::remove_file(&temporary)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(Failure::io("remove", &temporary, &error));
    }
    write_new_with(&temporary, write)?;
    std::fs::rename(&temporary, path).map_err(|error| Failure::io("write", path, &error))?;
    sync_directory_of(path)
}

/// Makes a directory, for its owner alone; one that is there stays as it is.
pub fn create_directory(path: &Path) -> Result<(), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| Failure::io("create", path, &error))
}

/// Removes a file; one that is not there is no error.
pub fn remove(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Failure::io("remove", path, &error))
        }
        _ => sync_directory_of(path),
    }
}

fn whole(mut file: File, content: &[u8]) -> std::io::Result<()> {
    file.write_all(content)?;
    file.sync_all()
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), Failure> {
    write_new_with(path, |file| whole(file, content))
}

fn write_new_with(
    path: &Path,
    write: impl FnOnce(File) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| Failure::io("create", path, &error))?;
    write(file).map_err(|error| {
        // A torn file is worse than none.
        let _ = std::fs::remove_file(path);
        Failure::io("write", path, &error)
    })?;
    sync_directory_of(path)
}

/// A new name is durable once its directory is.
pub(crate) fn sync_directory_of(path: &Path) -> Result<(), Failure> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Failure::io("sync", directory, &error))
}

fn beside(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Refuses a secret that others may read.
#[cfg(unix)]
fn refuse_shared(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let about = std::fs::metadata(path).map_err(|error| Failure::io("read", path, &error))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Failure::file(path, format!("others may read it (mode {mode:o}): chmod 600")))
}

#[cfg(not(unix))]
fn refuse_shared(_: &Path) -> Result<(), Failure> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sublet_core::sign::Signer as _;

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
    fn replacing_leaves_no_temporary_and_survives_one_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.token");
        std::fs::write(directory.path().join("identity.token.new"), "torn").unwrap();
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
