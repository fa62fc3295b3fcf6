//! A fork is proven from two checkpoints and one history, and from nothing less.

use ed25519_dalek::{Signer as _, SigningKey};

use super::*;
use crate::leaf_hash;
use crate::source::TilesOf;
use crate::tile::{Tree, TreeView};

fn key(seed: u8, origin: &str) -> CheckpointKey {
    let public = SigningKey::from_bytes(&[seed; 32]).verifying_key();
    CheckpointKey::new(origin, public.as_bytes()).unwrap()
}

const ORIGIN: &str = "acme.example/sublet";

fn log(size: u64, other: Option<u64>, origin: &str, seed: u8) -> (Tree, Checkpoint, Vec<u8>) {
    let mut tree = Tree::default();
    for index in 0..size {
        let leaf =
            if other == Some(index) { b"other".to_vec() } else { index.to_be_bytes().to_vec() };
        tree.append(leaf_hash(&leaf).unwrap(), &mut Vec::new());
    }
    let head = Checkpoint { origin: origin.into(), size, root: tree.root() };
    let signature = SigningKey::from_bytes(&[seed; 32]).sign(head.text().as_bytes()).to_bytes();
    let note = head.signed(&key(seed, origin), &signature).unwrap();
    (tree, head, note)
}

fn find(
    smaller: &(Tree, Checkpoint, Vec<u8>),
    larger: &(Tree, Checkpoint, Vec<u8>),
) -> Option<Fork> {
    let none = |_| None;
    let nodes = TreeView { tree: &larger.0, tiles: &TilesOf(&none) };
    Fork::find((&smaller.1, &smaller.2), (&larger.1, &larger.2), &nodes)
}

// SPEC 9.11.2.
#[test]
fn two_histories_are_proven_and_one_is_not() {
    let keys = [key(1, ORIGIN)];
    for size in 1..24 {
        let honest = log(size, None, ORIGIN, 1);
        for larger in size..24 {
            assert_eq!(find(&honest, &log(larger, None, ORIGIN, 1)), None, "{size} of {larger}");
            for other in [0, size / 2, size - 1] {
                let forked = log(larger, Some(other), ORIGIN, 1);
                let fork = find(&honest, &forked).unwrap();
                let heads = (honest.1.clone(), forked.1.clone());
                assert_eq!(fork.verify(&keys), Ok(heads), "{size} of {larger} at {other}");
                assert_eq!(Fork::decode(&fork.encode()), Ok(fork));
            }
        }
    }
}

// SPEC 9.11.2.
#[test]
fn no_changed_proof_is_one() {
    let keys = [key(1, ORIGIN)];
    let (one, two) = (log(5, None, ORIGIN, 1), log(13, Some(2), ORIGIN, 1));
    let fork = find(&one, &two).unwrap();
    let bytes = fork.encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let taken = Fork::decode(&changed).is_ok_and(|fork| fork.verify(&keys).is_ok());
        assert!(!taken, "byte {at}");
        assert!(Fork::decode(&bytes[..at]).is_err_and(|bad| bad == NoFork::Form) || at > 0);
    }
    assert!(matches!(fork.verify(&[key(2, ORIGIN)]), Err(NoFork::Head(_))), "of other keys");
}

// SPEC 9.11.2.
#[test]
fn nobody_frames_an_honest_log() {
    let keys = [key(1, ORIGIN), key(2, "other.example/sublet")];
    let (small, large) = (log(5, None, ORIGIN, 1), log(13, None, ORIGIN, 1));
    let forked = find(&small, &log(13, Some(2), ORIGIN, 1)).unwrap();
    // Its own heads, with the proof of another history.
    let framed = Fork { larger: large.2.clone(), ..forked.clone() };
    assert_eq!(framed.verify(&keys), Err(NoFork::NotShown));
    let honest = Fork { root: small.1.root, ..framed };
    assert_eq!(honest.verify(&keys), Err(NoFork::NotShown));
    let swapped = Fork { smaller: large.2, larger: small.2.clone(), ..forked.clone() };
    assert_eq!(swapped.verify(&keys), Err(NoFork::NotShown));
    let other = log(13, Some(2), "other.example/sublet", 2);
    let two_logs = Fork { larger: other.2, ..forked };
    assert_eq!(two_logs.verify(&keys), Err(NoFork::TwoLogs));
}
