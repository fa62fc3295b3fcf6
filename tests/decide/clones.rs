//! Two hold one key: it shows when the second of them renews, and stops that agent alone.

use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{Enroll, GetAgentKey, Renew, ResumeAgent, RotateKey};
use sublet_core::revocation::feed::Revocation;
use sublet_core::state::{AgentState, LastIdentity};
use sublet_tests::{Fleet, House, agent, code, key};

use crate::staffed;

/// The planner with the identity that it was given last.
fn renewed(fleet: &Fleet, house: &mut House, by: &Caller) -> Caller {
    let identity = house.ask(by, &Renew).unwrap();
    House::caller(&fleet.verify(&identity).unwrap(), &key("planner"))
}

fn state(house: &House, name: &str) -> AgentState {
    house.state.agent(&agent(name)).unwrap().state
}

// SPEC 3.7.2.
#[test]
fn whoever_renews_with_an_identity_that_was_renewed_has_a_copy() {
    let (fleet, mut house, first) = staffed();
    house.enroll("reader", key("reader").public_key().clone());
    let reader = House::agent(&fleet, "reader");
    let second = renewed(&fleet, &mut house, &first);
    let third = renewed(&fleet, &mut house, &second);
    // Until it ends, an older identity is good for everything but to be renewed.
    let look = GetAgentKey { agent: agent("reader") };
    assert_eq!(code(house.ask(&second, &look)), "granted");
    assert_eq!(code(house.ask(&second, &Renew)), "identity_cloned");
    assert_eq!(state(&house, "planner"), AgentState::Suspended);
    assert!(house.state.revoked(&Revocation::AgentSuspended(agent("planner"))).is_some());
    assert_eq!(code(house.ask(&third, &Renew)), "agent_suspended", "both of them stop");
    assert_eq!(code(house.ask(&reader, &Renew)), "granted", "and nobody else");
    // Resumed, the copy is still there.
    house.ask(&House::admin(), &ResumeAgent { agent: agent("planner") }).unwrap();
    assert_eq!(code(house.ask(&second, &Renew)), "identity_cloned");
}

// SPEC 3.7.2.
#[test]
fn a_thief_that_renews_first_is_noticed_when_the_owner_does() {
    let (fleet, mut house, owner) = staffed();
    let thief = renewed(&fleet, &mut house, &owner);
    assert_eq!(code(house.ask(&owner, &Renew)), "identity_cloned");
    assert_eq!(code(house.ask(&thief, &Renew)), "agent_suspended");
}

// SPEC 3.7.2.
#[test]
fn a_thief_that_changes_the_key_is_noticed_when_the_owner_renews() {
    let (_, mut house, owner) = staffed();
    house.ask(&owner, &RotateKey { new_key: key("thief").public_key().clone() }).unwrap();
    assert_eq!(code(house.ask(&owner, &Renew)), "identity_cloned");
    assert_eq!(state(&house, "planner"), AgentState::Suspended);
}

#[test]
fn an_agent_that_came_in_anew_is_no_copy_of_itself() {
    let (_, mut house, old) = staffed();
    let admin = House::admin();
    let ask = sublet_core::decide::CreateJoinToken { agent: agent("planner"), ttl_seconds: 60 };
    let invited = house.ask(&admin, &ask).unwrap();
    let credential = sublet_core::decide::Credential::from_join_token(&invited.join_token).unwrap();
    let signature = key("anew").sign(b"x").unwrap();
    let anew = Caller::new_key(key("anew").public_key().clone(), b"x", &signature).unwrap();
    house.ask(&anew, &Enroll { credential, agent: None }).unwrap();
    // The one that is going down still asks, under the key that it had.
    assert_eq!(code(house.ask(&old, &Renew)), "not_the_agents_key");
    assert_eq!(state(&house, "planner"), AgentState::Active);
}

#[test]
fn a_broker_that_was_restored_from_a_backup_takes_nobody_for_a_copy() {
    let (fleet, mut house, first) = staffed();
    let young = renewed(&fleet, &mut house, &first);
    // What it knows is from before the identity was given.
    let mut row = house.state.agent(&agent("planner")).unwrap().clone();
    let last = row.identity.unwrap();
    row.identity = Some(LastIdentity {
        nonce: sublet_core::base::id::Nonce([1; 16]),
        issued_at: last.issued_at - 60,
    });
    house.state.put(sublet_core::state::Row::Agent(row));
    assert_eq!(code(house.ask(&young, &Renew)), "granted");
}
