//! The thief's key put where the holder's stands.

use sublet_core::base::sign::Signer as _;
use sublet_tests::{Fleet, append, code, key, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];

#[test]
fn the_next_key_is_under_the_signature_of_every_block() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let child = append(&root, &to_helper("a", READ), "planner").unwrap();
    let token = append(&child, &to_helper("b", READ), "a").unwrap();
    let thief = raw::public_key(key("thief").public_key());
    for block in 0..3 {
        let mut envelope = raw::open(&token.encode());
        match block {
            0 => envelope.authority.next_key = thief.clone(),
            later => envelope.blocks[later - 1].next_key = thief.clone(),
        }
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_signature", "block {block}");
    }
}
