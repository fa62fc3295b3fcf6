//! Small files of the data directory: each appears whole or not at all, and is on the disk before anyone
//! goes by it.
//!
//! Owns: how such a file is written, and that one broker has the directory. Does not own: what is in it;
//! the store (`store::sled`).

use std::fs::{File, Permissions, TryLockError};
use std::io::{Error, Result, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// In the name of a file that is being written.
const UNFINISHED: &str = ".new-";

/// Held by the broker that has the directory.
const LOCK: &str = "broker.lock";

/// Writes a file that must not exist yet.
pub(crate) fn create(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    beside(path, content, mode)?.persist_noclobber(path).map_err(|failed| failed.error)?;
    sync_directory_of(path)
}

/// Writes a file in place of the one that may be there.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    beside(path, content, mode)?.persist(path).map_err(|failed| failed.error)?;
    sync_directory_of(path)
}

/// Claims a data directory for as long as what this gives lives.
pub(crate) fn claim(data: &Path) -> Result<File> {
    let file = File::create(data.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::other("another broker is at work in it")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes what a broker that was killed while it wrote has left. Only for whoever has claimed the data
/// directory.
pub(crate) fn sweep(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        if is_unfinished(&file.file_name().to_string_lossy()) {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Whether a name is one that `beside` makes. A key that an operator has put there is none, whatever its
/// name begins with.
fn is_unfinished(name: &str) -> bool {
    let behind = name.rsplit_once(UNFINISHED).map(|(_, behind)| behind);
    behind.is_some_and(|b| b.len() == 6 && b.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// A file in the same directory, gone unless it is given its name.
fn beside(path: &Path, content: &[u8], mode: u32) -> Result<NamedTempFile> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(UNFINISHED);
    let mut file = tempfile::Builder::new()
        .prefix(&name)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory_of(path))?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// A new name is durable once its directory is.
fn sync_directory_of(path: &Path) -> Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_new_or_replaced_as_was_said_and_leaves_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("admin.pem");
        create(&path, b"one", 0o600).unwrap();
        assert!(create(&path, b"two", 0o600).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        replace(&path, b"two", 0o644).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        // Killed before it had its name.
        let left = beside(&place.path().join("feed.pem"), b"secret", 0o600).unwrap();
        let left = left.keep().unwrap().1;
        let others = ["feed.new-2026.pem", "feed.new-"].map(|name| place.path().join(name));
        others.iter().for_each(|other| std::fs::write(other, "an operator's").unwrap());
        sweep(place.path()).unwrap();
        assert!(!left.exists() && others.iter().all(|other| other.exists()));
        sweep(&place.path().join("nowhere")).unwrap();
    }

    #[test]
    fn a_directory_has_one_broker() {
        let place = tempfile::tempdir().unwrap();
        let held = claim(place.path()).unwrap();
        assert!(claim(place.path()).unwrap_err().to_string().contains("another broker"));
        drop(held);
        claim(place.path()).unwrap();
    }
}
