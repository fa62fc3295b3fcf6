//! The blocks of one chain in another order.

use sublet_tests::{Fleet, append, code, raw, to_helper};

const WIDE: &[&str] = &["fs.@tool://files path=under:/data"];
const NARROW: &[&str] = &["fs.read@tool://files path=under:/data"];

#[test]
fn every_other_order_is_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", WIDE);
    let first = append(&root, &to_helper("a", WIDE), "planner").unwrap();
    let second = append(&first, &to_helper("b", NARROW), "a").unwrap();
    let third = append(&second, &to_helper("c", NARROW), "b").unwrap();
    let envelope = raw::open(&third.encode());
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let mut other = envelope.clone();
        other.blocks.swap(i, j);
        let refused = code(fleet.verify(&raw::bytes(&other)));
        assert!(["bad_signature", "block_datalog"].contains(&refused), "{i},{j}: {refused}");
    }
    let mut headless = envelope.clone();
    headless.authority = headless.blocks.remove(0);
    let refused = code(fleet.verify(&raw::bytes(&headless)));
    assert!(["block_incomplete", "block_datalog"].contains(&refused), "{refused}");
    let mut twice = envelope.clone();
    twice.blocks.push(envelope.blocks[2].clone());
    assert_ne!(code(fleet.verify(&raw::bytes(&twice))), "granted");
}
