//! A hop that no receipt covers, where recording is required.

use sublet_core::biscuit::block::Block;
use sublet_core::token::mint::Hop;
use sublet_tests::{Fleet, Request, Tool, append, code, key, to_agent, to_helper, to_self};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

// SPEC 6.4.1.
#[test]
fn a_hop_to_an_enrolled_agent_must_be_recorded() {
    let fleet = Fleet::new();
    let token = append(&fleet.root("planner", READ), &to_agent("researcher", READ), "planner");
    let token = token.unwrap();
    let bare = Request::new(&token, &key("researcher"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&bare)), "unrecorded_agent_hop");
    let recorded = bare.with(&fleet.receipt(&token));
    assert_eq!(code(Tool::new(&fleet).answer(&recorded)), "granted");
}

// SPEC 6.4.1.
#[test]
fn a_receipt_of_a_hop_before_does_not_cover_the_agent_after() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let token = append(&root, &to_agent("researcher", READ), "planner").unwrap();
    let request = Request::new(&token, &key("researcher"), "fs.read", ARGS);
    let request = request.with(&fleet.receipt(&root));
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "unrecorded_agent_hop");
}

#[test]
fn helpers_may_be_unrecorded_as_far_as_the_root_allows() {
    let fleet = Fleet::new();
    let tool = Tool::new(&fleet);
    let one = append(&fleet.root("planner", READ), &to_helper("a", READ), "planner").unwrap();
    let two = append(&one, &to_helper("b", READ), "a").unwrap();
    let three = append(&two, &to_helper("c", READ), "b").unwrap();
    let call = |token, name: &str| Request::new(token, &key(name), "fs.read", ARGS);
    assert_eq!(code(tool.answer(&call(&two, "b"))), "granted");
    assert_eq!(code(tool.answer(&call(&three, "c"))), "unrecorded_hops");
    let covered = call(&three, "c").with(&fleet.receipt(&one));
    assert_eq!(code(tool.answer(&covered)), "granted");
}

// SPEC 6.4.
#[test]
fn any_block_may_demand_that_all_be_recorded() {
    let fleet = Fleet::new();
    let strict = Block { offline_hops_max: 0, ..fleet.grant("planner", READ) };
    let token = append(&fleet.issue(strict), &to_helper("a", READ), "planner").unwrap();
    let request = Request::new(&token, &key("a"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "unrecorded_hops");
    let recorded = request.with(&fleet.receipt(&token));
    assert_eq!(code(Tool::new(&fleet).answer(&recorded)), "granted");

    let root = fleet.root("planner", READ);
    let hop = Hop { offline_hops_max: Some(0), ..to_helper("a", READ) };
    let token = append(&root, &hop, "planner").unwrap();
    let request = Request::new(&token, &key("a"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "unrecorded_hops");
}

/// A holder that narrows for itself counts as a hop too, and does not stand in for an agent.
#[test]
fn a_hop_to_oneself_is_counted() {
    let fleet = Fleet::new();
    let strict = Block { offline_hops_max: 0, ..fleet.grant("planner", READ) };
    let token = append(&fleet.issue(strict), &to_self(READ), "planner").unwrap();
    let request = Request::new(&token, &key("planner"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "unrecorded_hops");
}
