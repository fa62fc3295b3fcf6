//! A copy of the ledger in a directory, in the layout of C2SP tlog-tiles. Any static web server can
//! serve it, and it can be verified without the broker. SPEC section 9.
//!
//! Owns: pulling new records, what is verified before it counts, detecting another history. Does
//! not own: verifying a finished copy (`published`), the tree (`sublet_ledger`).
//!
//! Invariants: pulled files are put in place only when the tree over them has the root hash that
//! the broker signed, and the checkpoint last; nothing in place is replaced by something different;
//! a checkpoint that does not extend the kept one is refused and kept as evidence.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sublet_ledger::checkpoint::{Checkpoint, CheckpointKey};
use sublet_ledger::fork::Fork;
use sublet_ledger::source::{LogSource as _, TilesOf};
use sublet_ledger::tile::{FullTile, Resource, Tree, TreeView, WIDTH, bundle, leaves};
use sublet_ledger::tree::{Checked, verify_consistency};
use sublet_ledger::{Hash, leaf_hash};
use sublet_proto::v1::records_part::Part;
use sublet_proto::v1::{GetCheckpointRequest, RecordsCheckpoint, RecordsEntries, RecordsPruned};

use crate::audit::published::{SignedCheckpoint, WITNESSED, checkpoint_keys, in_directory};
use crate::audit::records::leaf_hashes;
use crate::broker::connect::{Broker, DEADLINE_DEFAULT};
use crate::broker::credential::Credential;
use crate::error::Error;
use crate::files;
use crate::trust::Trust;

/// The folder of pulled files that are not verified yet.
const STAGE: &str = ".pulled";

/// The folder that another history is pulled to, to prove the fork.
const OTHER: &str = ".other";

/// The file that keeps two contradicting checkpoints, with the proof if there is one.
const FORK: &str = "fork.txt";

/// The result of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The checkpoint of the copy.
    pub head: Checkpoint,
    /// How many records are new.
    pub new: u64,
    /// How many of the new records were pruned. Their hashes are in the tiles.
    pub pruned: u64,
}

/// A copy of the ledger in a directory.
#[derive(Debug)]
pub struct Mirror {
    directory: PathBuf,
    keys: Vec<CheckpointKey>,
    /// The checkpoint of the copy; `None` when the copy is empty.
    head: Option<SignedCheckpoint>,
    tree: Tree,
    /// The leaves after the last full entry bundle.
    tail: Vec<Vec<u8>>,
    /// The lock against other processes that pull into this directory.
    alone: Option<File>,
}

impl Mirror {
    /// Opens a copy, or begins one in a directory that is empty or missing. Verifies the files that
    /// are needed to continue against the copy's checkpoint. The code of the error is `copy_in_use`
    /// when another process pulls here.
    pub fn open(directory: &Path, trust: &Trust) -> Result<Self, Error> {
        let mut mirror = Mirror::empty(directory, checkpoint_keys(&trust.current()));
        std::fs::create_dir_all(directory)
            .map_err(|error| Error::io("create", directory, &error))?;
        let detail = || format!("another process pulls into {}", directory.display());
        let alone = files::claim(directory)?;
        mirror.alone = Some(alone.ok_or_else(|| Error::local("copy_in_use", detail()))?);
        let path = directory.join(Resource::Checkpoint.path());
        if !path.exists() {
            return Ok(mirror);
        }
        let note = files::read(&path)?;
        let signed =
            SignedCheckpoint::open(note, &mirror.keys).map_err(|bad| Error::file(&path, bad))?;
        let head = &signed.head;
        let width = head.size % u64::from(WIDTH);
        if width > 0 {
            let resource =
                Resource::Entries { index: head.size / u64::from(WIDTH), width: narrow(width) };
            let bytes = in_directory(directory).get(resource).unwrap_or_default();
            let tail = leaves(&bytes).unwrap_or_default();
            mirror.tail = tail.into_iter().map(<[u8]>::to_vec).collect();
        }
        let tail = mirror.tail.iter().map(|leaf| leaf_hash(leaf)).collect::<Result<_, _>>();
        let tail = tail.map_err(|bad| Error::file(&path, bad))?;
        let files = in_directory(directory);
        let tree = Tree::resume(head.size, tail, &TilesOf(&files))
            .map_err(|bad| broken(bad.to_string()))?;
        if tree.root() != head.root {
            return Err(broken(
                "the root hash of its tiles is not that of its checkpoint".to_owned(),
            ));
        }
        (mirror.tree, mirror.head) = (tree, Some(signed));
        Ok(mirror)
    }

