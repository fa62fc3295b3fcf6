//! A tar archive in one fixed form, written and read without holding it in memory: POSIX ustar
//! (<https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html>).
//!
//! Owns: the form of the archive. Does not own: its content (`bundle`).
//!
//! Invariants: the first file is fixed, and the others follow in the order of their names; a header
//! states only name and length; every other form is refused, so two archives of the same files have
//! the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// The most that is allocated before a file is read, in bytes. Most entry bundles are smaller.
const READ_AHEAD_MAX: usize = 1 << 20;

/// The block size of tar, in bytes.
const BLOCK: u64 = 512;

/// Writes one archive.
pub(crate) struct Writer<W>(W);

impl<W: Write> Writer<W> {
    pub(crate) fn new(to: W) -> Self {
        Writer(to)
    }

    /// Writes the next file.
    pub(crate) fn file(&mut self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let length = bytes.len() as u64;
        self.0.write_all(header(name, length)?.as_bytes())?;
        self.0.write_all(bytes)?;
        self.zeros(padding(length))
    }

    /// Ends the archive with two empty blocks.
    pub(crate) fn finish(mut self) -> std::io::Result<W> {
        self.zeros(2 * BLOCK)?;
        Ok(self.0)
    }

    fn zeros(&mut self, count: u64) -> std::io::Result<()> {
        std::io::copy(&mut std::io::repeat(0).take(count), &mut self.0).map(drop)
    }
}

/// Returns the header of a file with this name and length.
fn header(name: &str, length: u64) -> std::io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header)
}

/// Returns how many bytes pad a file to the next block.
fn padding(length: u64) -> u64 {
    length.next_multiple_of(BLOCK).saturating_sub(length)
}

/// The position and length of a file in the archive.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    length: u64,
    /// The SHA-256 of the file, if it was requested.
    digest: Option<[u8; 32]>,
}

/// An archive that was read once from start to end. A file's content is read again on request.
#[derive(Debug)]
pub(crate) struct Archive {
    file: File,
    first: String,
    places: BTreeMap<String, Place>,
}

impl Archive {
    /// Reads through an archive whose first file must be `first`. Computes the digest of each file
    /// for which `hashed` returns true.
    pub(crate) fn open(
        path: &Path,
        first: &str,
        hashed: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| Error::io("read", path, &error))?;
        let again = File::open(path).map_err(|error| Error::io("read", path, &error))?;
        let mut reader = Reader { from: BufReader::new(file), at: 0 };
        let (mut places, mut before) = (BTreeMap::new(), None::<String>);
        while let Some((name, length)) = reader.header()? {
            let in_order = match &before {
                None => name == first,
                Some(before) => name != first && (before == first || *before < name),
            };
            if !in_order {
                return Err(invalid(format!("{name} is in it twice, or out of order")));
            }
            let at = reader.at;
            let digest = reader.content(length, hashed(&name))?;
            places.insert(name.clone(), Place { at, length, digest });
            before = Some(name);
        }
        Ok(Archive { file: again, first: first.to_owned(), places })
    }

    /// Returns the name of every file but the first, in order, with its digest if it was requested.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&str, Option<[u8; 32]>)> {
        let others = self.places.iter().filter(|(name, _)| **name != self.first);
        others.map(|(name, place)| (name.as_str(), place.digest))
    }

    /// Returns whether the archive has a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Returns the bytes of a file; `None` when there is no such file, or it cannot be read any
    /// more.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let place = self.places.get(name)?;
        let (mut file, mut bytes) = (&self.file, Vec::new());
        // The stated length may be false, so no more than this is allocated before reading.
        bytes.reserve_exact(usize::try_from(place.length).ok()?.min(READ_AHEAD_MAX));
        file.seek(SeekFrom::Start(place.at)).ok()?;
        file.take(place.length).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 == place.length).then_some(bytes)
    }
}

struct Reader<R> {
    from: R,
    at: u64,
}

