//! What sled leaves to the operating system: it keeps pages that are larger than a quarter of a segment in
//! files of their own, and syncs none of them.
//!
//! Owns: which of those files are not known to be on the disk. Does not own: the store (`sled`).
//!
//! Invariants: a batch is durable only when every page that it wrote is. With segments of
//! [`SEGMENT_BYTES`] a page that large is not written in practice; stores of before have them.

use std::fs::{self, File};
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of a segment: the most that sled takes. A page holds some twenty values, a value of ours is
/// some 32 KiB, and pages are in files of their own from 4 MiB on.
pub(super) const SEGMENT_BYTES: usize = 16 * 1024 * 1024;

/// Within this of a directory's last change there may be another that its time does not show: the kernel
/// tells times of files by ticks of up to 10 ms.
const TICK: Duration = Duration::from_millis(100);

/// The segments of the store that is in a directory, or of a new one.
pub(super) fn segment_bytes(store: &Path) -> usize {
    // Behind its lines it has a checksum, which is no text.
    let told = fs::read(store.join("conf")).unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    let told = told.lines().find_map(|line| line.strip_prefix("segment_size: ")?.parse().ok());
    told.unwrap_or(SEGMENT_BYTES)
}

/// The pages of a store that are files of their own.
pub(super) struct Blobs {
    directory: PathBuf,
    /// When the directory had changed, as it was last looked at; `None` when it may have changed since
    /// without showing it.
    seen: Option<SystemTime>,
    /// The last one that is on the disk: their names are numbers, which grow.
    last: Option<i64>,
}

impl Blobs {
    /// Of a store in a directory. What a process left that was killed is not on the disk, either.
    pub(super) fn of(store: &Path) -> Self {
        Blobs { directory: store.join("blobs"), seen: None, last: None }
    }

    /// Waits until every page is on the disk. `written` is the last change of the store's main file,
    /// which is before now.
    pub(super) fn sync(&mut self, written: SystemTime) -> Result<()> {
        let changed = fs::metadata(&self.directory)?.modified()?;
        if self.seen == Some(changed) {
            return Ok(());
        }
        let new = self.unsynced()?;
        for (_, path) in &new {
            match File::open(path).and_then(|file| file.sync_all()) {
                // A page of before, which is no longer needed.
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
        // Another in the same tick, and a directory whose time stays as it was.
        page(12);
        File::open(&directory).unwrap().set_modified(now).unwrap();
        blobs.sync(now + Duration::from_millis(5)).unwrap();
        assert_eq!(blobs.last, Some(12));
        // Also where the store was written much later: what was listed then may have been all or not.
        page(15);
        File::open(&directory).unwrap().set_modified(now).unwrap();
        blobs.sync(now + Duration::from_secs(1)).unwrap();
        assert_eq!((blobs.last, blobs.seen), (Some(15), Some(now)));
        // Listed long after the last change, and no other change since: the directory is not read.
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