    fn empty(directory: &Path, keys: Vec<CheckpointKey>) -> Self {
        let (directory, tree) = (directory.to_owned(), Tree::default());
        Mirror { directory, keys, head: None, tree, tail: Vec::new(), alone: None }
    }

    /// Returns how many records the copy has.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Pulls the new records with the admin's credential, and puts them in place after verifying
    /// that they extend the copy. The code of the error is `ledger_forked` when they do not.
    pub async fn pull(&mut self, broker: &Broker, who: &Credential) -> Result<Mirrored, Error> {
        // The witnessed checkpoint is read first, so the records that are pulled next include what
        // it covers.
        let witnessed = broker.checkpoint(who, GetCheckpointRequest {}).await?.witnessed;
        match self.pull_what_is_new(broker, who).await? {
            Ok(copy) => {
                if !witnessed.is_empty() {
                    write_through(&self.directory.join(WITNESSED), &witnessed)?;
                }
                Ok(copy)
            }
            Err(other) => {
                let fork = self.prove(&other, broker, who).await;
                Err(self.keep(&other, fork))
            }
        }
    }

    /// Pulls the new records. Returns the result, or the evidence of another history.
    async fn pull_what_is_new(
        &mut self,
        broker: &Broker,
        who: &Credential,
    ) -> Result<Result<Mirrored, Other>, Error> {
        let mut stream = broker.tail_stream(who, self.size(), false).await?;
        let (mut pulled, mut head) = (Pulled::of(self), None);
        loop {
            let next = tokio::time::timeout(DEADLINE_DEFAULT, stream.message()).await;
            let next = next.map_err(|_| Error::deadline("the ledger", DEADLINE_DEFAULT))?;
            match next.map_err(|status| Error::from_status(&status))?.and_then(|part| part.part) {
                Some(Part::Checkpoint(part)) if head.is_none() => match self.check_head(&part)? {
                    Ok(signed) => head = Some(signed),
                    Err(other) => return Ok(Err(other)),
                },
                Some(Part::Entries(part)) if head.is_some() => pulled.take(part)?,
                Some(Part::Pruned(part)) if head.is_some() => pulled.take_pruned(&part)?,
                Some(_) => return Err(Error::answer("the checkpoint is not first")),
                None => break,
            }
        }
        let Some(signed) = head else {
            return Err(Error::answer("the ledger has no checkpoint"));
        };
        if (pulled.tree.size(), pulled.tree.root()) != (signed.head.size, signed.head.root) {
            let detail = "the root hash of the records that it sent is another one".to_owned();
            return Ok(Err(Other { note: signed.note, detail }));
        }
        self.put_in_place(pulled, signed).map(Ok)
    }

    /// Verifies that a checkpoint is signed and extends the kept one. Otherwise returns the
    /// evidence of another history.
    fn check_head(
        &self,
        part: &RecordsCheckpoint,
    ) -> Result<Result<SignedCheckpoint, Other>, Error> {
        let signed = SignedCheckpoint::open(part.checkpoint.clone(), &self.keys)
            .map_err(|bad| Error::answer(format!("the checkpoint of the ledger: {bad}")))?;
        let Some(SignedCheckpoint { head: held, .. }) = &self.head else { return Ok(Ok(signed)) };
        let proof = part.consistency.iter().map(|hash| Hash::try_from(hash.as_slice()));
        let proof = proof.collect::<Result<Vec<_>, _>>();
        let proof = proof.map_err(|_| Error::answer("a proof is not of 32-byte hashes"))?;
        let head = &signed.head;
        let detail = if head.size < held.size {
            format!("an earlier checkpoint has {} records, this one {}", held.size, head.size)
        } else {
            let new = (head.size, &head.root);
            match verify_consistency((held.size, &held.root), new, &proof) {
                Checked::Holds => return Ok(Ok(signed)),
                _ if held.size == 0 => return Ok(Ok(signed)),
                Checked::Contradicted => "there are two roots for one size".to_owned(),
                Checked::NotShown => "it is not proven to extend the copy".to_owned(),
            }
        };
        Ok(Err(Other { note: signed.note, detail }))
    }