impl<R: Read + Seek> Reader<BufReader<R>> {
    /// Reads the next file's name and length; `None` at the end.
    fn header(&mut self) -> Result<Option<(String, u64)>, Error> {
        let mut block = [0; 512];
        self.exactly(&mut block)?;
        if block == [0; 512] {
            self.exactly(&mut block)?;
            let behind = self.from.read(&mut [0; 1]).map_err(torn)?;
            let ends = block == [0; 512] && behind == 0;
            return if ends { Ok(None) } else { Err(another_form()) };
        }
        let found = tar::Header::from_byte_slice(&block);
        let name =
            String::from_utf8(found.path_bytes().into_owned()).map_err(|_| another_form())?;
        let length = found.size().map_err(torn)?;
        let due = header(&name, length).map_err(torn)?;
        if due.as_bytes() != &block {
            return Err(another_form());
        }
        Ok(Some((name, length)))
    }

    /// Reads past a file and its padding. Returns the digest if it was requested.
    fn content(&mut self, length: u64, hashed: bool) -> Result<Option<[u8; 32]>, Error> {
        if !hashed {
            self.skip(length)?;
        }
        let (mut hash, mut chunk) = (Sha256::new(), [0; 1 << 14]);
        let mut left = if hashed { length } else { 0 };
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            let part = chunk.get_mut(..most).unwrap_or_default();
            self.exactly(part)?;
            hash.update(part);
            left -= most as u64;
        }
        let mut pad = [0; 512];
        let pad = pad.get_mut(..usize::try_from(padding(length)).unwrap_or(0)).unwrap_or_default();
        self.exactly(pad)?;
        if pad.iter().any(|byte| *byte != 0) {
            return Err(another_form());
        }
        Ok(hashed.then(|| hash.finalize().into()))
    }

    /// Skips content that is not needed yet. If it is missing, reading it later fails.
    fn skip(&mut self, length: u64) -> Result<(), Error> {
        let relative = i64::try_from(length).map_err(|_| another_form())?;
        self.from.seek_relative(relative).map_err(torn)?;
        self.at = self.at.saturating_add(length);
        Ok(())
    }

    fn exactly(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.from.read_exact(bytes).map_err(torn)?;
        self.at = self.at.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

fn torn(error: std::io::Error) -> Error {
    invalid(format!("it is not an evidence bundle (a tar archive), or it is cut short: {error}"))
}

fn another_form() -> Error {
    invalid("its files are not in the form of an evidence bundle".to_owned())
}

fn invalid(detail: String) -> Error {
    Error::local("ledger_invalid", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        files.iter().for_each(|(name, bytes)| writer.file(name, bytes).unwrap());
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Archive, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive");
        std::fs::write(&path, bytes).unwrap();
        Archive::open(&path, "m", &|name| name != "b")
    }

    const FILES: [(&str, &[u8]); 4] = [("m", b"first"), ("a", b""), ("b", &[7; 512]), ("c", b"x")];

    #[test]
    fn what_is_written_is_read_and_tar_reads_it_too() {
        let bytes = archive(&FILES);
        let found = read(&bytes).unwrap();
        for (name, content) in FILES {
            assert_eq!(found.read(name).unwrap(), content);
        }
        let digests: Vec<_> =
            found.others().map(|(name, digest)| (name, digest.is_some())).collect();
        assert_eq!(digests, [("a", true), ("b", false), ("c", true)]);
        let names: Vec<_> = tar::Archive::new(bytes.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["m", "a", "b", "c"]);
    }

    #[test]
    fn an_archive_has_one_form() {
        let good = archive(&FILES);
        for cut in [1, 511, 512, 513, 1024] {
            assert!(read(&good[..good.len() - cut]).is_err(), "{cut} bytes short");
        }
        assert!(read(&[&good[..], &[0; 512]].concat()).is_err(), "something behind it");
        // A header's mode, owner, time, kind; a pad; an empty block that is not: any byte but those
        // of the files themselves.
        let files = [512..517, 2048..2560, 3072..3073];
        for at in 0..good.len() {
            if files.iter().any(|range| range.contains(&at)) {
                continue;
            }
            let mut changed = good.clone();
            changed[at] ^= 0x01;
            assert!(read(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn files_stand_in_order_and_once() {
        for wrong in [
            &[("a", &b""[..]), ("m", b"")][..],
            &[("m", b""), ("b", b""), ("a", b"")],
            &[("m", b""), ("a", b""), ("a", b"")],
            &[("m", b""), ("m", b"")],
            &[("m", b""), ("a", b""), ("m", b"")],
        ] {
            assert!(read(&archive(wrong)).is_err(), "{wrong:?}");
        }
    }
}
