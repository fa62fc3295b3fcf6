//! A copy of a token, read from a log or the wire, without the holder's key.

use sublet_core::base::sign::Signer as _;
use sublet_tests::{Fleet, Request, Tool, append, code, key, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

#[test]
fn its_holder_is_served() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let request = Request::new(&token, &key("planner"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "granted");
}

// SPEC 5.2.
#[test]
fn a_thief_cannot_call_with_it() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let request = Request::new(&token, &key("thief"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "proof_signature");
}

// SPEC 2.1.
#[test]
fn a_thief_cannot_narrow_it_for_himself() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let hop = to_helper("thief", READ);
    assert_eq!(code(append(&token, &hop, "thief")), "not_the_holder");
    let mut block = append(&token, &hop, "planner").unwrap().last().block().clone();
    block.not_after -= 1;
    let forged = raw::forge(&token, &block, key("thief").public_key(), &key("thief"));
    assert_eq!(code(fleet.verify(&forged)), "bad_signature");
}

// SPEC 2.12.
#[test]
fn a_thief_cannot_seal_it_into_a_bearer_token() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let stock = sublet_core::token::mint::stock(
        &token,
        &sublet_tests::scope(READ),
        30,
        sublet_tests::NOW,
        &key("thief"),
    );
    assert_eq!(code(stock), "not_the_holder");
}

// SPEC 5.2.
#[test]
fn a_holder_higher_up_cannot_call_as_the_holder_below() {
    let fleet = Fleet::new();
    let parent = fleet.root("planner", READ);
    let child = append(&parent, &to_helper("scout", READ), "planner").unwrap();
    let request = Request::new(&child, &key("planner"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "proof_signature");
}