    /// Pulls the other history as a whole, and proves from it that two were signed; `None` when it
    /// is no fork or cannot be read.
    async fn prove(&self, other: &Other, broker: &Broker, who: &Credential) -> Option<Fork> {
        let held = self.head.as_ref()?;
        let directory = self.directory.join(OTHER);
        let _ = std::fs::remove_dir_all(&directory);
        let mut pulled = Mirror::empty(&directory, self.keys.clone());
        let pull = pulled.pull_what_is_new(broker, who).await;
        let fork = match pull {
            Ok(Ok(_)) => pulled.head.as_ref().and_then(|head| {
                let (smaller, larger, whole) = if held.head.size <= head.head.size {
                    (held, head, &pulled)
                } else {
                    (head, held, self)
                };
                let files = in_directory(&whole.directory);
                let view = TreeView { tree: &whole.tree, tiles: &TilesOf(&files) };
                let heads = [smaller, larger].map(|signed| (&signed.head, signed.note.as_slice()));
                let [smaller, larger] = heads;
                Fork::find(smaller, larger, &view)
            }),
            _ => {
                tracing::warn!(
                    detail = other.detail,
                    "the other history could not be read as a whole"
                );
                None
            }
        };
        let _ = std::fs::remove_dir_all(&directory);
        fork
    }

    /// Keeps the proof of the fork, or without one the two checkpoints as they were signed.
    fn keep(&self, other: &Other, fork: Option<Fork>) -> Error {
        let held = self.head.as_ref().map(|signed| signed.note.as_slice()).unwrap_or_default();
        let (what, bytes) = match fork {
            Some(fork) => ("the proof is", fork.encode()),
            None => ("both checkpoints are", [held, b"\n", &other.note].concat()),
        };
        let path = self.directory.join(FORK);
        let kept = match files::replace(&path, &bytes) {
            Ok(()) => format!("{what} kept in {}", path.display()),
            Err(failure) => format!("{what} not kept: {failure}"),
        };
        let detail = format!("the ledger shows another history: {}; {kept}", other.detail);
        Error::local("ledger_forked", detail)
    }

    /// Puts in place the full tiles and bundles, then the partial ones, then the checkpoint; then
    /// removes partial files that are no longer needed.
    fn put_in_place(
        &mut self,
        pulled: Pulled,
        signed: SignedCheckpoint,
    ) -> Result<Mirrored, Error> {
        let head = signed.head.clone();
        let (old, new) = (self.size(), head.size - self.size());
        let mut placed = Vec::new();
        for resource in pulled.written {
            let from = pulled.stage.join(resource.path());
            let to = self.directory.join(resource.path());
            make_room(&to)?;
            std::fs::rename(&from, &to).map_err(|error| Error::io("write", &to, &error))?;
            placed.push(to);
        }
        let edge: Vec<_> = Resource::of_size(head.size).filter(is_partial).collect();
        for resource in &edge {
            let bytes = match resource {
                Resource::Tile { level, .. } => pulled.tree.partial(*level),
                _ => bundle(pulled.tail.iter().map(Vec::as_slice)),
            };
            let path = self.directory.join(resource.path());
            write(&path, &bytes)?;
            placed.push(path);
        }
        // A copy that extends an earlier checkpoint must survive a power failure, as the checkpoint
        // would be lost with it. The first pull can be repeated.
        if old > 0 {
            placed.iter().try_for_each(|path| files::sync(path))?;
        }
        write_through(&self.directory.join(Resource::Checkpoint.path()), &signed.note)?;
        if new > 0 {
            let outgrown = Resource::of_size(old).filter(is_partial).filter(|r| !edge.contains(r));
            // If the full bundle was pruned, this partial one is all that is left of it.
            for outgrown in outgrown.filter(|r| self.has_full(*r)) {
                files::remove(&self.directory.join(outgrown.path()))?;
            }
        }
        let _ = std::fs::remove_dir_all(&pulled.stage);
        (self.tree, self.tail, self.head) = (pulled.tree, pulled.tail, Some(signed));
        Ok(Mirrored { head, new, pruned: pulled.pruned })
    }

