//! The evidence bundle: one file, of public formats only, that can be verified on a machine that
//! never met the broker. docs/DESIGN, "Replay"; docs/FORMATS, "Evidence bundle".
//!
//! Owns: the content of a bundle, writing it, verifying it against keys that the reader trusts.
//! Does not own: the form of the file (`archive`), tiles and checkpoints (`sublet_ledger`), the
//! meaning of records (`records`, `history`).
//!
//! Invariants: every file is either listed in the manifest with its SHA-256 or part of the tree
//! under the signed checkpoint; a bundle is never verified with the keys that it contains; derived
//! files are under `derived/`, and no verdict uses them; verifying needs no more memory for a large
//! ledger than for a small one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sublet_core::base::bytes::sha256;
use sublet_core::base::text::base64url;
use sublet_ledger::checkpoint::{Checkpoint, CheckpointKey};
use sublet_ledger::fork::Fork;
use sublet_ledger::leaf_hash;
use sublet_ledger::source::TilesOf;
use sublet_ledger::tile::{FullTile, Resource, Tree, TreeView, WIDTH, bundle, leaves};
use sublet_proto::v1::ReplayEntry;

use crate::audit::archive::{Archive, Writer};
use crate::audit::entry::Entry;
use crate::audit::published::{Published, SignedCheckpoint, WITNESSED};
use crate::audit::records::{RawLedger, RawRecord, Records};
use crate::audit::replay::ENTRIES_MAX;
use crate::error::Error;
use crate::files;
use crate::trust::Trust;

/// The format's name in the manifest.
const FORMAT: &str = "sublet-evidence/2";

/// The file that lists all others.
const MANIFEST: &str = "manifest.json";

/// The folder of the tree. Its files are verified against the checkpoint and need no digest.
const TREE: &str = "tile/";

/// The largest manifest that is read, in bytes.
const MANIFEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The manifest of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format: `sublet-evidence/2`.
    pub format: String,
    /// The origin of the ledger.
    pub origin: String,
    /// How many records the checkpoint covers.
    pub records: u64,
    /// The root hash over the records, in base64url.
    pub root: String,
    /// The SHA-256, in base64url, of every other file outside the tree.
    pub files: BTreeMap<String, String>,
}

/// Writes a bundle of a whole ledger: the checkpoint, the last witnessed checkpoint, tiles and
/// entries as in C2SP tlog-tiles, the payloads, the keys (`trust.json`), and the files that were
/// derived from them.
pub fn write(
    path: &Path,
    ledger: &RawLedger,
    trust_text: &[u8],
    derived: Vec<(String, Vec<u8>)>,
    keys: &[CheckpointKey],
) -> Result<Manifest, Error> {
    let head = Checkpoint::open(&ledger.note, keys);
    let head = head.map_err(|bad| invalid(format!("the checkpoint of the ledger: {bad}")))?;
    let tree = tree(ledger)?;
    if (tree.tree.size(), tree.tree.root()) != (head.size, head.root) {
        return Err(invalid(
            "the root hash of the records is not that of the checkpoint".to_owned(),
        ));
    }
    let mut parts = BTreeMap::from([
        (Resource::Checkpoint.path(), Part::Bytes(ledger.note.clone())),
        ("trust.json".to_owned(), Part::Bytes(trust_text.to_vec())),
    ]);
    if !ledger.witnessed.is_empty() {
        parts.insert(WITNESSED.to_owned(), Part::Bytes(ledger.witnessed.clone()));
    }
    let derived = derived.into_iter();
    parts.extend(derived.map(|(name, bytes)| (format!("derived/{name}"), Part::Bytes(bytes))));
    for resource in Resource::of_size(head.size) {
        let Resource::Entries { index, .. } = resource else {
            parts.insert(resource.path(), Part::Tree(resource));
            continue;
        };
        // Records are pruned in whole entry bundles.
        if records(ledger, index).iter().all(|record| record.leaf().is_some()) {
            parts.insert(resource.path(), Part::Tree(resource));
            parts.insert(payload_path(index), Part::Payloads(index));
        }
    }
    let content = |part: &Part| content(part, ledger, &tree);
    let named = parts.iter().filter(|(path, _)| !path.starts_with(TREE));
    let digest = |(path, part): (&String, &Part)| (path.clone(), base64url(sha256(&content(part))));
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        origin: head.origin,
        records: head.size,
        root: base64url(head.root),
        files: named.map(digest).collect(),
    };
    let text = serde_json::to_vec_pretty(&manifest);
    let text = text.map_err(|error| Error::local("bundle", error.to_string()))?;
    let archive = |file: &mut File| {
        let mut writer = Writer::new(BufWriter::new(file));
        writer.file(MANIFEST, &text)?;
        for (path, part) in &parts {
            writer.file(path, &content(part))?;
        }
        writer.finish()?.flush()
    };
    files::replace_with(path, archive)?;
    Ok(manifest)
}

