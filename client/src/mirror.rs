//! A copy of the ledger in a directory, as C2SP tlog-tiles lays it out: any static web server can
//! serve it, and it verifies without the broker. SPEC section 9.
//!
//! Owns: pulling what is new, what is checked before it counts, checking a copy by itself. Does not
//! own: the tree and the formats (`sublet_ledger`), what the records say (`audit`).
//!
//! Invariants: what was pulled is put in place once the tree over it has the root that the broker
//! signed, the head last; nothing that is there is replaced by something else; a head that does not
//! go on from the one that is kept is refused and kept as evidence.

use std::path::{Path, PathBuf};

use sublet_core::bundle::{KeyState, KeyUse, TrustBundle};
use sublet_ledger::checkpoint::{Checkpoint, HeadKey};
use sublet_ledger::tile::{Content, FullTile, Resource, Tree, TreeView, WIDTH, bundle, leaves};
use sublet_ledger::tree::{Checked, root_at, verify_consistency};
use sublet_ledger::{Hash, leaf_hash};
use sublet_proto::v1::tail_part::Part;
use sublet_proto::v1::{TailEntries, TailHead, TailPruned};

use crate::ask::Credential;
use crate::connect::{Broker, DEADLINE_DEFAULT};
use crate::failure::Failure;
use crate::files;
use crate::records::leaf_hashes;
use crate::trust::Trust;

/// Where pulled files wait until the root over them is the signed one.
const STAGE: &str = ".pulled";

/// Under what name two heads that contradict each other are kept.
const FORK: &str = "fork.txt";

/// The keys by which a trust bundle's ledger signs its heads.
pub fn head_keys(bundle: &TrustBundle) -> Vec<HeadKey> {
    let origin = bundle.trust_domain().ledger_origin();
    // A prepared key has signed nothing yet; what a tainted one signed holds no more.
    let signs = |state: KeyState| matches!(state, KeyState::Active | KeyState::Retired);
    let keys = bundle.keys().iter().filter(|key| key.use_ == KeyUse::Ledger && signs(key.state));
    keys.filter_map(|key| HeadKey::new(&origin, key.public.bytes())).collect()
}

/// What became of a copy, or what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The head that it has.
    pub head: Checkpoint,
    /// Records that are new.
    pub new: u64,
    /// Records of which the leaf is not there: pruned; their hashes are in the tiles.
    pub pruned: u64,
}

/// A copy of the ledger in a directory.
#[derive(Debug)]
pub struct Mirror {
    directory: PathBuf,
    keys: Vec<HeadKey>,
    /// What is kept: the head with its bytes, if there is one.
    head: Option<(Checkpoint, Vec<u8>)>,
    tree: Tree,
    /// The leaves behind the last full bundle.
    tail: Vec<Vec<u8>>,
}

impl Mirror {
    /// Opens a copy, or begins one in a directory that is empty or not there. What is there must be
    /// what its head says, as far as it is needed to go on.
    pub fn open(directory: &Path, trust: &Trust) -> Result<Self, Failure> {
        let keys = head_keys(&trust.current());
        let mut mirror = Mirror {
            directory: directory.to_owned(),
            keys,
            head: None,
            tree: Tree::default(),
            tail: Vec::new(),
        };
        let path = directory.join(Resource::Checkpoint.path());
        if !path.exists() {
            std::fs::create_dir_all(directory)
                .map_err(|error| Failure::io("create", directory, &error))?;
            return Ok(mirror);
        }
        let note = files::read(&path)?;
        let head =
            Checkpoint::open(&note, &mirror.keys).map_err(|bad| Failure::file(&path, bad))?;
        let width = head.size % u64::from(WIDTH);
        if width > 0 {
            let resource =
                Resource::Entries { index: head.size / u64::from(WIDTH), width: narrow(width) };
            let bytes = files::read(&directory.join(resource.path()))?;
            let tail = leaves(&bytes).unwrap_or_default();
            mirror.tail = tail.into_iter().map(<[u8]>::to_vec).collect();
        }
        let tail = mirror.tail.iter().map(|leaf| leaf_hash(leaf)).collect::<Result<_, _>>();
        let tail = tail.map_err(|bad| Failure::file(&path, bad))?;
        let files = |resource: Resource| std::fs::read(directory.join(resource.path())).ok();
        let tree = Tree::resume(head.size, tail, &Content(&files))
            .map_err(|bad| broken(bad.to_string()))?;
        if tree.root() != head.root {
            return Err(broken("its tiles have another root than its head".to_owned()));
        }
        (mirror.tree, mirror.head) = (tree, Some((head, note)));
        Ok(mirror)
    }