    /// Returns whether the full version of a partial file is there.
    fn has_full(&self, partial: Resource) -> bool {
        let full = match partial {
            Resource::Entries { index, width } if width < WIDTH => {
                Resource::Entries { index, width: WIDTH }
            }
            other => return !matches!(other, Resource::Checkpoint),
        };
        let grown = self.tree.size() / u64::from(WIDTH);
        matches!(full, Resource::Entries { index, .. } if index >= grown)
            || self.directory.join(full.path()).exists()
    }
}

/// A checkpoint that does not extend the kept one, with the reason.
struct Other {
    note: Vec<u8>,
    detail: String,
}

/// Pulled data that is not verified yet: full tiles and bundles in a folder of their own.
struct Pulled {
    stage: PathBuf,
    tree: Tree,
    tail: Vec<Vec<u8>>,
    written: Vec<Resource>,
    /// How many records were pruned before they were pulled.
    pruned: u64,
}

impl Pulled {
    fn of(mirror: &Mirror) -> Self {
        let stage = mirror.directory.join(STAGE);
        // The files of an interrupted pull are pulled again.
        let _ = std::fs::remove_dir_all(&stage);
        let (tree, tail) = (mirror.tree.clone(), mirror.tail.clone());
        Pulled { stage, tree, tail, written: Vec::new(), pruned: 0 }
    }

    fn take(&mut self, part: RecordsEntries) -> Result<(), Error> {
        self.due(part.first)?;
        for leaf in part.leaves {
            let hash = leaf_hash(&leaf).map_err(|bad| Error::answer(bad.to_string()))?;
            self.tail.push(leaf);
            self.append(hash)?;
        }
        Ok(())
    }

    /// Adds pruned records, which have hashes and no leaves.
    fn take_pruned(&mut self, part: &RecordsPruned) -> Result<(), Error> {
        self.due(part.first)?;
        for hash in leaf_hashes(part)? {
            self.pruned += 1;
            self.append(hash)?;
        }
        Ok(())
    }

    fn due(&self, first: u64) -> Result<(), Error> {
        if first == self.tree.size() {
            return Ok(());
        }
        Err(Error::answer(format!("record {first} where {} was due", self.tree.size())))
    }

    fn append(&mut self, leaf_hash: Hash) -> Result<(), Error> {
        let mut full = Vec::new();
        self.tree.append(leaf_hash, &mut full);
        for FullTile { level, index, bytes } in full {
            if level == 0 {
                let leaves = std::mem::take(&mut self.tail);
                if leaves.len() == usize::from(WIDTH) {
                    let bytes = bundle(leaves.iter().map(Vec::as_slice));
                    self.write(Resource::Entries { index, width: WIDTH }, &bytes)?;
                }
            }
            self.write(Resource::Tile { level, index, width: WIDTH }, &bytes)?;
        }
        Ok(())
    }

    fn write(&mut self, resource: Resource, bytes: &[u8]) -> Result<(), Error> {
        self.written.push(resource);
        write(&self.stage.join(resource.path()), bytes)
    }
}

fn is_partial(resource: &Resource) -> bool {
    match resource {
        Resource::Checkpoint => false,
        Resource::Tile { width, .. } | Resource::Entries { width, .. } => *width < WIDTH,
    }
}

fn narrow(width: u64) -> u16 {
    u16::try_from(width).unwrap_or(WIDTH)
}

fn make_room(path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).map_err(|error| Error::io("create", parent, &error))
}

/// Writes one file of a copy, whole and readable by everyone, without waiting for the disk.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    put(path, bytes, |_| Ok(()))
}

/// Writes one file of a copy and waits until it is on disk.
fn write_through(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    put(path, bytes, File::sync_all)?;
    files::sync_directory_of(path)
}

fn put(
    path: &Path,
    bytes: &[u8],
    settle: impl FnOnce(&File) -> std::io::Result<()>,
) -> Result<(), Error> {
    make_room(path)?;
    let beside = path.with_extension("new");
    let written = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        settle(&file)?;
        std::fs::rename(&beside, path)
    };
    written().map_err(|error| Error::io("write", path, &error))
}

fn broken(detail: String) -> Error {
    Error::local("ledger_invalid", format!("the copy cannot be continued: {detail}"))
}