/// The source of a file's content while a bundle is written.
enum Part {
    Bytes(Vec<u8>),
    Tree(Resource),
    Payloads(u64),
}

/// The tree over all records, with its full tiles.
struct Whole {
    tree: Tree,
    full: BTreeMap<(u8, u64), Vec<u8>>,
}

fn tree(ledger: &RawLedger) -> Result<Whole, Error> {
    let (mut tree, mut full) = (Tree::default(), Vec::new());
    for record in &ledger.records {
        let hash = match record {
            RawRecord::Kept { leaf, .. } => leaf_hash(leaf),
            RawRecord::Pruned(hash) => Ok(*hash),
        };
        tree.append(hash.map_err(|bad| invalid(bad.to_string()))?, &mut full);
    }
    let full = full.into_iter().map(|FullTile { level, index, bytes }| ((level, index), bytes));
    Ok(Whole { tree, full: full.collect() })
}

fn content(part: &Part, ledger: &RawLedger, whole: &Whole) -> Vec<u8> {
    match part {
        Part::Bytes(bytes) => bytes.clone(),
        Part::Payloads(index) => payloads(records(ledger, *index)),
        Part::Tree(Resource::Entries { index, .. }) => {
            bundle(records(ledger, *index).iter().filter_map(RawRecord::leaf))
        }
        Part::Tree(resource) => {
            let Resource::Tile { level, index, width } = *resource else { return Vec::new() };
            let full = |resource: Resource| match resource {
                Resource::Tile { level, index, .. } => whole.full.get(&(level, index)).cloned(),
                _ => None,
            };
            let view = TreeView { tree: &whole.tree, tiles: &TilesOf(&full) };
            view.hashes(level, index, width).unwrap_or_default()
        }
    }
}

/// Returns the records of one entry bundle: 256, or fewer in the last.
fn records(ledger: &RawLedger, index: u64) -> &[RawRecord] {
    let chunk = usize::try_from(index).unwrap_or(usize::MAX);
    ledger.records.chunks(WIDTH.into()).nth(chunk).unwrap_or_default()
}

/// Returns the path of the payloads of one entry bundle.
fn payload_path(index: u64) -> String {
    format!("payloads/{index}")
}

