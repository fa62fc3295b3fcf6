//! A published log, wherever it lies: in a directory, in an evidence bundle, behind HTTP.
//!
//! Owns: reading a whole log by its resources (C2SP tlog-tiles) and recomputing its tree. Does not own: where
//! the bytes come from, what is recorded, who signed the checkpoint.
//!
//! Invariant: a tree that is returned was recomputed from leaf hashes, and every tile that is there is the one
//! that these hashes make.

use crate::tile::{FullTile, Resource, Tiles, Tree, WIDTH, leaves};
use crate::{Hash, leaf_hash};

/// Where the resources of a published log are found.
pub trait LogSource {
    /// The bytes of a resource; `None` for what is not there.
    fn get(&self, resource: Resource) -> Option<Vec<u8>>;
}

impl<F: Fn(Resource) -> Option<Vec<u8>>> LogSource for F {
    fn get(&self, resource: Resource) -> Option<Vec<u8>> {
        self(resource)
    }
}

/// The full tiles of a source.
pub struct TilesOf<'a>(pub &'a dyn LogSource);

impl Tiles for TilesOf<'_> {
    fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>> {
        self.0.get(Resource::Tile { level, index, width: WIDTH })
    }
}

/// Why a published log does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLog {
    /// A resource is missing.
    #[error("{} is missing", .0.path())]
    Missing(Resource),
    /// An entry bundle does not have as many leaves as its name says, or one is too large.
    #[error("{} is not a bundle of {width} records", .resource.path())]
    Bundle {
        /// The resource.
        resource: Resource,
        /// How many leaves its name says.
        width: u16,
    },
    /// A tile is not the one that the leaves make.
    #[error("{} is not what its records make", .0.path())]
    Tile(Resource),
    /// The tree has another root than the checkpoint.
    #[error("the root hash of its records is not that of its checkpoint")]
    Root,
}

/// A log that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeLog {
    /// Its tree.
    pub tree: Tree,
    /// How many of its leaves are pruned: only their hashes are there.
    pub pruned: u64,
}

impl WholeLog {
    /// Reads a log of this size: every leaf is hashed, every tile recomputed and compared, and the root held
    /// against this one. Of a pruned leaf the tile's hash counts.
    pub fn read(source: &dyn LogSource, size: u64, root: &Hash) -> Result<Self, BadLog> {
        let (mut tree, mut full, mut pruned) = (Tree::default(), Vec::new(), 0u64);
        for resource in Resource::of_size(size) {
            let Resource::Entries { index, width } = resource else { continue };
            let hashes = match source.get(resource) {
                Some(bytes) => {
                    hashes_of(&bytes, width).ok_or(BadLog::Bundle { resource, width })?
                }
                None => {
                    pruned = pruned.saturating_add(u64::from(width));
                    let tile = there(source, Resource::Tile { level: 0, index, width })?;
                    tile.as_chunks::<32>().0.to_vec()
                }
            };
            hashes.into_iter().for_each(|hash| tree.append(hash, &mut full));
            for FullTile { level, index, bytes } in full.drain(..) {
                same(source, Resource::Tile { level, index, width: WIDTH }, &bytes)?;
            }
        }
        for resource in Resource::of_size(size) {
            match resource {
                Resource::Tile { level, width, .. } if width < WIDTH => {
                    same(source, resource, &tree.partial(level))?;
                }
                _ => {}
            }
        }
        match (tree.size(), tree.root()) == (size, *root) {
            true => Ok(WholeLog { tree, pruned }),
            false => Err(BadLog::Root),
        }
    }
}

fn there(source: &dyn LogSource, resource: Resource) -> Result<Vec<u8>, BadLog> {
    source.get(resource).ok_or(BadLog::Missing(resource))
}

/// Whether what is there is what was computed.
fn same(source: &dyn LogSource, resource: Resource, bytes: &[u8]) -> Result<(), BadLog> {
    match there(source, resource)? == bytes {
        true => Ok(()),
        false => Err(BadLog::Tile(resource)),
    }
}

fn hashes_of(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let leaves = leaves(bytes).filter(|leaves| leaves.len() == usize::from(width))?;
    leaves.into_iter().map(|leaf| leaf_hash(leaf).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::tile::{TreeView, bundle};

    type Files = HashMap<String, Vec<u8>>;

    /// A log of so many leaves, as files by their path.
    fn log(size: u64) -> (Files, Hash) {
        let leaves: Vec<Vec<u8>> = (0..size).map(|at| format!("leaf {at}").into_bytes()).collect();
        let (mut tree, mut full) = (Tree::default(), Vec::new());
        leaves.iter().for_each(|leaf| tree.append(leaf_hash(leaf).unwrap(), &mut full));
        let stored: HashMap<(u8, u64), Vec<u8>> =
            full.into_iter().map(|tile| ((tile.level, tile.index), tile.bytes)).collect();
        let tiles = |resource: Resource| match resource {
            Resource::Tile { level, index, .. } => stored.get(&(level, index)).cloned(),
            _ => None,
        };
        let view = TreeView { tree: &tree, tiles: &TilesOf(&tiles) };
        let files = Resource::of_size(size).map(|resource| {
            let bytes = match resource {
                Resource::Tile { level, index, width } => view.hashes(level, index, width).unwrap(),
                Resource::Entries { index, width } => {
                    let first = index as usize * usize::from(WIDTH);
                    let part = &leaves[first..first + usize::from(width)];
                    bundle(part.iter().map(Vec::as_slice))
                }
                Resource::Checkpoint => unreachable!("it is beside the tiles"),
            };
            (resource.path(), bytes)
        });
        (files.collect(), tree.root())
    }

    fn read(files: &Files, size: u64, root: &Hash) -> Result<WholeLog, BadLog> {
        WholeLog::read(&|resource: Resource| files.get(&resource.path()).cloned(), size, root)
    }

    #[test]
    fn a_log_is_read_whole_and_pruned_leaves_are_counted() {
        for size in [0, 1, 255, 256, 257, 600] {
            let (mut files, root) = log(size);
            let whole = read(&files, size, &root).unwrap();
            assert_eq!((whole.tree.size(), whole.tree.root(), whole.pruned), (size, root, 0));
            let pruned = files.remove("tile/entries/000").map_or(0, |_| 256);
            assert_eq!(read(&files, size, &root).unwrap().pruned, pruned, "{size}");
        }
    }

    #[test]
    fn whatever_is_changed_or_missing_is_named() {
        let (files, root) = log(600);
        for path in files.keys() {
            let mut without = files.clone();
            without.remove(path);
            let is_bundle = path.starts_with("tile/entries/");
            assert_eq!(read(&without, 600, &root).is_ok(), is_bundle, "{path}");
            let mut changed = files.clone();
            changed.get_mut(path).unwrap()[3] ^= 1;
            assert!(read(&changed, 600, &root).is_err(), "{path}");
        }
        assert_eq!(read(&files, 600, &[7; 32]), Err(BadLog::Root));
        let mut short = files.clone();
        short.insert("tile/entries/001".into(), bundle([b"x".as_slice()]));
        let resource = Resource::Entries { index: 1, width: WIDTH };
        assert_eq!(read(&short, 600, &root), Err(BadLog::Bundle { resource, width: WIDTH }));
        let mut none = files;
        none.remove("tile/entries/000");
        none.remove("tile/0/000");
        let tile = Resource::Tile { level: 0, index: 0, width: WIDTH };
        assert_eq!(read(&none, 600, &root), Err(BadLog::Missing(tile)));
    }
}
