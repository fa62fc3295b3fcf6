//! Pages of sled that are larger than a quarter of a segment. sled writes each of them to a file of its
//! own and does not sync it.
//!
//! Owns: which of those files may not be on the disk yet. Does not own: the store (`sled`).
//!
//! Invariants: a batch is durable only when every page that it wrote is durable. With segments of
//! [`SEGMENT_BYTES`] no page is that large in practice; older stores have such files.

use std::fs::{self, File};
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The size of a segment in bytes, the largest that sled accepts. A page holds about twenty values of at
/// most about 32 KiB, and only a page of 4 MiB or more gets a file of its own.
pub(super) const SEGMENT_BYTES: usize = 16 * 1024 * 1024;

/// How long after a directory's last change another change may leave its time as it is. The kernel gives
/// files the time of ticks of up to 10 ms.
const TICK: Duration = Duration::from_millis(100);

/// Returns the segment size of the store in this directory; for a new store, [`SEGMENT_BYTES`].
pub(super) fn segment_bytes(store: &Path) -> usize {
    // The file ends with a checksum that is not text.
    let told = fs::read(store.join("conf")).unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    let told = told.lines().find_map(|line| line.strip_prefix("segment_size: ")?.parse().ok());
    told.unwrap_or(SEGMENT_BYTES)
}

/// The pages of a store that are files of their own.
pub(super) struct Blobs {
    directory: PathBuf,
    /// The time of the directory's last change when it was listed; `None` if a later change may have
    /// left the time as it is.
    seen: Option<SystemTime>,
    /// The number of the last file that is on the disk. The files' names are numbers that grow.
    last: Option<i64>,
}

impl Blobs {
    /// The pages of the store in this directory. None counts as durable yet, because a killed process
    /// may have left some that are not.
    pub(super) fn of(store: &Path) -> Self {
        Blobs { directory: store.join("blobs"), seen: None, last: None }
    }

    /// Returns when every page is on the disk. `written` is the time of the last change of the store's
    /// main file, which is in the past.
    pub(super) fn sync(&mut self, written: SystemTime) -> Result<()> {
        let changed = fs::metadata(&self.directory)?.modified()?;
        if self.seen == Some(changed) {
            return Ok(());
        }
        let new = self.unsynced()?;
        for (_, path) in &new {
            match File::open(path).and_then(|file| file.sync_all()) {
                // An old page that sled has removed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                synced => synced?,
            }
        }
        if !new.is_empty() {
            File::open(&self.directory)?.sync_all()?;
        }
        self.last = new.iter().map(|(number, _)| *number).max().max(self.last);
        let settled = written.duration_since(changed).is_ok_and(|since| since > TICK);
        self.seen = settled.then_some(changed);
        Ok(())
    }

    fn unsynced(&self) -> Result<Vec<(i64, PathBuf)>> {
        let mut new = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let file = file?;
            let number = file.file_name().to_str().and_then(|name| name.parse().ok());
            new.extend(number.filter(|number| Some(*number) > self.last).map(|n| (n, file.path())));
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_synced_once_and_none_is_overlooked_within_one_tick() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("blobs");
        fs::create_dir(&directory).unwrap();
        let page = |number: i64| fs::write(directory.join(number.to_string()), "page").unwrap();
        let mut blobs = Blobs::of(place.path());
        page(7);
        page(9);
        assert_eq!(blobs.unsynced().unwrap().len(), 2);
        let now = fs::metadata(&directory).unwrap().modified().unwrap();
        blobs.sync(now).unwrap();
        assert_eq!((blobs.last, blobs.unsynced().unwrap().len()), (Some(9), 0));
        // Another page in the same tick; the directory's time stays as it was.
        page(12);
        File::open(&directory).unwrap().set_modified(now).unwrap();
        blobs.sync(now + Duration::from_millis(5)).unwrap();
        assert_eq!(blobs.last, Some(12));
        // The store was written much later. The earlier list may have been incomplete.
        page(15);
        File::open(&directory).unwrap().set_modified(now).unwrap();
        blobs.sync(now + Duration::from_secs(1)).unwrap();
        assert_eq!((blobs.last, blobs.seen), (Some(15), Some(now)));
        // The list was made long after the last change, and nothing changed since, so the directory is
        // not read.
        page(18);
        File::open(&directory).unwrap().set_modified(now).unwrap();
        blobs.sync(now + Duration::from_secs(2)).unwrap();
        assert_eq!(blobs.last, Some(15));
    }

    #[test]
    fn a_store_keeps_the_segments_that_it_was_made_with() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(segment_bytes(place.path()), SEGMENT_BYTES);
        let conf = b"segment_size: 524288\nuse_compression: false\nversion: 0.34\n\xfe\x01\xff\x00";
        fs::write(place.path().join("conf"), conf).unwrap();
        assert_eq!(segment_bytes(place.path()), 524_288);
    }
}
