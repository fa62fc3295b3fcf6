//! Two agents with one key, or a helper with an agent's.

use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{CreateAgent, Credential, Enroll, RotateKey};
use sublet_core::state::{Profile, Row};
use sublet_core::token::mint::{Hop, Recipient};
use sublet_tests::{Fleet, House, agent, append, code, key, scope, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];

fn house(fleet: &Fleet) -> House {
    let mut house = House::with(fleet, &["planner", "researcher"], &fleet.root("planner", READ));
    house.state.put(Row::Profile(Profile {
        name: "default".into(),
        principals: Vec::new(),
        ttl_seconds_max: 3600,
        hops_max: 4,
        offline_hops_max: 2,
        fan_out_max: 3,
        allow: scope(READ),
        enroll: Vec::new(),
        consent_required: false,
        version: 0,
    }));
    house
}

fn invited(house: &mut House, name: &str) -> String {
    let create =
        CreateAgent { agent: agent(name), profile: "default".into(), join_ttl_seconds: 60 };
    house.ask(&House::admin(), &create).unwrap().join_token
}

fn enroll(house: &mut House, join_token: &str, holder: &str) -> &'static str {
    let signature = key(holder).sign(b"new").unwrap();
    let caller = Caller::new_key(key(holder).public_key().clone(), b"new", &signature).unwrap();
    code(house.ask(
        &caller,
        &Enroll { credential: Credential::from_join_token(join_token).unwrap(), agent: None },
    ))
}

// SPEC 2.11.8, 3.7.
#[test]
fn an_enrolled_key_enrols_nobody_else() {
    let fleet = Fleet::new();
    let mut house = house(&fleet);
    let join_token = invited(&mut house, "third");
    assert_eq!(enroll(&mut house, &join_token, "researcher"), "key_in_use");
    assert_eq!(enroll(&mut house, &join_token, "third"), "granted");
}

// SPEC 3.7.
#[test]
fn a_join_token_is_used_once() {
    let fleet = Fleet::new();
    let mut house = house(&fleet);
    let join_token = invited(&mut house, "third");
    assert_eq!(enroll(&mut house, &join_token, "third"), "granted");
    assert_eq!(enroll(&mut house, &join_token, "mallory"), "join_token_used");
    let other = join_token.replace("sublet-join1.", "sublet-join1.0");
    assert!(Credential::from_join_token(&other).is_none());
}

// SPEC 2.11.8, 3.7.
#[test]
fn nobody_rotates_to_a_key_that_was_anyones() {
    let fleet = Fleet::new();
    let mut house = house(&fleet);
    let planner = House::agent(&fleet, "planner");
    for name in ["researcher", "planner"] {
        let new_key = key(name).public_key().clone();
        assert_eq!(code(house.ask(&planner, &RotateKey { new_key })), "key_in_use");
    }
    let new_key = key("fresh").public_key().clone();
    assert_eq!(code(house.ask(&planner, &RotateKey { new_key })), "granted");
    let old = key("planner").public_key().clone();
    let join_token = invited(&mut house, "third");
    assert_eq!(enroll(&mut house, &join_token, "planner"), "key_in_use", "{old}");
}

// SPEC 3.7, 5.5.
#[test]
fn a_key_is_enrolled_only_by_who_holds_it() {
    let signature = key("mallory").sign(b"new").unwrap();
    let caller = Caller::new_key(key("victim").public_key().clone(), b"new", &signature);
    assert_eq!(code(caller), "new_key_not_proven");
}

// SPEC 3.6.2.
#[test]
fn a_helper_with_an_agents_key_is_not_recorded() {
    let fleet = Fleet::new();
    let mut house = house(&fleet);
    let key = key("researcher").public_key().clone();
    let hop = Hop { to: Recipient::Helper { label: "x".into(), key }, ..to_helper("x", READ) };
    let token = append(&fleet.root("planner", READ), &hop, "planner").unwrap();
    let planner = House::agent(&fleet, "planner");
    assert_eq!(code(house.delegate(&planner, &token)), "key_in_use");
}