    /// How many records it has.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Pulls what is new, by the admin, and puts it in place once it is shown to go on from what is
    /// here.
    pub async fn pull(&mut self, broker: &Broker, who: &Credential) -> Result<Mirrored, Failure> {
        let mut stream = broker.tail_stream(who, self.size(), false).await?;
        let (mut pulled, mut head) = (Pulled::of(self), None);
        loop {
            let next = tokio::time::timeout(DEADLINE_DEFAULT, stream.message()).await;
            let next = next.map_err(|_| Failure::deadline("the ledger", DEADLINE_DEFAULT))?;
            match next.map_err(|status| Failure::from_status(&status))?.and_then(|part| part.part) {
                Some(Part::Head(part)) if head.is_none() => head = Some(self.check_head(&part)?),
                Some(Part::Entries(part)) if head.is_some() => pulled.take(part)?,
                Some(Part::Pruned(part)) if head.is_some() => pulled.take_pruned(&part)?,
                Some(_) => return Err(Failure::answer("the ledger's head is not first")),
                None => break,
            }
        }
        let Some((head, note)) = head else {
            return Err(Failure::answer("the ledger has no head"));
        };
        if (pulled.tree.size(), pulled.tree.root()) != (head.size, head.root) {
            return Err(self.forked(&note, "the records that it sent have another root"));
        }
        self.put_in_place(pulled, head, note)
    }

    /// A head that is signed and goes on from the one that is kept.
    fn check_head(&self, part: &TailHead) -> Result<(Checkpoint, Vec<u8>), Failure> {
        let head = Checkpoint::open(&part.checkpoint, &self.keys)
            .map_err(|bad| Failure::answer(format!("the ledger's head: {bad}")))?;
        let note = part.checkpoint.clone();
        let Some((held, _)) = &self.head else { return Ok((head, note)) };
        let proof = part.consistency.iter().map(|hash| Hash::try_from(hash.as_slice()));
        let proof = proof.collect::<Result<Vec<_>, _>>();
        let proof = proof.map_err(|_| Failure::answer("a proof is not of 32-byte hashes"))?;
        if head.size < held.size {
            let says = format!("{} records were signed before, now {}", held.size, head.size);
            return Err(self.forked(&note, &says));
        }
        let checked = verify_consistency((held.size, &held.root), (head.size, &head.root), &proof);
        match checked {
            Checked::Holds => Ok((head, note)),
            _ if held.size == 0 => Ok((head, note)),
            Checked::Contradicted => Err(self.forked(&note, "two roots of one size")),
            Checked::NotShown => {
                Err(self.forked(&note, "it is not shown to begin with what is kept here"))
            }
        }
    }

    /// Keeps the two heads that do not go together, as they were signed.
    fn forked(&self, note: &[u8], says: &str) -> Failure {
        let held = self.head.as_ref().map(|(_, note)| note.as_slice()).unwrap_or_default();
        let text = [held, b"\n", note].concat();
        let path = self.directory.join(FORK);
        let kept = match files::replace(&path, &text) {
            Ok(()) => format!("both heads are kept in {}", path.display()),
            Err(failure) => format!("and the heads could not be kept: {failure}"),
        };
        Failure::local("ledger_forked", format!("the ledger shows another history: {says}; {kept}"))
    }

