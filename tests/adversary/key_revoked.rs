//! A key revoked for ever: also after its agent was resumed, and in whatever chain.

use sublet_core::base::sign::Signer as _;
use sublet_core::decide::{ResumeAgent, RevokeAgentKey, SuspendAgent};
use sublet_core::revocation::feed::Revocation;
use sublet_tests::{Fleet, House, Request, Tool, agent, append, code, key, to_agent, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

#[test]
fn it_ends_every_chain_that_it_stands_in() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let child = append(&root, &to_agent("researcher", READ), "planner").unwrap();
    let deep = append(&child, &to_helper("deep", READ), "researcher").unwrap();
    let other = fleet.root("writer", READ);
    let mut tool = Tool::new(&fleet);
    tool.revoke(Revocation::AgentKey(key("researcher").public_key().thumbprint()));
    let request = |token, name: &str| {
        Request::new(token, &key(name), "fs.read", ARGS).with(&fleet.receipt(token))
    };
    assert_eq!(code(tool.answer(&request(&root, "planner"))), "granted");
    assert_eq!(code(tool.answer(&request(&child, "researcher"))), "key_revoked");
    assert_eq!(code(tool.answer(&request(&deep, "deep"))), "key_revoked");
    assert_eq!(code(tool.answer(&request(&other, "writer"))), "granted");
}

// SPEC 7.3.
#[test]
fn resuming_its_agent_does_not_restore_it() {
    let fleet = Fleet::new();
    let mut tool = Tool::new(&fleet);
    let token = fleet.root("planner", READ);
    let request = Request::new(&token, &key("planner"), "fs.read", ARGS);
    tool.revoke(Revocation::AgentSuspended(agent("planner")));
    assert_eq!(code(tool.answer(&request)), "agent_suspended");
    tool.revoke(Revocation::AgentKey(key("planner").public_key().thumbprint()));
    tool.revoke(Revocation::AgentResumed(agent("planner")));
    assert_eq!(code(tool.answer(&request)), "key_revoked");
}

#[test]
fn nor_does_the_broker_take_it_back() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner", "researcher"], &root);
    let (admin, id) = (House::admin(), agent("researcher"));
    let reason = || "stolen".to_owned();
    house.ask(&admin, &SuspendAgent { agent: id.clone(), reason: reason() }).unwrap();
    house.ask(&admin, &RevokeAgentKey { agent: id.clone(), reason: reason() }).unwrap();
    house.ask(&admin, &ResumeAgent { agent: id }).unwrap();
    let hop = append(&root, &to_agent("researcher", READ), "planner").unwrap();
    let planner = House::agent(&fleet, "planner");
    assert_eq!(code(house.delegate(&planner, &hop)), "key_revoked");
    let researcher = House::agent(&fleet, "researcher");
    assert_eq!(code(house.ask(&researcher, &sublet_core::decide::Renew)), "key_revoked");
}

#[test]
fn an_agent_that_was_suspended_is_back_when_resumed() {
    let fleet = Fleet::new();
    let mut tool = Tool::new(&fleet);
    let token = fleet.root("planner", READ);
    let request = Request::new(&token, &key("planner"), "fs.read", ARGS);
    tool.revoke(Revocation::AgentSuspended(agent("planner")));
    tool.revoke(Revocation::AgentResumed(agent("planner")));
    assert_eq!(code(tool.answer(&request)), "granted");
}
