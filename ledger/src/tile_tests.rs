//! Tiles against the tree that they are cut from, against two independent libraries (ct-merkle,
//! tlog_tiles), and paths against C2SP's examples.

use std::collections::HashMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;

use super::*;
use crate::leaf_hash;
use crate::tree::{
    Checked, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};

#[derive(Default)]
struct Stored(HashMap<(u8, u64), Vec<u8>>);

impl Tiles for Stored {
    fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>> {
        self.0.get(&(level, index)).cloned()
    }
}

fn leaf(n: u64) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

/// A log with its full tiles, appended leaf by leaf.
struct Grown {
    tree: Tree,
    stored: Stored,
}

impl Grown {
    fn new() -> Self {
        Grown { tree: Tree::default(), stored: Stored::default() }
    }

    fn grow_to(&mut self, size: u64) {
        let mut full = Vec::new();
        for n in self.tree.size()..size {
            self.tree.append(leaf_hash(&leaf(n)).unwrap(), &mut full);
        }
        for tile in full {
            assert_eq!(tile.bytes.len(), 8192);
            assert_eq!(self.stored.0.insert((tile.level, tile.index), tile.bytes), None);
        }
    }

    fn view(&self) -> TreeView<'_> {
        TreeView { tree: &self.tree, tiles: &self.stored }
    }
}

fn oracle_hash(hash: &Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash)
}

/// Both libraries agree with our proofs of one leaf and one older size.
fn agree(grown: &Grown, oracle: &MemoryBackedTree<Sha256, Vec<u8>>, index: u64, old: (u64, Hash)) {
    let (size, root, view) = (grown.tree.size(), grown.tree.root(), grown.view());
    assert_eq!(Hash::from(*oracle.root().as_bytes()), root, "{size} leaves");
    let hash = leaf_hash(&leaf(index)).unwrap();
    let proof = inclusion_proof(&view, index, size).unwrap();
    assert_eq!(verify_inclusion(&hash, index, size, &proof, &root), Checked::Holds);
    assert_eq!(oracle.prove_inclusion(index as usize).as_bytes(), proof.concat());
    let theirs: Vec<_> = proof.iter().map(oracle_hash).collect();
    tlog_tiles::check_record(&theirs, size, oracle_hash(&root), index, oracle_hash(&hash)).unwrap();
    let (old, old_root) = old;
    if old == 0 {
        return;
    }
    let proof = consistency_proof(&view, old, size).unwrap();
    assert_eq!(verify_consistency((old, &old_root), (size, &root), &proof), Checked::Holds);
    assert_eq!(oracle.prove_consistency((size - old) as usize).as_bytes(), proof.concat());
    let theirs: Vec<_> = proof.iter().map(oracle_hash).collect();
    tlog_tiles::check_tree(&theirs, size, oracle_hash(&root), old, oracle_hash(&old_root)).unwrap();
}

#[test]
fn two_libraries_agree_for_every_size_to_300() {
    let (mut grown, mut oracle, mut roots) =
        (Grown::new(), MemoryBackedTree::new(), vec![Tree::default().root()]);
    for size in 1..=300 {
        oracle.push(leaf(size - 1));
        grown.grow_to(size);
        roots.push(grown.tree.root());
        for at in 0..size {
            agree(&grown, &oracle, at, (at, roots[at as usize]));
        }
    }
}

#[test]
fn two_libraries_agree_for_sizes_to_a_hundred_thousand() {
    let (mut grown, mut oracle) = (Grown::new(), MemoryBackedTree::new());
    let mut old = (0, grown.tree.root());
    // Around the edges of tiles of both levels, and at odd places.
    for size in [255, 256, 257, 511, 513, 4_095, 29_731, 65_535, 65_536, 65_537, 65_793, 99_999] {
        (oracle.len()..size).for_each(|n| oracle.push(leaf(n)));
        grown.grow_to(size);
        for index in [0, 1, 255, size / 3, size / 2, size - 2, size - 1] {
            agree(&grown, &oracle, index.min(size - 1), old);
        }
        old = (size, grown.tree.root());
    }
    assert_eq!(grown.stored.0.len(), 99_999 / 256 + 1, "each full tile was handed out once");
}

#[test]
fn a_resumed_log_is_the_log_that_stopped() {
    let mut grown = Grown::new();
    for size in (0..600).chain([65_536, 65_537, 66_000]) {
        grown.grow_to(size);
        let tail = |from: u64| (from..size).map(|n| leaf_hash(&leaf(n)).unwrap()).collect();
        let full = size - size % 256;
        assert_eq!(Tree::resume(size, tail(full), &grown.stored).unwrap(), grown.tree);
        if size > full {
            let short = Tree::resume(size, tail(full + 1), &grown.stored);
            assert_eq!(short, Err(BadTree::Tail { found: size - full - 1, expected: size - full }));
        }
    }
    let tail = (65_792..66_000).map(|n| leaf_hash(&leaf(n)).unwrap()).collect::<Vec<_>>();
    grown.stored.0.remove(&(0, 256)).unwrap();
    let missing = Tree::resume(66_000, tail.clone(), &grown.stored);
    assert_eq!(missing, Err(BadTree::Tile { level: 0, index: 256 }));
    grown.stored.0.insert((0, 256), vec![0; 8191]);
    let cut = Tree::resume(66_000, tail, &grown.stored);
    assert_eq!(cut, Err(BadTree::Tile { level: 0, index: 256 }));
}

