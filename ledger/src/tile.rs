//! The tree in tiles of 256 hashes, and the paths under which a log is published: C2SP tlog-tiles,
//! <https://c2sp.org/tlog-tiles>.
//!
//! Owns: [`Tree`], the part of a log that its next append needs, which returns each tile once, when
//! it is full; [`TreeView`], every node of the tree from full tiles and the right edge; paths and
//! entry bundles. Does not own: where full tiles are stored (a [`Tiles`]).
//!
//! Invariants: a full tile never changes; tiles that are not full are only in memory, and are
//! rebuilt from full tiles and the last leaves; a path has one spelling.

use crate::tree::{Frontier, Node, Nodes, node_hash};
use crate::{Hash, LEAF_BYTES_MAX};

/// The number of hashes in a full tile, and of entries in a full bundle.
pub const WIDTH: u16 = 256;

/// The number of levels of the tree in one tile: 2^8 = [`WIDTH`].
const HEIGHT: u32 = 8;

/// The number of levels of tiles that 2^64 leaves need.
const LEVELS: u8 = 8;

/// A full tile: 256 hashes, concatenated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// The level: 0 for leaf hashes. The hashes of level l are roots of full tiles of level l-1.
    pub level: u8,
    /// The index from the left, among the tiles of its level.
    pub index: u64,
    /// The hashes: 8,192 bytes.
    pub bytes: Vec<u8>,
}

/// A source of full tiles.
pub trait Tiles {
    /// Returns the bytes of a full tile; `None` when it is missing.
    fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>>;
}

/// The part of a log that its next append, its root and its right edge need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    frontier: Frontier,
    /// For each level of tiles, the hashes of the tile that is not full yet.
    edge: Vec<Vec<Hash>>,
}

/// Why stored tiles and leaves are not one tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTree {
    /// A full tile is missing, or has not 256 hashes.
    #[error("tile {index} of level {level} is missing or damaged")]
    Tile {
        /// The level of the tile.
        level: u8,
        /// The index of the tile.
        index: u64,
    },
    /// There are not as many leaves after the last full tile as the size says.
    #[error("{found} leaves behind the last full tile, {expected} expected")]
    Tail {
        /// How many were given.
        found: u64,
        /// How many there must be.
        expected: u64,
    },
}

impl Tree {
    /// Restores a log from its size, its full tiles, and the leaf hashes after the last full tile
    /// of level 0. Reads at most 255 tiles of each level.
    pub fn resume(size: u64, tail: Vec<Hash>, tiles: &dyn Tiles) -> Result<Self, BadTree> {
        let expected = size % u64::from(WIDTH);
        let found = u64::try_from(tail.len()).unwrap_or(u64::MAX);
        if found != expected {
            return Err(BadTree::Tail { found, expected });
        }
        let mut edge = vec![tail];
        for level in 1..=LEVELS {
            let below = size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0);
            let of_level = |index| {
                let bytes = tiles.tile(level - 1, index).and_then(|bytes| root_of_tile(&bytes));
                bytes.ok_or(BadTree::Tile { level: level - 1, index })
            };
            let begin = below - below % u64::from(WIDTH);
            edge.push((begin..below).map(of_level).collect::<Result<_, _>>()?);
        }
        while edge.last().is_some_and(Vec::is_empty) {
            edge.pop();
        }
        let tree = Tree { frontier: Frontier::empty(), edge };
        let view = TreeView { tree: &tree, tiles };
        let frontier = Frontier::resume(size, &view);
        let frontier = frontier.ok_or(BadTree::Tile { level: LEVELS, index: 0 })?;
        Ok(Tree { frontier, edge: tree.edge })
    }

    /// Returns how many leaves there are.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Returns the root hash of all leaves.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends a leaf by its hash. The tiles that become full are added to `full`.
    pub fn append(&mut self, leaf_hash: Hash, full: &mut Vec<FullTile>) {
        let edges = &mut self.edge;
        self.frontier.append(leaf_hash, |Node { level, index, hash }| {
            if level % HEIGHT != 0 {
                return;
            }
            let Ok(level) = u8::try_from(level / HEIGHT) else { return };
            let at = usize::from(level);
            if edges.len() <= at {
                edges.resize(at + 1, Vec::new());
            }
            let Some(edge) = edges.get_mut(at) else { return };
            edge.push(hash);
            if edge.len() == usize::from(WIDTH) {
                let bytes = std::mem::take(edge).concat();
                full.push(FullTile { level, index: index / u64::from(WIDTH), bytes });
            }
        });
    }

    /// Returns the tile of a level that is not full: its hashes, concatenated; empty if it has
    /// none.
    pub fn partial(&self, level: u8) -> Vec<u8> {
        self.edge.get(usize::from(level)).map(|edge| edge.concat()).unwrap_or_default()
    }
}

/// Every node of a tree: from full tiles, and from the edge in memory.
#[derive(Clone, Copy)]
pub struct TreeView<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Its full tiles.
    pub tiles: &'a dyn Tiles,
}

impl Nodes for TreeView<'_> {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        let (tile_level, above) = (u8::try_from(level / HEIGHT).ok()?, level % HEIGHT);
        // The node's 2^above hashes are next to each other in one tile.
        let first = index.checked_shl(above)?;
        let (tile, at) =
            (first / u64::from(WIDTH), usize::try_from(first % u64::from(WIDTH)).ok()?);
        let count = 1usize.checked_shl(above)?;
        let bytes = match self.tiles.tile(tile_level, tile) {
            Some(bytes) => bytes,
            None => self.tree.partial(tile_level),
        };
        let hashes = bytes.get(at.checked_mul(32)?..(at.checked_add(count)?).checked_mul(32)?)?;
        root_of(hashes)
    }
}