/// Encodes payloads, each after its length as four bytes, big-endian. A record without a payload
/// has length 0.
fn payloads(records: &[RawRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        // A payload is at most a request of 1 MiB.
        let length = u32::try_from(record.payload().len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(record.payload());
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

/// A verified bundle: every byte is covered by the manifest or the tree.
///
/// ```no_run
/// use std::path::Path;
/// use sublet_client::audit::bundle::Bundle;
/// use sublet_client::audit::published::checkpoint_keys;
/// use sublet_client::{Clock as _, Error, SystemClock, Trust};
///
/// # fn example() -> Result<(), Error> {
/// // The keys come from a trust bundle that the reader trusts, not from the evidence.
/// let trust = Trust::open(Path::new("trust.json"), SystemClock.now())?;
/// let bundle = Bundle::open(Path::new("evidence.tar"), &checkpoint_keys(&trust.current()))?;
/// let checked = bundle.check_records()?;
/// println!("{checked} of {} records are there", bundle.manifest.records);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Bundle {
    archive: Archive,
    /// The manifest.
    pub manifest: Manifest,
    /// The ledger in the bundle.
    pub ledger: Published,
}

impl Bundle {
    /// Reads and verifies a bundle with these keys: every file against the manifest or the tree,
    /// every tile against the records, the root hash against the checkpoint. Payloads are verified
    /// when they are read.
    pub fn open(path: &Path, keys: &[CheckpointKey]) -> Result<Self, Error> {
        Bundle::read(path, keys).map_err(|failure| failure.of(path))
    }

    fn read(path: &Path, keys: &[CheckpointKey]) -> Result<Self, Error> {
        let archive = Archive::open(path, MANIFEST, &|name| !name.starts_with(TREE))?;
        let manifest = check_manifest(&archive)?;
        let ledger = Published::verify(&|resource: Resource| archive.read(&resource.path()), keys)?;
        let head = &ledger.signed.head;
        let claims = (manifest.origin.as_str(), manifest.records, manifest.root.as_str());
        let root = base64url(head.root);
        if claims != (head.origin.as_str(), head.size, root.as_str()) {
            return Err(invalid(
                "its manifest states another checkpoint than the bundle contains".to_owned(),
            ));
        }
        Ok(Bundle { archive, manifest, ledger })
    }

    /// Compares the ledger with checkpoints that were kept elsewhere; see [`Published::against`].
    pub fn against(&self, kept: &[SignedCheckpoint]) -> Result<Option<Fork>, Error> {
        self.ledger.against(&|resource: Resource| self.archive.read(&resource.path()), kept)
    }

    /// Returns the last checkpoint that witnesses cosigned; empty when there is none.
    pub fn witnessed(&self) -> Vec<u8> {
        self.archive.read(WITNESSED).unwrap_or_default()
    }

    fn size(&self) -> u64 {
        self.ledger.signed.head.size
    }

    /// Returns whether the ledger is small enough for [`Bundle::records`].
    pub fn can_be_replayed(&self) -> bool {
        self.size() <= ENTRIES_MAX as u64
    }

    /// Returns every record with its payload, which is verified against the leaf. The code of the
    /// error is `replay_too_long` when there are too many.
    pub fn records(&self, trust: &Trust) -> Result<Records, Error> {
        if !self.can_be_replayed() {
            let detail = format!("the ledger has over {ENTRIES_MAX} records");
            return Err(Error::local("replay_too_long", detail));
        }
        let note = self.archive.read(&Resource::Checkpoint.path()).unwrap_or_default();
        let mut records = Vec::new();
        for resource in entries_of(self.size()) {
            records.extend(self.chunk(resource)?);
        }
        RawLedger { note, witnessed: self.witnessed(), records }.understand(trust)
    }

    /// Verifies every payload against its leaf, one entry bundle at a time. Returns how many
    /// records were there.
    pub fn check_records(&self) -> Result<u64, Error> {
        let (mut index, mut there) = (0, 0);
        for resource in entries_of(self.size()) {
            for record in self.chunk(resource)? {
                if let RawRecord::Kept { leaf, payload } = record {
                    let entry = Entry::read(&ReplayEntry { index, leaf, payload });
                    entry.map_err(|failure| invalid(failure.message().to_owned()))?;
                    there += 1;
                }
                index += 1;
            }
        }
        Ok(there)
    }

    /// Returns the records of one entry bundle.
    fn chunk(&self, resource: Resource) -> Result<Vec<RawRecord>, Error> {
        let Resource::Entries { index, width } = resource else { return Ok(Vec::new()) };
        let torn = |path: &str| invalid(format!("{path} is damaged"));
        let Some(bytes) = self.archive.read(&resource.path()) else {
            let hashes = self.archive.read(&Resource::Tile { level: 0, index, width }.path());
            let hashes = hashes.unwrap_or_default();
            return Ok(hashes.as_chunks::<32>().0.iter().copied().map(RawRecord::Pruned).collect());
        };
        let leaves = leaves(&bytes).ok_or_else(|| torn(&resource.path()))?;
        let path = payload_path(index);
        let payloads = match self.archive.read(&path) {
            Some(bytes) => split_payloads(&bytes).ok_or_else(|| torn(&path))?,
            None => vec![Vec::new(); leaves.len()],
        };
        if payloads.len() != leaves.len() {
            return Err(invalid(format!("{path} is of other records")));
        }
        let pairs = leaves.into_iter().zip(payloads);
        Ok(pairs.map(|(leaf, payload)| RawRecord::Kept { leaf: leaf.to_vec(), payload }).collect())
    }
}

fn entries_of(size: u64) -> impl Iterator<Item = Resource> {
    Resource::of_size(size).filter(|resource| matches!(resource, Resource::Entries { .. }))
}

/// Verifies that the manifest lists every file outside the tree with its digest, and no other file,
/// and that the tree has only files of a ledger of this size.
fn check_manifest(archive: &Archive) -> Result<Manifest, Error> {
    let text = archive.read(MANIFEST).filter(|text| text.len() <= MANIFEST_BYTES_MAX);
    let text = text.ok_or_else(|| invalid("it has no manifest that can be read".to_owned()))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| invalid(format!("its manifest is not one: {error}")))?;
    if manifest.format != FORMAT {
        return Err(invalid(format!(
            "the format is {:?}; this version reads {FORMAT:?}",
            manifest.format
        )));
    }
    for (path, digest) in archive.others() {
        let good = match digest {
            Some(digest) => manifest.files.get(path) == Some(&base64url(digest)),
            None => Resource::from_path(path).is_some_and(|found| found.is_of(manifest.records)),
        };
        if !good {
            return Err(invalid(format!("{path} is not what the manifest says")));
        }
    }
    match manifest.files.keys().find(|path| !archive.has(path)) {
        Some(path) => Err(Error::local("ledger_incomplete", format!("{path} is missing"))),
        None => Ok(manifest),
    }
}

fn invalid(detail: String) -> Error {
    Error::local("ledger_invalid", detail)
}
