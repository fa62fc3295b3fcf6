//! The tree against its definition, written down as RFC 6962 has it, for every size from 0 to 300,
//! and against the roots that the Certificate Transparency project published.

use std::collections::HashMap;

use super::*;
use crate::leaf_hash;

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes()).unwrap()).collect()
}

/// MTH of RFC 6962, section 2.1.
fn root_by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node_hash(&root_by_definition(left), &root_by_definition(right))
        }
    }
}

/// PATH of section 2.1.1.
fn path_by_definition(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut path, other) = match index < k {
        true => (path_by_definition(index, left), right),
        false => (path_by_definition(index - k, right), left),
    };
    path.push(root_by_definition(other));
    path
}

/// SUBPROOF of section 2.1.2.
fn subproof_by_definition(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![root_by_definition(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = match old <= k {
        true => (subproof_by_definition(old, left, known), right),
        false => (subproof_by_definition(old - k, right, false), left),
    };
    proof.push(root_by_definition(other));
    proof
}

#[derive(Default)]
struct Stored(HashMap<(u32, u64), Hash>);

impl Nodes for Stored {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.0.get(&(level, index)).copied()
    }
}

/// A tree with all its nodes, and its root at every size.
fn grown(leaves: &[Hash]) -> (Stored, Vec<Hash>) {
    let (mut frontier, mut stored) = (Frontier::empty(), Stored::default());
    let mut roots = vec![frontier.root()];
    for leaf in leaves {
        frontier.append(*leaf, |node| {
            assert_eq!(stored.0.insert((node.level, node.index), node.hash), None);
        });
        roots.push(frontier.root());
    }
    (stored, roots)
}

const SIZES: u64 = 300;

#[test]
fn the_published_roots_are_ours() {
    let leaves: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[
            0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
            0x6e, 0x6f,
        ],
    ];
    let published = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf).unwrap()).collect();
    let (_, roots) = grown(&hashes);
    assert_eq!(roots.iter().map(hex).collect::<Vec<_>>(), published);
}

#[test]
fn every_root_is_that_of_the_definition_and_a_resumed_tree_goes_on() {
    let leaves = leaves(SIZES);
    let (stored, roots) = grown(&leaves);
    for size in 0..=leaves.len() {
        assert_eq!(roots[size], root_by_definition(&leaves[..size]), "{size} leaves");
        let mut resumed = Frontier::resume(size as u64, &stored).unwrap();
        assert_eq!((resumed.size(), resumed.root()), (size as u64, roots[size]));
        if let Some(next) = leaves.get(size) {
            resumed.append(*next, |_| ());
            assert_eq!(resumed.root(), roots[size + 1]);
        }
    }
    assert_eq!(Frontier::resume(SIZES + 1, &stored), None);
}

#[test]
fn every_inclusion_proof_is_that_of_the_definition_and_holds_for_its_leaf_alone() {
    let leaves = leaves(SIZES);
    let (stored, roots) = grown(&leaves);
    for size in 1..=leaves.len() {
        for index in 0..size {
            let proof = inclusion_proof(&stored, index as u64, size as u64).unwrap();
            let holds = |leaf: &Hash, index: usize, size: usize, proof: &[Hash]| {
                let root = &roots[size];
                verify_inclusion(leaf, index as u64, size as u64, proof, root) == Checked::Holds
            };
            assert!(holds(&leaves[index], index, size, &proof), "{index} of {size}");
            if size > 40 && size % 37 != 0 {
                continue; // The definition is slow, and the rest is asked of enough sizes.
            }
            assert_eq!(proof, path_by_definition(index, &leaves[..size]), "{index} of {size}");
            let other = (index + 1) % size;
            assert!(size == 1 || !holds(&leaves[other], index, size, &proof));
            assert!(size == 1 || !holds(&leaves[index], other, size, &proof));
            assert!(!holds(&leaves[index], size, size, &proof));
            assert!(!holds(&leaves[index], index, size, &[proof.as_slice(), &[[7; 32]]].concat()));
            if let Some((_, shorter)) = proof.split_last() {
                assert!(!holds(&leaves[index], index, size, shorter));
            }
            for at in 0..proof.len() {
                let mut flipped = proof.clone();
                flipped[at][at % 32] ^= 1;
                assert!(!holds(&leaves[index], index, size, &flipped));
            }
        }
    }
    assert_eq!(inclusion_proof(&stored, 5, 5), None);
    assert_eq!(inclusion_proof(&stored, 0, SIZES + 1), None, "a node is missing");
}