    /// Full tiles and bundles, then the right edge, then the head; then what the edge has outgrown.
    fn put_in_place(
        &mut self,
        pulled: Pulled,
        head: Checkpoint,
        note: Vec<u8>,
    ) -> Result<Mirrored, Failure> {
        let (old, new) = (self.size(), head.size - self.size());
        for resource in pulled.written {
            let from = pulled.stage.join(resource.path());
            let to = self.directory.join(resource.path());
            make_room(&to)?;
            std::fs::rename(&from, &to).map_err(|error| Failure::io("write", &to, &error))?;
        }
        let edge: Vec<_> = Resource::of_size(head.size).filter(is_partial).collect();
        for resource in &edge {
            let bytes = match resource {
                Resource::Tile { level, .. } => pulled.tree.partial(*level),
                _ => bundle(pulled.tail.iter().map(Vec::as_slice)),
            };
            write(&self.directory, *resource, &bytes)?;
        }
        write(&self.directory, Resource::Checkpoint, &note)?;
        if new > 0 {
            let outgrown = Resource::of_size(old).filter(is_partial).filter(|r| !edge.contains(r));
            // A part of a bundle that was forgotten since is all that is left of it.
            for outgrown in outgrown.filter(|r| self.has_full(*r)) {
                files::remove(&self.directory.join(outgrown.path()))?;
            }
        }
        let _ = std::fs::remove_dir_all(&pulled.stage);
        (self.tree, self.tail, self.head) = (pulled.tree, pulled.tail, Some((head.clone(), note)));
        Ok(Mirrored { head, new, pruned: pulled.pruned })
    }

    /// Whether what was partial is there in full by now.
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

/// What was pulled and is not believed yet: full tiles and bundles in a directory of their own.
struct Pulled {
    stage: PathBuf,
    tree: Tree,
    tail: Vec<Vec<u8>>,
    written: Vec<Resource>,
    /// Records that were forgotten before they were pulled.
    pruned: u64,
}

impl Pulled {
    fn of(mirror: &Mirror) -> Self {
        let stage = mirror.directory.join(STAGE);
        // What an interrupted pull left there is pulled again.
        let _ = std::fs::remove_dir_all(&stage);
        let (tree, tail) = (mirror.tree.clone(), mirror.tail.clone());
        Pulled { stage, tree, tail, written: Vec::new(), pruned: 0 }
    }

    fn take(&mut self, part: TailEntries) -> Result<(), Failure> {
        self.due(part.first)?;
        for leaf in part.leaves {
            let hash = leaf_hash(&leaf).map_err(|bad| Failure::answer(bad.to_string()))?;
            self.tail.push(leaf);
            self.append(hash)?;
        }
        Ok(())
    }

    /// Records that were forgotten: what there is of their bundle is none.
    fn take_pruned(&mut self, part: &TailPruned) -> Result<(), Failure> {
        self.due(part.first)?;
        for hash in leaf_hashes(part)? {
            self.pruned += 1;
            self.append(hash)?;
        }
        Ok(())
    }

    fn due(&self, first: u64) -> Result<(), Failure> {
        if first == self.tree.size() {
            return Ok(());
        }
        Err(Failure::answer(format!("record {first} where {} was due", self.tree.size())))
    }

