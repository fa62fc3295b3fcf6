//! A hop signed by someone who does not hold what it narrows.

use sublet_core::base::sign::Signer as _;
use sublet_tests::{Fleet, append, code, key, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];

// SPEC 2.1.
#[test]
fn only_the_next_key_of_the_block_before_signs() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let child = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let deep = append(&child, &to_helper("deep", READ), "scout").unwrap();
    let block = deep.last().block();
    // The root, a former holder, the recipient itself, an outsider.
    let root_key = Fleet::signer(sublet_core::trust::bundle::KeyUse::Delegation);
    for signer in [root_key, key("planner"), key("deep"), key("outsider")] {
        let forged = raw::forge(&child, block, key("deep").public_key(), &signer);
        assert_eq!(code(fleet.verify(&forged)), "bad_signature");
    }
    let honest = raw::forge(&child, block, key("deep").public_key(), &key("scout"));
    assert_eq!(honest, deep.encode());
    for name in ["planner", "deep", "outsider"] {
        assert_eq!(code(append(&child, &to_helper("deep", READ), name)), "not_the_holder");
    }
}
