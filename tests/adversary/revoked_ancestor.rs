//! A revoked hop, agent, principal or root above the caller, at each depth.

use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::Block;
use sublet_core::decide::{Revoke, SuspendAgent, Target};
use sublet_core::revocation::feed::Revocation;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, House, Request, Tool, agent, append, code, key, to_agent, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

/// planner → a → b → … , each an enrolled agent.
fn chain(fleet: &Fleet, depth: usize) -> Vec<VerifiedToken> {
    let grant = Block { hops_max: 64, ..fleet.grant("holder-0", READ) };
    let mut chain = vec![fleet.issue(grant)];
    for at in 0..depth {
        let next = to_agent(&format!("holder-{}", at + 1), READ);
        let child = append(&chain[at], &next, &format!("holder-{at}")).unwrap();
        chain.push(child);
    }
    chain
}

fn call(fleet: &Fleet, tool: &Tool, chain: &[VerifiedToken], at: usize) -> &'static str {
    let request = Request::new(&chain[at], &key(&format!("holder-{at}")), "fs.read", ARGS);
    code(tool.answer(&request.with(&fleet.receipt(&chain[at]))))
}

// SPEC 7.1.
#[test]
fn a_revoked_hop_ends_all_below_it_and_nothing_above() {
    let fleet = Fleet::new();
    let chain = chain(&fleet, 8);
    for revoked in 0..chain.len() {
        let mut tool = Tool::new(&fleet);
        tool.revoke(Revocation::Hop(chain[revoked].id()));
        for at in 0..chain.len() {
            let outcome = if at < revoked { "granted" } else { "hop_revoked" };
            assert_eq!(call(&fleet, &tool, &chain, at), outcome, "{revoked} revoked, {at} calls");
        }
    }
}

#[test]
fn siblings_of_a_revoked_hop_go_on() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let one = append(&root, &to_helper("one", READ), "planner").unwrap();
    let two = append(&root, &to_helper("two", READ), "planner").unwrap();
    let mut tool = Tool::new(&fleet);
    tool.revoke(Revocation::Hop(one.id()));
    let call =
        |token, name: &str| code(tool.answer(&Request::new(token, &key(name), "fs.read", ARGS)));
    assert_eq!(call(&one, "one"), "hop_revoked");
    assert_eq!(call(&two, "two"), "granted");
}

// SPEC 7.1.
#[test]
fn a_suspended_agent_in_the_middle_ends_all_below_it() {
    let fleet = Fleet::new();
    let chain = chain(&fleet, 4);
    for suspended in 0..chain.len() {
        let mut tool = Tool::new(&fleet);
        tool.revoke(Revocation::AgentSuspended(agent(&format!("holder-{suspended}"))));
        for at in 0..chain.len() {
            let outcome = if at < suspended { "granted" } else { "agent_suspended" };
            assert_eq!(call(&fleet, &tool, &chain, at), outcome, "{suspended}, {at} calls");
        }
    }
}

#[test]
fn a_suspended_agents_helpers_end_with_it() {
    let fleet = Fleet::new();
    let child = append(&fleet.root("planner", READ), &to_helper("scout", READ), "planner").unwrap();
    let mut tool = Tool::new(&fleet);
    tool.revoke(Revocation::AgentSuspended(agent("planner")));
    let request = Request::new(&child, &key("scout"), "fs.read", ARGS);
    assert_eq!(code(tool.answer(&request)), "agent_suspended");
}

// SPEC 7.1.
#[test]
fn a_principal_or_root_key_that_is_revoked_ends_every_chain_under_it() {
    let fleet = Fleet::new();
    let chain = chain(&fleet, 2);
    let root_key = Fleet::signer(sublet_core::trust::bundle::KeyUse::Delegation);
    let cases = [
        (Revocation::Principal("user:alice@acme.example".parse().unwrap()), "principal_revoked"),
        (Revocation::RootKey(root_key.public_key().thumbprint()), "root_revoked"),
    ];
    for (revocation, refusal) in cases {
        let mut tool = Tool::new(&fleet);
        tool.revoke(revocation);
        for at in 0..chain.len() {
            assert_eq!(call(&fleet, &tool, &chain, at), refusal);
        }
    }
}

#[test]
fn the_broker_mints_nothing_below_what_is_revoked() {
    let fleet = Fleet::new();
    let chain = chain(&fleet, 3);
    let names: Vec<String> = (0..4).map(|at| format!("holder-{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for revoked in 0..3 {
        let mut house = House::with(&fleet, &names, &chain[0]);
        house.delegate(&House::agent(&fleet, "holder-1"), &chain[2]).unwrap();
        let target = Target::Hop(chain[revoked].id());
        let revoke = Revoke { target, reason: "test".into(), chain: None };
        house.ask(&House::agent(&fleet, &format!("holder-{revoked}")), &revoke).unwrap();
        let refused = house.delegate(&House::agent(&fleet, "holder-2"), &chain[3]);
        assert_eq!(code(refused), "hop_revoked", "hop {revoked}");
    }
    let mut house = House::with(&fleet, &names, &chain[0]);
    let suspend = SuspendAgent { agent: agent("holder-1"), reason: "test".into() };
    house.ask(&House::admin(), &suspend).unwrap();
    let refused = house.delegate(&House::agent(&fleet, "holder-2"), &chain[3]);
    assert_eq!(code(refused), "agent_suspended");
}

// SPEC 7.2.
#[test]
fn who_neither_made_nor_holds_a_hop_does_not_revoke_it() {
    let fleet = Fleet::new();
    let chain = chain(&fleet, 2);
    let mut house = House::with(&fleet, &["holder-0", "holder-1", "holder-2"], &chain[0]);
    house.delegate(&House::agent(&fleet, "holder-1"), &chain[2]).unwrap();
    let revoke = |at: usize| Revoke {
        target: Target::Hop(chain[at].id()),
        reason: "test".into(),
        chain: Some(chain[2].clone().into()),
    };
    let mallory = House::agent(&fleet, "holder-2");
    assert_eq!(code(house.ask(&mallory, &revoke(0))), "revoke_forbidden");
    assert_eq!(code(house.ask(&mallory, &revoke(1))), "revoke_forbidden");
    assert_eq!(code(house.ask(&mallory, &revoke(2))), "granted");
    assert_eq!(code(house.ask(&House::agent(&fleet, "holder-0"), &revoke(1))), "granted");
}
