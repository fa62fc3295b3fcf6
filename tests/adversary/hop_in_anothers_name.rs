//! A hop that names an agent who did not get it, or a helper that the namer did not spawn.

use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::Block;
use sublet_core::token::mint::{Hop, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{
    Fleet, House, Request, Tool, agent, append, code, key, raw, to_agent, to_helper,
};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

/// planner → "researcher", with the key of a helper of the planner.
fn misnamed(fleet: &Fleet) -> VerifiedToken {
    let id = agent("researcher");
    let to = Recipient::Agent { id, key: key("my-own-helper").public_key().clone() };
    let hop = Hop { to, ..to_agent("researcher", READ) };
    append(&fleet.root("planner", READ), &hop, "planner").unwrap()
}

// SPEC 6.4.1.
#[test]
fn offline_it_opens_nothing() {
    let fleet = Fleet::new();
    let request = Request::new(&misnamed(&fleet), &key("my-own-helper"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "unrecorded_agent_hop");
}

// SPEC 3.6, 6.2.
#[test]
fn the_broker_does_not_record_it() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner", "researcher"], &root);
    let planner = House::agent(&fleet, "planner");
    let refused = code(house.delegate(&planner, &misnamed(&fleet)));
    assert_eq!(refused, "not_the_agents_key");
    let honest = append(&root, &to_agent("researcher", READ), "planner").unwrap();
    assert_eq!(code(house.delegate(&planner, &honest)), "granted");
}

// SPEC 3.6.
#[test]
fn nobody_is_named_who_did_not_enrol() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner"], &root);
    let hop = append(&root, &to_agent("nobody", READ), "planner").unwrap();
    let planner = House::agent(&fleet, "planner");
    assert_eq!(code(house.delegate(&planner, &hop)), "unknown_agent");
}

// SPEC 6.2.1.
#[test]
fn a_hop_that_was_made_for_another_is_not_delegated_by_who_did_not_make_it() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner", "researcher", "mallory"], &root);
    let hop = append(&root, &to_agent("researcher", READ), "planner").unwrap();
    for name in ["researcher", "mallory"] {
        let caller = House::agent(&fleet, name);
        assert_eq!(code(house.delegate(&caller, &hop)), "not_the_holder", "{name}");
    }
    assert_eq!(code(house.record(&House::agent(&fleet, "mallory"), &hop)), "not_the_holder");
    assert_eq!(code(house.record(&House::agent(&fleet, "researcher"), &hop)), "granted");
}

// SPEC 3.6.
#[test]
fn a_helper_that_its_parent_cannot_spawn_is_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let child = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let named = |helper: &str, of: &str| {
        let block = Block {
            agent: agent(of),
            helper: Some(helper.parse().unwrap()),
            ..child.last().block().clone()
        };
        let forged = raw::forge(&child, &block, key("x").public_key(), &key("scout"));
        code(fleet.verify(&forged))
    };
    assert_eq!(named("scout/deep", "planner"), "granted");
    for helper in ["deep", "scout", "other/deep", "scout/deep/deeper"] {
        assert_eq!(named(helper, "planner"), "bad_helper_path", "{helper}");
    }
    assert_eq!(named("scout/deep", "researcher"), "bad_helper_path");
}

// SPEC 3.6.1.
#[test]
fn a_root_is_held_by_an_agent_itself() {
    let fleet = Fleet::new();
    let block = Block { helper: Some("scout".parse().unwrap()), ..fleet.grant("planner", READ) };
    let root = fleet.issue(block);
    assert_eq!(code(fleet.verify(&root.encode())), "bad_helper_path");
}

/// A helper that calls itself its agent, to be served where helpers are not, or to outlive itself.
#[test]
fn a_helper_cannot_pose_as_its_agent() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let child = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let block = Block { helper: None, ..child.last().block().clone() };
    let forged = raw::forge(&child, &block, key("scout").public_key(), &key("scout"));
    let forged = fleet.verify(&forged).unwrap();
    let request = Request::new(&forged, &key("scout"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "unrecorded_agent_hop");

    let mut house = House::with(&fleet, &["planner"], &root);
    let helper = House::caller(&child, &key("scout"));
    assert_eq!(code(house.delegate(&helper, &forged)), "not_the_agents_key");
}

#[test]
fn a_helper_cannot_act_as_its_agent_at_the_broker() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let child = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let mut house = House::with(&fleet, &["planner"], &root);
    let helper = House::caller(&child, &key("scout"));
    let renew = house.ask(&helper, &sublet_core::decide::Renew);
    assert_eq!(code(renew), "forbidden");
}
