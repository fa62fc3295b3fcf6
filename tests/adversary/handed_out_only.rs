//! What a holder may hand out and not use, and what may not be handed on: used all the same, by its
//! own hand, by a helper that it spawned, through a delegate and back, or one hop too far.

use sublet_core::authorize::foresee_call;
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::Block;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::token::mint::Hop;
use sublet_core::token::verify::{Coverage, VerifiedToken};
use sublet_tests::{
    AUDIENCE, Fleet, NOW, Request, Tool, append, code, key, raw, scope, to_agent, to_helper,
};

const HANDED: &[&str] = &["fs.read@tool://files path=under:/data use:delegates"];
const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

/// What a tool answers the holder, who shows a receipt for the whole chain.
fn used(fleet: &Fleet, token: &VerifiedToken, by: &str) -> &'static str {
    let request = Request::new(token, &key(by), "fs.read", ARGS).with(&fleet.receipt(token));
    code(Tool::new(fleet).answer(&request))
}

#[test]
fn not_by_its_holder_but_by_an_agent_that_it_is_handed_to() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", HANDED);
    assert_eq!(used(&fleet, &root, "planner"), "not_allowed");
    let handed = append(&root, &to_agent("reader", READ), "planner").unwrap();
    assert_eq!(used(&fleet, &handed, "reader"), "granted");
    let spawned = append(&handed, &to_helper("scout", READ), "reader").unwrap();
    assert_eq!(used(&fleet, &spawned, "scout"), "granted");
    let unrecorded = Request::new(&handed, &key("reader"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&unrecorded)), "unrecorded_agent_hop");
}

/// The delegate states the very words of the block above it. What these words let a delegate do, they do
/// not let the one do who states them.
#[test]
fn not_by_a_delegate_that_states_the_same_words_for_itself() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", HANDED);
    let same = root.root().scope.clone().unwrap();
    let handed =
        append(&root, &Hop { scope: same, ..to_agent("reader", HANDED) }, "planner").unwrap();
    let coverage = Coverage::verify(fleet.receipt(&handed), &handed, &fleet.bundle).unwrap();
    let arguments = Arguments::from_json(ARGS.as_bytes()).unwrap();
    let call = Call { audience: AUDIENCE.into(), action: "fs.read".into(), arguments };
    assert_eq!(code(foresee_call(&handed, &call, Some(&coverage), NOW)), "not_allowed");
    assert_eq!(used(&fleet, &handed, "reader"), "not_allowed");
}

#[test]
fn not_by_a_helper_that_its_holder_spawns() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", HANDED);
    let wider = append(&root, &to_helper("scout", READ), "planner");
    let refusal = wider.unwrap_err().to_string();
    assert!(refusal.contains("asks for use holder; hop 0 holds delegates"), "{refusal}");
    let spawned = append(&root, &to_helper("scout", HANDED), "planner").unwrap();
    assert_eq!(used(&fleet, &spawned, "scout"), "not_allowed");
    let block = Block { scope: Some(scope(READ)), ..spawned.last().block().clone() };
    let forced = raw::forge(&root, &block, key("scout").public_key(), &key("planner"));
    assert_eq!(used(&fleet, &fleet.verify(&forced).unwrap(), "scout"), "not_allowed");
    // The helper may still hand it out.
    let handed = append(&spawned, &to_agent("reader", READ), "scout").unwrap();
    assert_eq!(used(&fleet, &handed, "reader"), "granted");
}

#[test]
fn not_by_its_holder_when_a_delegate_hands_it_back() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", HANDED);
    let handed = append(&root, &to_agent("reader", READ), "planner").unwrap();
    let back = append(&handed, &to_agent("planner", READ), "reader").unwrap();
    assert_eq!(used(&fleet, &back, "planner"), "not_allowed");
    let hidden = append(&back, &to_helper("scout", READ), "planner").unwrap();
    assert_eq!(used(&fleet, &hidden, "scout"), "not_allowed");
}

#[test]
fn each_that_says_so_must_hand_it_on() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", HANDED);
    let handed = append(&root, &to_agent("reader", HANDED), "planner").unwrap();
    assert_eq!(used(&fleet, &handed, "reader"), "not_allowed");
    let again = append(&handed, &to_agent("writer", READ), "reader").unwrap();
    assert_eq!(used(&fleet, &again, "writer"), "granted");
}

#[test]
fn not_one_hop_further_than_the_capability_travels() {
    let fleet = Fleet::new();
    let terminal = &["fs.read@tool://files path=under:/data hops:1", "fs.list@tool://files"];
    let root = fleet.root("planner", terminal);
    let refusal = append(&root, &to_helper("scout", READ), "planner").unwrap_err().to_string();
    assert!(refusal.contains("asks for hops any; hop 0 holds 1: ask for 1 or less"), "{refusal}");
    let first = append(&root, &to_helper("scout", terminal), "planner").unwrap();
    assert_eq!(used(&fleet, &first, "scout"), "granted");
    let refusal = append(&first, &to_helper("deep", terminal), "scout").unwrap_err().to_string();
    assert!(
        refusal
            .contains("asks for hop number 2; hop 1 holds hops:1: it may not be delegated further"),
        "{refusal}"
    );
    // What is not terminal travels on.
    let rest = append(&first, &to_helper("deep", &["fs.list@tool://files"]), "scout").unwrap();
    let block = Block { scope: Some(scope(READ)), ..rest.last().block().clone() };
    let forced = raw::forge(&first, &block, key("deep").public_key(), &key("scout"));
    assert_eq!(used(&fleet, &fleet.verify(&forced).unwrap(), "deep"), "not_allowed");
}

#[test]
fn a_profile_is_no_way_around_it() {
    let (held, asked) = (scope(HANDED), scope(READ));
    assert_eq!(held.covers(&asked).unwrap_err().part, "use");
    assert_eq!(scope(&["a@t:x hops:1"]).covers(&scope(&["a@t:x"])).unwrap_err().part, "hops");
}
