//! An identity token used as a delegation, and the reverse.

use sublet_core::authorize::{Bound, CallView, decide_peer, prove};
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::{Block, Role};
use sublet_core::decide::Renew;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::proof::CallProof;
use sublet_core::token::mint;
use sublet_core::token::verify::Coverage;
use sublet_core::trust::bundle::KeyUse;
use sublet_tests::{
    AUDIENCE, Fleet, House, NOW, Request, Tool, append, code, key, key_id, raw, to_self,
};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

// SPEC 3.8.
#[test]
fn an_identity_opens_no_tool() {
    let fleet = Fleet::new();
    for (action, args) in [("fs.read", ARGS), ("sublet.identify", "{}")] {
        let request = Request::new(&fleet.identity("planner"), &key("planner"), action, args);
        assert_eq!(code(Tool::new(&fleet).answer(&request)), "wrong_token_kind");
    }
}

/// A receipt that says "not revoked" is of a delegation's hop: it makes no view young that decides who calls.
// SPEC 7.7.1.
#[test]
fn who_calls_is_decided_on_a_young_view_and_on_no_receipt() {
    let fleet = Fleet::new();
    let (tool, identity) = (Tool::new(&fleet), fleet.identity("planner"));
    let coverage = Coverage::verify(fleet.receipt(&identity), &identity, &fleet.bundle).unwrap();
    let arguments = Arguments::from_json(b"{}").unwrap();
    let call = Call { audience: AUDIENCE.into(), action: "sublet.identify".into(), arguments };
    let request = Request::new(&identity, &key("planner"), &call.action, "{}");
    let proof = CallProof::decode(&request.proof).unwrap();
    let possession = prove(&identity, &proof, &Bound::of(&call), NOW).unwrap();
    for (age_ms, expected) in
        [(Some(0), "granted"), (Some(10_001), "stale_view"), (None, "stale_view")]
    {
        let coverage = Some(&coverage);
        let view = CallView { revocations: &tool.view, age_ms, staleness_ms_max: 10_000, coverage };
        assert_eq!(code(decide_peer(&identity, &possession, &call, view, NOW)), expected);
    }
}

// SPEC 3.8.
#[test]
fn nothing_is_appended_to_an_identity() {
    let fleet = Fleet::new();
    let identity = fleet.identity("planner");
    assert_eq!(code(append(&identity, &to_self(READ), "planner")), "no_hops_left");
    let wide = Block { hops_max: 4, offline_hops_max: 4, ..identity.root().clone() };
    assert_eq!(code(append(&fleet.issue(wide), &to_self(READ), "planner")), "forbidden");

    let root = fleet.root("planner", READ);
    let block = append(&root, &to_self(READ), "planner").unwrap().last().block().clone();
    let forged = raw::forge(&identity, &block, key("planner").public_key(), &key("planner"));
    assert_eq!(code(fleet.verify(&forged)), "wrong_token_kind");
}

// SPEC 2.11, 2.14.
#[test]
fn each_root_key_signs_its_own_kind_alone() {
    let fleet = Fleet::new();
    let signed = |block: Block, use_| {
        let signer = Fleet::signer(use_);
        let token = mint::root(block, key("planner").public_key(), key_id(use_), &signer).unwrap();
        code(fleet.verify(&token.encode()))
    };
    let identity = fleet.identity("planner").root().clone();
    let grant = fleet.grant("planner", READ);
    assert_eq!(signed(identity.clone(), KeyUse::Identity), "granted");
    assert_eq!(signed(grant.clone(), KeyUse::Delegation), "granted");
    for other in [KeyUse::Receipt, KeyUse::Ledger, KeyUse::Feed, KeyUse::Bundle] {
        assert_eq!(signed(identity.clone(), other), "unknown_key");
        assert_eq!(signed(grant.clone(), other), "unknown_key");
    }
    assert_eq!(signed(identity, KeyUse::Delegation), "unknown_key");
    assert_eq!(signed(grant, KeyUse::Identity), "unknown_key");
}

// SPEC 2.14.
#[test]
fn a_delegation_is_no_identity_at_the_broker() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner"], &root);
    let by_delegation = House::caller(&root, &key("planner"));
    assert_eq!(code(house.ask(&by_delegation, &Renew)), "forbidden");
    assert_eq!(code(house.ask(&House::agent(&fleet, "planner"), &Renew)), "granted");
}

#[test]
fn a_hop_stands_at_no_root() {
    let fleet = Fleet::new();
    let hop = Block { role: Role::Hop, ..fleet.grant("planner", READ) };
    let signer = Fleet::signer(KeyUse::Delegation);
    let holder = key("planner");
    let made = mint::root(hop.clone(), holder.public_key(), key_id(KeyUse::Delegation), &signer);
    assert_eq!(code(made), "forbidden");
    let mut envelope = raw::open(&fleet.root("planner", READ).encode());
    let payload = hop.lower(&mut Default::default());
    envelope.authority = raw::signed_v1(payload, holder.public_key(), None, &signer);
    assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "block_incomplete");
}

#[test]
fn a_second_grant_below_the_first_is_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let forged = raw::forge(
        &root,
        &fleet.grant("planner", READ),
        key("planner").public_key(),
        &key("planner"),
    );
    assert_eq!(code(fleet.verify(&forged)), "block_incomplete");
}