#[test]
fn every_consistency_proof_is_that_of_the_definition_and_holds_for_its_roots_alone() {
    let leaves = leaves(SIZES);
    let (stored, roots) = grown(&leaves);
    for new in 0..=leaves.len() {
        for old in 0..=new {
            let proof = consistency_proof(&stored, old as u64, new as u64).unwrap();
            let checked = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                verify_consistency((old as u64, old_root), (new as u64, new_root), proof)
            };
            let expected = match old {
                0 if new > 0 => Checked::NotShown,
                _ => Checked::Holds,
            };
            assert_eq!(checked(&roots[old], &roots[new], &proof), expected, "{old} of {new}");
            if old == 0 || (new > 40 && new % 37 != 0) {
                continue;
            }
            assert_eq!(proof, subproof_by_definition(old, &leaves[..new], true), "{old} of {new}");
            let wrong = if old == new { Checked::Contradicted } else { Checked::NotShown };
            assert_eq!(checked(&[7; 32], &roots[new], &proof), wrong);
            assert_eq!(checked(&roots[old], &[7; 32], &proof), wrong);
            let longer = [proof.as_slice(), &[[7; 32]]].concat();
            assert_eq!(checked(&roots[old], &roots[new], &longer), Checked::NotShown);
            if let Some((_, shorter)) = proof.split_last() {
                assert_eq!(checked(&roots[old], &roots[new], shorter), Checked::NotShown);
            }
            for at in 0..proof.len() {
                let mut flipped = proof.clone();
                flipped[at][at % 32] ^= 1;
                assert_eq!(checked(&roots[old], &roots[new], &flipped), Checked::NotShown);
            }
        }
    }
    assert_eq!(consistency_proof(&stored, 6, 5), None);
}

// SPEC 9.2.3.
#[test]
fn a_tree_with_another_history_is_never_shown_consistent() {
    let (one, mut two) = (leaves(40), leaves(40));
    two[11] = leaf_hash(b"never happened").unwrap();
    let ((_, ours), (stored, theirs)) = (grown(&one), grown(&two));
    for old in 1..=40u64 {
        for new in old..=40 {
            let proof = consistency_proof(&stored, old, new).unwrap();
            let (old_root, new_root) = (&ours[old as usize], &theirs[new as usize]);
            let same_history = old <= 11;
            let checked = verify_consistency((old, old_root), (new, new_root), &proof);
            assert_eq!(checked == Checked::Holds, same_history, "{old} of {new}");
            assert_eq!(checked == Checked::Contradicted, !same_history && old == new);
        }
    }
}

// SPEC 9.2.3.
#[test]
fn a_larger_tree_is_the_beginning_of_no_smaller_one() {
    let root = [7; 32];
    for (old, new) in [(4, 2), (2, 1), (4, 3), (8, 1), (7, 3)] {
        for proof in [&[][..], &[root][..]] {
            let checked = verify_consistency((old, &root), (new, &root), proof);
            assert_eq!(checked, Checked::NotShown, "{old} and {new}");
        }
    }
}

#[test]
fn sizes_at_the_end_of_the_numbers_do_not_overflow() {
    for (index, size) in [(u64::MAX - 1, u64::MAX), (0, u64::MAX), (u64::MAX, u64::MAX)] {
        let proof = vec![[1; 32]; 64];
        assert_eq!(verify_inclusion(&[0; 32], index, size, &proof, &[0; 32]), Checked::NotShown);
        let checked = verify_consistency((index, &[0; 32]), (size, &[1; 32]), &proof);
        assert_ne!(checked, Checked::Holds);
    }
}
