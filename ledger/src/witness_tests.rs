//! A witness with growing and forked logs.

use ed25519_dalek::{Signer as _, SigningKey};

use super::*;
use crate::leaf_hash;
use crate::tile::{Tree, TreeView};
use crate::tree::consistency_proof;

const ORIGIN: &str = "acme.example/sublet";

fn key(seed: u8) -> CheckpointKey {
    let public = SigningKey::from_bytes(&[seed; 32]).verifying_key();
    CheckpointKey::new(ORIGIN, public.as_bytes()).unwrap()
}

/// Returns a log of this many leaves. The leaf at `other` differs.
fn log(size: u64, other: Option<u64>) -> (Tree, Checkpoint, Vec<u8>) {
    let mut tree = Tree::default();
    for index in 0..size {
        let leaf =
            if other == Some(index) { b"other".to_vec() } else { index.to_be_bytes().to_vec() };
        tree.append(leaf_hash(&leaf).unwrap(), &mut Vec::new());
    }
    let head = Checkpoint { origin: ORIGIN.into(), size, root: tree.root() };
    let signature = SigningKey::from_bytes(&[1; 32]).sign(head.text().as_bytes()).to_bytes();
    let note = head.signed(&key(1), &signature).unwrap();
    (tree, head, note)
}

fn request(old: u64, of: &(Tree, Checkpoint, Vec<u8>)) -> AddCheckpoint {
    let none = |_: crate::tile::Resource| None;
    let view = TreeView { tree: &of.0, tiles: &crate::source::TilesOf(&none) };
    let proof = consistency_proof(&view, old, of.1.size).unwrap_or_default();
    AddCheckpoint { old, proof, note: of.2.clone() }
}

fn asked(request: &AddCheckpoint, last: Option<&Checkpoint>) -> Result<Checkpoint, Refusal> {
    judge(request, &[key(1)], last)
}

#[test]
fn a_log_that_grows_is_cosigned_and_one_that_does_not_is_refused() {
    for old in 0..20 {
        let (_, before, _) = log(old, None);
        for new in old..20 {
            let grown = log(new, None);
            let last = Some(&before).filter(|_| old > 0);
            assert_eq!(asked(&request(old, &grown), last), Ok(grown.1.clone()), "{old} to {new}");
            if old == 0 {
                continue;
            }
            let forked = log(new, Some(old - 1));
            let no = asked(&request(old, &forked), last).unwrap_err();
            let is = if old == new { Refusal::Forked } else { Refusal::NotShown };
            assert_eq!(no, is, "{old} to {new}");
            let unknown = asked(&request(0, &grown), last);
            assert_eq!(unknown, Err(Refusal::Size(old)), "and says which size it knows");
        }
    }
}

#[test]
fn a_log_that_was_cosigned_while_it_was_empty_goes_on() {
    let (_, nothing, _) = log(0, None);
    for size in [0, 1, 9] {
        let grown = log(size, None);
        assert_eq!(asked(&request(0, &grown), Some(&nothing)), Ok(grown.1.clone()), "{size}");
    }
}

#[test]
fn what_is_wrong_has_its_own_status() {
    let grown = log(9, None);
    let good = request(0, &grown);
    let unknown = judge(&good, &[], None);
    assert_eq!(unknown.map_err(|no| no.status()), Err(404));
    let other_key = judge(&good, &[key(2)], None);
    assert_eq!(other_key.map_err(|no| no.status()), Err(403));
    let ahead = AddCheckpoint { old: 10, ..good.clone() };
    assert_eq!(asked(&ahead, None).map_err(|no| no.status()), Err(400));
    let stale = AddCheckpoint { old: 3, ..good.clone() };
    assert_eq!(asked(&stale, None).map_err(|no| no.status()), Err(409));
    let proof = AddCheckpoint { proof: vec![[0; 32]], ..good };
    assert_eq!(asked(&proof, None).map_err(|no| no.status()), Err(422), "a proof from nothing");
    let mut empty = log(0, None);
    empty.1.root = [1; 32];
    let signature = SigningKey::from_bytes(&[1; 32]).sign(empty.1.text().as_bytes()).to_bytes();
    empty.2 = empty.1.signed(&key(1), &signature).unwrap();
    assert_eq!(asked(&request(0, &empty), None), Err(Refusal::NotShown), "nothing has one root");
}

#[test]
fn a_request_has_one_form() {
    let request = request(5, &log(13, None));
    let bytes = request.encode();
    assert_eq!(AddCheckpoint::decode(&bytes), Some(request));
    let text = String::from_utf8(bytes).unwrap();
    for wrong in [
        text.replacen("old 5", "old 05", 1),
        text.replacen("old 5", "old  5", 1),
        text.replacen("old 5", "old -5", 1),
        text.replacen("old", "new", 1),
        text.replacen("=\n", "\n", 1),
        text.replacen("\n\n", "\n", 1),
        format!(
            "old 5\n{}{}",
            "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n".repeat(64),
            "\nx\n"
        ),
    ] {
        assert_eq!(AddCheckpoint::decode(wrong.as_bytes()), None, "{wrong:?}");
    }
}