    fn append(&mut self, leaf_hash: Hash) -> Result<(), Failure> {
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

    fn write(&mut self, resource: Resource, bytes: &[u8]) -> Result<(), Failure> {
        self.written.push(resource);
        write(&self.stage, resource, bytes)
    }
}

/// Checks a copy by itself: every leaf is hashed, every tile recomputed, and the root held against
/// the head, which one of these keys must have signed. `earlier` heads, kept elsewhere, must each
/// be of its beginning.
pub fn verify_copy(
    directory: &Path,
    keys: &[HeadKey],
    earlier: &[Checkpoint],
) -> Result<Mirrored, Failure> {
    let path = directory.join(Resource::Checkpoint.path());
    files::read(&path)?;
    verify_published(&|resource| std::fs::read(directory.join(resource.path())).ok(), keys, earlier)
}

/// The same of whatever gives the bytes of a resource; `None` for what is not there.
pub fn verify_published(
    content: &dyn Fn(Resource) -> Option<Vec<u8>>,
    keys: &[HeadKey],
    earlier: &[Checkpoint],
) -> Result<Mirrored, Failure> {
    let there = |resource: Resource| {
        let missing =
            || Failure::local("ledger_incomplete", format!("{} is not there", resource.path()));
        content(resource).ok_or_else(missing)
    };
    let head = Checkpoint::open(&there(Resource::Checkpoint)?, keys);
    let head = head.map_err(|bad| invalid(format!("its head: {bad}")))?;
    let (mut tree, mut full, mut pruned) = (Tree::default(), Vec::new(), 0);
    for resource in Resource::of_size(head.size) {
        let Resource::Entries { index, width } = resource else { continue };
        let hashes = match content(resource) {
            Some(bytes) => hashes_of(&bytes, width).ok_or_else(|| {
                invalid(format!("{} is not a bundle of {width} records", resource.path()))
            })?,
            None => {
                pruned += u64::from(width);
                split(&there(Resource::Tile { level: 0, index, width })?)
            }
        };
        hashes.into_iter().for_each(|hash| tree.append(hash, &mut full));
        for FullTile { level, index, bytes } in full.drain(..) {
            same(&there, Resource::Tile { level, index, width: WIDTH }, &bytes)?;
        }
    }
    for resource in Resource::of_size(head.size).filter(is_partial) {
        if let Resource::Tile { level, .. } = resource {
            same(&there, resource, &tree.partial(level))?;
        }
    }
    if (tree.size(), tree.root()) != (head.size, head.root) {
        return Err(invalid("its records have another root than its head".to_owned()));
    }
    let files = Content(content);
    let view = TreeView { tree: &tree, tiles: &files };
    for kept in earlier {
        if root_at(&view, kept.size).filter(|_| kept.size <= head.size) != Some(kept.root) {
            let says = format!(
                "its {} records do not begin with the {} of a head that was kept",
                head.size, kept.size
            );
            return Err(Failure::local("ledger_forked", says));
        }
    }
    Ok(Mirrored { head, new: 0, pruned })
}

/// Whether what is there is what was computed.
fn same(
    there: &dyn Fn(Resource) -> Result<Vec<u8>, Failure>,
    resource: Resource,
    bytes: &[u8],
) -> Result<(), Failure> {
    if there(resource)? == bytes {
        return Ok(());
    }
    Err(invalid(format!("{} is not what its records make", resource.path())))
}

fn hashes_of(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let leaves = leaves(bytes).filter(|leaves| leaves.len() == usize::from(width))?;
    leaves.into_iter().map(|leaf| leaf_hash(leaf).ok()).collect()
}

fn split(tile: &[u8]) -> Vec<Hash> {
    tile.as_chunks::<32>().0.to_vec()
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

fn make_room(path: &Path) -> Result<(), Failure> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).map_err(|error| Failure::io("create", parent, &error))
}

/// Writes one file of a copy, whole and for everyone to read. Nothing waits for the disk: a copy
/// that a power cut tore does not open, and is pulled again.
fn write(directory: &Path, resource: Resource, bytes: &[u8]) -> Result<(), Failure> {
    let path = directory.join(resource.path());
    make_room(&path)?;
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).map_err(|error| Failure::io("write", &beside, &error))?;
    std::fs::rename(&beside, &path).map_err(|error| Failure::io("write", &path, &error))
}

fn broken(says: String) -> Failure {
    Failure::local("ledger_invalid", format!("the copy cannot go on: {says}"))
}

fn invalid(says: String) -> Failure {
    Failure::local("ledger_invalid", says)
}
