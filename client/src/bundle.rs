//! The evidence bundle: one file, of public formats only, that verifies on a machine that never met
//! the broker. ledger.md section 5; docs/FORMATS, "Evidence bundle".
//!
//! Owns: what is in a bundle, writing it, checking it against keys that the reader trusts. Does not
//! own: tiles and heads (`sublet_ledger`), what records say (`history`).
//!
//! Invariants: a bundle is a tar archive, in one form, in which every file is named by the manifest
//! with its SHA-256; the keys that a bundle brings along are never the ones that it is checked with; what is
//! derived is under `derived/` and nothing is concluded from it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sublet_core::bytes::sha256;
use sublet_core::text::base64url;
use sublet_ledger::checkpoint::Checkpoint;
use sublet_ledger::leaf_hash;
use sublet_ledger::tile::{FullTile, Resource, Tree, WIDTH, bundle, leaves};

use crate::failure::Failure;
use crate::files;
use crate::history::{RawLedger, RawRecord, Records};
use crate::mirror::{head_keys, verify_published};
use crate::trust::Trust;

/// The format, in the manifest.
const FORMAT: &str = "sublet-evidence/1";

/// The file that names all others.
const MANIFEST: &str = "manifest.json";

/// Bytes of a bundle that is read: a million records with what lies beside them.
pub const BUNDLE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `sublet-evidence/1`.
    pub format: String,
    /// The ledger's name.
    pub origin: String,
    /// Records in it: all of them, from the first on.
    pub records: u64,
    /// The root over them, base64url.
    pub root: String,
    /// Every other file, with its SHA-256 in base64url.
    pub files: BTreeMap<String, String>,
}

/// The files of a bundle, by path.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes a bundle of a whole ledger: the head, tiles and entries as C2SP tlog-tiles, what lies
/// beside each record, the keys (`trust.json`), and what was derived from them.
pub fn write(
    path: &Path,
    ledger: &RawLedger,
    trust_text: &[u8],
    derived: Vec<(String, Vec<u8>)>,
    trust: &Trust,
) -> Result<Manifest, Failure> {
    let records = ledger.understand(trust)?;
    let mut files = published(ledger)?;
    for (number, chunk) in ledger.records.chunks(usize::from(WIDTH)).enumerate() {
        files.insert(payload_path(number), payloads(chunk));
    }
    files.insert("trust.json".to_owned(), trust_text.to_vec());
    files.extend(derived.into_iter().map(|(name, bytes)| (format!("derived/{name}"), bytes)));
    let digest = |(path, bytes): (&String, &Vec<u8>)| (path.clone(), base64url(sha256(bytes)));
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        origin: records.head.origin.clone(),
        records: records.head.size,
        root: base64url(records.head.root),
        files: files.iter().map(digest).collect(),
    };
    let text = serde_json::to_vec_pretty(&manifest);
    let text = text.map_err(|error| Failure::local("bundle", error.to_string()))?;
    let others = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
    let bytes = archive(&text, others).map_err(|error| Failure::io("write", path, &error))?;
    files::replace(path, &bytes)?;
    Ok(manifest)
}

/// The head, every tile and every bundle of entries.
fn published(ledger: &RawLedger) -> Result<Files, Failure> {
    let (mut files, mut tree, mut full) = (Files::new(), Tree::default(), Vec::new());
    files.insert(Resource::Checkpoint.path(), ledger.note.clone());
    for record in &ledger.records {
        let hash = leaf_hash(&record.leaf);
        tree.append(hash.map_err(|bad| invalid(bad.to_string()))?, &mut full);
    }
    for FullTile { level, index, bytes } in full {
        files.insert(Resource::Tile { level, index, width: WIDTH }.path(), bytes);
    }
    for resource in Resource::of_size(tree.size()) {
        match resource {
            Resource::Tile { level, width, .. } if width < WIDTH => {
                files.insert(resource.path(), tree.partial(level));
            }
            Resource::Entries { index, width } => {
                let from =
                    usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(WIDTH.into());
                let records = ledger.records.iter().skip(from).take(width.into());
                let bytes = bundle(records.map(|record| record.leaf.as_slice()));
                files.insert(resource.path(), bytes);
            }
            _ => {}
        }
    }
    Ok(files)
}

/// Of the records of one entry bundle: 256 of them, and the rest in the last.
fn payload_path(number: usize) -> String {
    format!("payloads/{number}")
}

/// Each behind its length as four bytes, big-endian; empty where nothing lies or it was erased.
fn payloads(records: &[RawRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        // A payload is at most a request of 1 MiB.
        let length = u32::try_from(record.payload.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(&record.payload);
    }
    bytes
}

fn split_payloads(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut payloads = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (payload, rest) = rest.split_at_checked(length)?;
        payloads.push(payload.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(payloads)
}

/// The archive in its one form: the manifest, then the files by name.
fn archive<'a>(
    manifest: &'a [u8],
    files: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in std::iter::once((MANIFEST, manifest)).chain(files) {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, path, bytes)?;
    }
    archive.into_inner()
}

