//! A child that outlives its parent, starts before it, or travels further.

use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::Block;
use sublet_core::token::mint::{self, Hop};
use sublet_core::trust::bundle::KeyUse;
use sublet_tests::{Fleet, NOW, Request, Tool, append, code, key, key_id, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

fn hop() -> Hop {
    to_helper("scout", READ)
}

// SPEC 3.5.
#[test]
fn a_longer_life_is_refused_to_the_second() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let with = |ttl_seconds| code(append(&root, &Hop { ttl_seconds, ..hop() }, "planner"));
    assert_eq!(with(3600), "granted");
    assert_eq!(with(3601), "outlives_parent");
    assert_eq!(with(i64::MAX), "outlives_parent");
    assert_eq!(with(-10), "empty_window");
    assert_eq!(with(i64::MIN), "empty_window");
}

// SPEC 3.5.
#[test]
fn more_hops_and_more_unrecorded_hops_are_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let with = |hops_max, offline_hops_max| {
        code(append(&root, &Hop { hops_max, offline_hops_max, ..hop() }, "planner"))
    };
    assert_eq!(with(Some(4), Some(2)), "granted");
    assert_eq!(with(Some(5), None), "hops_exceed_parent");
    assert_eq!(with(None, Some(3)), "unrecorded_exceed_parent");
}

#[test]
fn a_terminal_hop_goes_no_further() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let last = append(&root, &Hop { hops_max: Some(1), ..hop() }, "planner").unwrap();
    assert_eq!(code(append(&last, &to_helper("deep", READ), "scout")), "no_hops_left");

    // By force: every block sets its own limit, and the tightest holds.
    let block = Block { hops_max: 4, ..last.last().block().clone() };
    let block = Block { helper: Some("scout/deep".parse().unwrap()), ..block };
    let forged = raw::forge(&last, &block, key("deep").public_key(), &key("scout"));
    let forged = fleet.verify(&forged).unwrap();
    let request = Request::new(&forged, &key("deep"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "too_deep");
}

/// By force, in a block that nobody records: more hops than a token may have. What a stock library
/// refuses is refused here too, before a signature is looked at.
// SPEC 3.2.4.
#[test]
fn no_later_block_allows_more_hops_than_a_token_may_have() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let made = append(&root, &hop(), "planner").unwrap();
    let forged = |hops_max, offline_hops_max| {
        let block = Block { hops_max, offline_hops_max, ..made.last().block().clone() };
        raw::forge(&root, &block, key("scout").public_key(), &key("planner"))
    };
    assert_eq!(code(fleet.verify(&forged(64, 64))), "granted");
    for (hops, unrecorded) in [(65, 1), (1, 65), (u32::MAX, u32::MAX)] {
        assert_eq!(code(fleet.verify(&forged(hops, unrecorded))), "block_limit");
        // Nor does a tool take it, nor the same in a block 0.
        let request = Request {
            token: forged(hops, unrecorded),
            ..Request::new(&made, &key("scout"), "fs.read", ARGS)
        };
        assert_eq!(code(Tool::new(&fleet).answer(&request)), "block_limit");
        let grant =
            Block { hops_max: hops, offline_hops_max: unrecorded, ..fleet.grant("planner", READ) };
        let signer = Fleet::signer(KeyUse::Delegation);
        let made =
            mint::root(grant, key("planner").public_key(), key_id(KeyUse::Delegation), &signer);
        assert_eq!(code(made), "block_limit");
    }
}

// SPEC 3.5.1, 7.1.
#[test]
fn a_child_by_force_dies_with_its_parent() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let made = append(&root, &hop(), "planner").unwrap();
    let seconds = NOW.seconds();
    let block = Block { not_after: seconds + 7200, ..made.last().block().clone() };
    let forged = raw::forge(&root, &block, key("scout").public_key(), &key("planner"));
    let forged = fleet.verify(&forged).unwrap();
    assert_eq!(forged.expires(), seconds + 3600);
    let mut tool = Tool::new(&fleet);
    for (ms, outcome) in [(0, "granted"), (3_599_999, "granted"), (3_600_000, "expired")] {
        let now = NOW.plus_ms(ms);
        tool.follow(now);
        let request = Request::at(now, &forged, &key("scout"), "fs.read", ARGS);
        assert_eq!(code(tool.answer_at(now, &request)), outcome, "after {ms} ms");
    }
    let before = NOW.plus_ms(-10_001);
    let early = Request::at(before, &forged, &key("scout"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer_at(before, &early)), "not_yet_valid");
}