impl TreeView<'_> {
    /// Returns the first `width` hashes of a tile, concatenated; `None` when the tree has fewer
    /// there.
    pub fn hashes(&self, level: u8, index: u64, width: u16) -> Option<Vec<u8>> {
        let there = self.tree.size().checked_shr(HEIGHT * u32::from(level)).unwrap_or(0);
        if there.saturating_sub(index.saturating_mul(u64::from(WIDTH))) < u64::from(width) {
            return None;
        }
        let bytes = self.tiles.tile(level, index).unwrap_or_else(|| self.tree.partial(level));
        bytes.get(..usize::from(width) * 32).map(<[u8]>::to_vec)
    }
}

/// The root over a full tile; `None` if it is not one.
fn root_of_tile(bytes: &[u8]) -> Option<Hash> {
    if bytes.len() != usize::from(WIDTH) * 32 { None } else { root_of(bytes) }
}

/// Returns the root of a complete subtree from its hashes; `None` when their number is not a power
/// of two.
fn root_of(bytes: &[u8]) -> Option<Hash> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || !hashes.len().is_power_of_two() {
        return None;
    }
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.pop()
}

/// A file that a log publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `checkpoint`: the signed checkpoint.
    Checkpoint,
    /// `tile/L/N` or `tile/L/N.p/W`: hashes.
    Tile {
        /// The level L.
        level: u8,
        /// The index N.
        index: u64,
        /// The number of hashes, 1 to 256; less than 256 only at the right edge.
        width: u16,
    },
    /// `tile/entries/N` or `tile/entries/N.p/W`: leaves.
    Entries {
        /// The index N.
        index: u64,
        /// The number of leaves, 1 to 256; less than 256 only at the right edge.
        width: u16,
    },
}

impl Resource {
    /// Returns its path, without a leading slash.
    pub fn path(&self) -> String {
        match *self {
            Resource::Checkpoint => "checkpoint".to_owned(),
            Resource::Tile { level, index, width } => {
                format!("tile/{level}/{}{}", number(index), partial(width))
            }
            Resource::Entries { index, width } => {
                format!("tile/entries/{}{}", number(index), partial(width))
            }
        }
    }

    /// Returns whether a log of this size publishes it: full, or at its right edge.
    pub fn is_of(&self, size: u64) -> bool {
        let (level, index, width) = match *self {
            Resource::Checkpoint => return true,
            Resource::Tile { level, index, width } => (level, index, width),
            Resource::Entries { index, width } => (0, index, width),
        };
        let there = size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0);
        let left = there.saturating_sub(index.saturating_mul(u64::from(WIDTH)));
        left.min(u64::from(WIDTH)) == u64::from(width)
    }

    /// Parses a path; `None` for a path of no resource, and for another spelling.
    pub fn from_path(path: &str) -> Option<Self> {
        let resource = match path.strip_prefix("tile/") {
            None => (path == "checkpoint").then_some(Resource::Checkpoint)?,
            Some(rest) => {
                let (level, rest) = rest.split_once('/')?;
                let (number, width) = match rest.split_once(".p/") {
                    None => (rest, WIDTH),
                    Some((number, width)) => (number, width.parse().ok()?),
                };
                let index = number.split('/').map(|part| part.trim_start_matches('x'));
                let index = index.collect::<String>().parse().ok()?;
                match level {
                    "entries" => Resource::Entries { index, width },
                    level => Resource::Tile { level: level.parse().ok()?, index, width },
                }
            }
        };
        let width = match resource {
            Resource::Checkpoint => 1,
            Resource::Tile { width, .. } | Resource::Entries { width, .. } => width,
        };
        // A path that was read leniently differs from the resource's own path.
        ((1..=WIDTH).contains(&width) && resource.path() == path).then_some(resource)
    }

    /// Returns what a log of this size publishes besides its checkpoint: tiles of every level and
    /// bundles, each ending with the right edge.
    pub fn of_size(size: u64) -> impl Iterator<Item = Self> {
        let width = u64::from(WIDTH);
        (0..LEVELS).flat_map(move |level| {
            let hashes = size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0);
            let tiles = (0..hashes.div_ceil(width)).map(move |index| {
                let left = (hashes - index * width).min(width);
                (level, index, u16::try_from(left).unwrap_or(WIDTH))
            });
            tiles.flat_map(|(level, index, width)| {
                let entries = (level == 0).then_some(Resource::Entries { index, width });
                std::iter::once(Resource::Tile { level, index, width }).chain(entries)
            })
        })
    }
}

/// Returns N in groups of three digits, all but the last with an x: `x001/x234/067`.
fn number(index: u64) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut left = index / 1000;
    while left > 0 {
        text = format!("x{:03}/{text}", left % 1000);
        left /= 1000;
    }
    text
}

fn partial(width: u16) -> String {
    if width == WIDTH { String::new() } else { format!(".p/{width}") }
}

/// Returns leaves as an entry bundle: each after its length as two bytes, big-endian.
pub fn bundle<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for leaf in leaves {
        // A leaf has at most 4 KiB.
        bytes.extend(u16::try_from(leaf.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(leaf);
    }
    bytes
}

/// Returns the leaves of an entry bundle; `None` when it is cut short or exceeds the limits.
pub fn leaves(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length > LEAF_BYTES_MAX || leaves.len() >= usize::from(WIDTH) {
            return None;
        }
        let (leaf, rest) = rest.split_at_checked(length)?;
        leaves.push(leaf);
        bundle = rest;
    }
    bundle.is_empty().then_some(leaves)
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