/// A bundle that was read, and holds.
#[derive(Debug)]
pub struct Verified {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its records, under its head.
    pub records: Records,
}

/// Reads a bundle and checks it, with the keys of this trust and no others: every file against the
/// manifest, every tile against the records, every payload against its record, the root against the
/// head, and earlier heads against the beginning.
pub fn verify(path: &Path, trust: &Trust, earlier: &[Checkpoint]) -> Result<Verified, Failure> {
    let bytes = read(path)?;
    let files = files_of(&bytes)?;
    let manifest = check_manifest(&files)?;
    // Padding, owners, times: whatever the archive could say besides.
    let text = files.get(MANIFEST).map(Vec::as_slice).unwrap_or_default();
    let others = files.iter().filter(|(path, _)| *path != MANIFEST);
    let others = others.map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
    let written = archive(text, others).map_err(|error| invalid(error.to_string()))?;
    if written != bytes {
        return Err(invalid("its files stand in it in another form".to_owned()));
    }
    let content = |resource: Resource| files.get(&resource.path()).cloned();
    let keys = head_keys(&trust.current());
    let copy = verify_published(&content, &keys, earlier)?;
    if copy.pruned > 0 {
        let says = format!("{} records are not there", copy.pruned);
        return Err(Failure::local("ledger_incomplete", says));
    }
    let ledger = ledger(&files, copy.head.size)?;
    let records = ledger.understand(trust)?;
    let claims = (manifest.origin.as_str(), manifest.records, manifest.root.as_str());
    let root = base64url(copy.head.root);
    if claims != (copy.head.origin.as_str(), copy.head.size, root.as_str()) {
        return Err(invalid("its manifest names another head than its own".to_owned()));
    }
    Ok(Verified { manifest, records })
}

/// The bytes, within the bound.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let io = |error: std::io::Error| Failure::io("read", path, &error);
    if std::fs::metadata(path).map_err(io)?.len() > BUNDLE_BYTES_MAX {
        return Err(invalid(format!("it is larger than {BUNDLE_BYTES_MAX} bytes")));
    }
    files::read(path)
}

/// Every file of the archive; each once.
fn files_of(bytes: &[u8]) -> Result<Files, Failure> {
    let bad = |error: std::io::Error| invalid(format!("it is no bundle: {error}"));
    let mut archive = tar::Archive::new(bytes);
    let mut files = Files::new();
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let name = String::from_utf8(entry.path_bytes().into_owned());
        let name = name.map_err(|_| invalid("a file has no name in UTF-8".to_owned()))?;
        // A header may claim any size; what is there is bounded by the file.
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(bad)?;
        if files.insert(name.clone(), bytes).is_some() {
            return Err(invalid(format!("{name} is in it twice")));
        }
    }
    Ok(files)
}

fn check_manifest(files: &Files) -> Result<Manifest, Failure> {
    let text = files.get(MANIFEST).ok_or_else(|| invalid("it has no manifest".to_owned()))?;
    let manifest: Manifest = serde_json::from_slice(text)
        .map_err(|error| invalid(format!("its manifest is not one: {error}")))?;
    if manifest.format != FORMAT {
        return Err(invalid(format!("{:?}, {FORMAT:?} is read here", manifest.format)));
    }
    for (path, bytes) in files.iter().filter(|(path, _)| *path != MANIFEST) {
        if manifest.files.get(path) != Some(&base64url(sha256(bytes))) {
            return Err(invalid(format!("{path} is not what the manifest says")));
        }
    }
    match manifest.files.keys().find(|path| !files.contains_key(*path)) {
        Some(path) => Err(Failure::local("ledger_incomplete", format!("{path} is not there"))),
        None => Ok(manifest),
    }
}

/// Leaves and payloads, put together again.
fn ledger(files: &Files, size: u64) -> Result<RawLedger, Failure> {
    let note = files.get(&Resource::Checkpoint.path()).cloned().unwrap_or_default();
    let mut records = Vec::new();
    let entries = Resource::of_size(size).filter(|r| matches!(r, Resource::Entries { .. }));
    for (number, resource) in entries.enumerate() {
        let torn = |path: &str| invalid(format!("{path} is torn"));
        let bytes = files.get(&resource.path()).map(Vec::as_slice).unwrap_or_default();
        let leaves = leaves(bytes).ok_or_else(|| torn(&resource.path()))?;
        let path = payload_path(number);
        let payloads = match files.get(&path) {
            Some(bytes) => split_payloads(bytes).ok_or_else(|| torn(&path))?,
            None => vec![Vec::new(); leaves.len()],
        };
        if payloads.len() != leaves.len() {
            return Err(invalid(format!("{path} is of other records")));
        }
        let pairs = leaves.into_iter().zip(payloads);
        records.extend(pairs.map(|(leaf, payload)| RawRecord { leaf: leaf.to_vec(), payload }));
    }
    Ok(RawLedger { note, records })
}

fn invalid(says: String) -> Failure {
    Failure::local("ledger_invalid", says)
}