#[test]
fn paths_are_those_of_the_specification() {
    let examples = [
        ("checkpoint", Resource::Checkpoint),
        ("tile/0/000", Resource::Tile { level: 0, index: 0, width: 256 }),
        ("tile/0/x001/x234/067", Resource::Tile { level: 0, index: 1_234_067, width: 256 }),
        ("tile/1/000.p/5", Resource::Tile { level: 1, index: 0, width: 5 }),
        ("tile/entries/x001/000", Resource::Entries { index: 1000, width: 256 }),
        ("tile/entries/273.p/112", Resource::Entries { index: 273, width: 112 }),
    ];
    for (path, resource) in examples {
        assert_eq!(resource.path(), path);
        assert_eq!(Resource::from_path(path), Some(resource));
    }
    for (level, index, width) in [(0, 0, 256), (3, 999, 7), (5, 1_000, 255), (2, u64::MAX, 1)] {
        let theirs = tlog_tiles::Tile::new(8, level, index, width, false).path();
        // Theirs names the height of a tile too, as Go's sumdb does: tile/8/L/N.
        let theirs = theirs.replacen("tile/8/", "tile/", 1);
        assert_eq!(Resource::Tile { level, index, width: width as u16 }.path(), theirs);
    }
}

#[test]
fn a_path_has_one_spelling() {
    let others = [
        "",
        "/checkpoint",
        "checkpoint/",
        "Checkpoint",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/234",
        "tile/0/+01",
        "tile/0/x001/x234",
        "tile/00/000",
        "tile/+0/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/05",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "tile/256/000",
        "tile/Entries/000",
        "tile/entries/000/",
        "tile/0/../000",
        "tile/0/xx001/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/0x0",
    ];
    for path in others {
        assert_eq!(Resource::from_path(path), None, "{path:?}");
    }
}

#[test]
fn a_log_publishes_what_its_size_says() {
    let paths = |size| Resource::of_size(size).map(|r| r.path()).collect::<Vec<_>>();
    assert!(paths(0).is_empty());
    assert_eq!(paths(3), ["tile/0/000.p/3", "tile/entries/000.p/3"]);
    assert_eq!(paths(256), ["tile/0/000", "tile/entries/000", "tile/1/000.p/1"]);
    assert_eq!(
        paths(300),
        [
            "tile/0/000",
            "tile/entries/000",
            "tile/0/001.p/44",
            "tile/entries/001.p/44",
            "tile/1/000.p/1"
        ]
    );
    assert_eq!(paths(65_536).last().unwrap(), "tile/2/000.p/1");
}

#[test]
fn a_bundle_is_read_exactly_or_not_at_all() {
    let all: Vec<Vec<u8>> = vec![vec![], vec![1], vec![2; 4096], vec![3; 300]];
    let bytes = bundle(all.iter().map(Vec::as_slice));
    assert_eq!(leaves(&bytes).unwrap(), all);
    for cut in 0..bytes.len() {
        let whole = [0, 2, 5, 4103].contains(&cut);
        assert_eq!(leaves(&bytes[..cut]).is_some(), whole, "cut at {cut}");
    }
    assert_eq!(leaves(&[0x10, 0x01]), None, "over the bound of a leaf");
    assert_eq!(leaves(&[0; 2 * 256]).unwrap().len(), 256);
    assert_eq!(leaves(&[0; 2 * 257]), None, "more than a bundle holds");
}

#[test]
fn a_log_gives_the_hashes_of_a_tile_that_it_has_and_no_more() {
    let mut grown = Grown::new();
    grown.grow_to(600);
    let hashes = |level, index, width| grown.view().hashes(level, index, width);
    let leaves = |from: u64, to: u64| -> Vec<u8> {
        (from..to).flat_map(|n| leaf_hash(&leaf(n)).unwrap()).collect()
    };
    assert_eq!(hashes(0, 0, 256), Some(leaves(0, 256)));
    assert_eq!(hashes(0, 1, 3), Some(leaves(256, 259)));
    assert_eq!(hashes(0, 2, 88), Some(leaves(512, 600)));
    assert_eq!(hashes(0, 2, 89), None);
    assert_eq!(hashes(0, 3, 1), None);
    assert_eq!(hashes(1, 0, 2).map(|bytes| bytes.len()), Some(64));
    assert_eq!(hashes(1, 0, 3), None);
    assert_eq!(hashes(255, 0, 1), None);
}

#[test]
fn a_log_publishes_full_tiles_and_its_right_edge() {
    for size in [0, 1, 255, 256, 257, 600, 65_536, 65_793] {
        let published: Vec<Resource> = Resource::of_size(size).collect();
        assert!(published.iter().all(|resource| resource.is_of(size)), "{size}");
        for level in 0..3 {
            for index in 0..4 {
                for width in [1, 2, 88, 255, 256] {
                    let tile = Resource::Tile { level, index, width };
                    assert_eq!(tile.is_of(size), published.contains(&tile), "{tile:?} of {size}");
                    let entries = Resource::Entries { index, width };
                    assert_eq!(entries.is_of(size), published.contains(&entries), "{entries:?}");
                }
            }
        }
        assert!(Resource::Checkpoint.is_of(size));
    }
}
