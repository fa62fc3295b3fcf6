//! Files that appear whole: each with all of its content or not at all, and on disk before the call
//! returns.
//!
//! Owns: atomic and durable writing, locking, removing what a killed process left. Does not own:
//! the content of a file, who may read a secret.
//!
//! Invariants: a file and its name are synced before a call returns; an unfinished file has a name
//! that `sweep` recognises.

use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind, Result, Write as _};
use std::path::Path;
use std::time::SystemTime;

use tempfile::NamedTempFile;

/// A part of the name of a file that is being written.
const UNFINISHED: &str = ".new-";

/// Writes a file that must not exist yet. `mode` is its Unix permission.
pub fn create(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    beside(path, mode, |file| file.write_all(content))?
        .persist_noclobber(path)
        .map_err(|failed| failed.error)?;
    sync_directory_of(path)
}

/// Writes a file, in place of an existing one if there is one. `mode` is its Unix permission.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    replace_with(path, mode, |file| file.write_all(content))
}

/// Writes a file with what `write` writes, in place of an existing one if there is one. `mode` is
/// its Unix permission.
pub fn replace_with(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    beside(path, mode, write)?.persist(path).map_err(|failed| failed.error)?;
    sync_directory_of(path)
}

/// Removes a file. A file that does not exist is no error.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => sync_directory_of(path),
    }
}

/// Waits until a file and its name are on disk.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path)?.sync_all()?;
    sync_directory_of(path)
}

/// Waits until the names in the file's directory are on disk.
pub fn sync_directory_of(path: &Path) -> Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// Returns the directory of a file.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// Locks an open file or directory until the returned file is dropped; `None` when another process
/// has the lock.
pub fn lock(file: File) -> Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes unfinished files from a directory, which are left by processes that were killed while
/// writing: those written before `before`, or all of them for `None`. A directory that does not
/// exist is no error.
pub fn sweep(directory: &Path, before: Option<SystemTime>) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        let is_old = || match before {
            None => true,
            Some(before) => {
                let modified = file.metadata().and_then(|about| about.modified());
                modified.is_ok_and(|modified| modified < before)
            }
        };
        if is_unfinished(&file.file_name().to_string_lossy()) && is_old() {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Returns whether a name is one that `beside` makes. An operator's key file is not, whatever its
/// name begins with.
fn is_unfinished(name: &str) -> bool {
    let behind = name.rsplit_once(UNFINISHED).map(|(_, behind)| behind);
    behind.is_some_and(|b| b.len() == 6 && b.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Writes a file in the same directory with this content, and syncs it. It is removed unless it is
/// given its final name.
fn beside(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<NamedTempFile> {
    let name = path.file_name().ok_or_else(|| Error::other("the path names no file"))?;
    let mut name = name.to_owned();
    name.push(UNFINISHED);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&name);
    let mut file = with_mode(&mut builder, mode).tempfile_in(directory_of(path))?;
    write(file.as_file_mut())?;
    set_mode(file.as_file(), mode)?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(unix)]
fn with_mode<'a, 'b, 'c>(
    builder: &'a mut tempfile::Builder<'b, 'c>,
    mode: u32,
) -> &'a mut tempfile::Builder<'b, 'c> {
    use std::os::unix::fs::PermissionsExt as _;
    builder.permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn with_mode<'a, 'b, 'c>(
    builder: &'a mut tempfile::Builder<'b, 'c>,
    _: u32,
) -> &'a mut tempfile::Builder<'b, 'c> {
    builder
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_is_new_or_replaced_as_was_said_and_leaves_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("admin.pem");
        create(&path, 0o600, b"one").unwrap();
        assert!(create(&path, 0o600, b"two").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        replace(&path, 0o644, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert!(replace_with(&path, 0o644, |_| Err(Error::other("torn"))).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"two", "whole, or not at all");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }

    /// A writer that was killed before the file got its name.
    fn left(place: &Path) -> std::path::PathBuf {
        let torn = beside(&place.join("feed.pem"), 0o600, |file| file.write_all(b"torn")).unwrap();
        torn.keep().unwrap().1
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let (old, new) = (left(place.path()), left(place.path()));
        let others = ["feed.new-2026.pem", "feed.new-"].map(|name| place.path().join(name));
        others.iter().for_each(|other| std::fs::write(other, "an operator's").unwrap());
        let hour_ago =
            std::fs::metadata(&new).unwrap().modified().unwrap() - Duration::from_secs(3600);
        let earlier = hour_ago - Duration::from_secs(1);
        File::options().write(true).open(&old).unwrap().set_modified(earlier).unwrap();
        sweep(place.path(), Some(hour_ago)).unwrap();
        assert!(!old.exists() && new.exists(), "somebody may still be writing the new one");
        sweep(place.path(), None).unwrap();
        assert!(!new.exists() && others.iter().all(|other| other.exists()));
        sweep(&place.path().join("nowhere"), None).unwrap();
    }

    #[test]
    fn a_file_is_locked_once() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lock");
        let held = lock(File::create(&path).unwrap()).unwrap().unwrap();
        assert!(lock(File::open(&path).unwrap()).unwrap().is_none());
        drop(held);
        assert!(lock(File::open(&path).unwrap()).unwrap().is_some());
    }
}
