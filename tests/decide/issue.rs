//! Issue: never more than the profile allows.

use sublet_core::decide::{ApplyProfile, Issue, Revoke, Target};
use sublet_core::state::AgentState;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, House, code, scope};

use crate::{READ, issue, profile, staffed};

fn token(fleet: &Fleet, bytes: &[u8]) -> VerifiedToken {
    fleet.verify(bytes).unwrap()
}

#[test]
fn what_is_granted_is_what_was_asked_and_is_known_from_then_on() {
    let (fleet, mut house, planner) = staffed();
    let issued = token(&fleet, &house.ask(&planner, &issue()).unwrap().token);
    let block = issued.root();
    assert_eq!(block.agent, sublet_tests::agent("planner"));
    assert_eq!((block.hops_max, block.offline_hops_max), (4, 1));
    assert_eq!(block.not_after, sublet_tests::NOW.seconds() + 600);
    assert_eq!(block.scope, Some(scope(READ)));
    assert_eq!(issued.principal().unwrap().as_str(), "user:alice@acme.example");
    assert!(house.state.delegation(&issued.delegation()).is_some());
    assert!(house.state.hop(&issued.id()).is_some(), "block 0 is recorded as hop 0");
    let again = token(&fleet, &house.ask(&planner, &issue()).unwrap().token);
    assert_ne!(issued.delegation(), again.delegation(), "each is another delegation");
}

// SPEC 3.3.
#[test]
fn each_limit_of_the_profile_holds_at_its_edge() {
    let (_, mut house, planner) = staffed();
    let mut asked = |change: &dyn Fn(&mut Issue)| {
        let mut ask = issue();
        change(&mut ask);
        code(house.ask(&planner, &ask))
    };
    assert_eq!(asked(&|_| {}), "granted");
    assert_eq!(
        asked(&|ask| ask.on_behalf_of = "job:nightly@acme.example".parse().unwrap()),
        "granted"
    );
    assert_eq!(
        asked(&|ask| ask.scope = scope(&["fs.read@tool://files path=under:/data/q3"])),
        "granted"
    );
    assert_eq!(asked(&|ask| ask.ttl_seconds = 601), "profile_limit");
    assert_eq!(asked(&|ask| ask.ttl_seconds = 0), "empty_window");
    assert_eq!(asked(&|ask| ask.ttl_seconds = i64::MIN), "empty_window");
    assert_eq!(asked(&|ask| ask.hops = 5), "profile_limit");
    assert_eq!(asked(&|ask| ask.offline_hops = 2), "profile_limit");
    for principal in ["user:bob@acme.example", "user:alice@other.example", "job:x@other.example"] {
        let refused = asked(&|ask| ask.on_behalf_of = principal.parse().unwrap());
        assert_eq!(refused, "principal_not_allowed", "{principal}");
    }
    for wider in ["fs.read@tool://files path=under:/", "fs.read@tool://files", "db.q@tool://files"]
    {
        assert_eq!(asked(&|ask| ask.scope = scope(&[wider])), "scope_exceeds_profile", "{wider}");
    }
}

#[test]
fn a_ceiling_bounds_how_a_capability_travels() {
    let (_, mut house, planner) = staffed();
    let mut changed = profile("default");
    changed.allow = scope(&["fs.read@tool://files path=under:/data use:delegates hops:1"]);
    house.ask(&House::admin(), &ApplyProfile { profile: changed }).unwrap();
    let mut asked =
        |text: &str| code(house.ask(&planner, &Issue { scope: scope(&[text]), ..issue() }));
    assert_eq!(asked("fs.read@tool://files path=under:/data use:delegates hops:1"), "granted");
    assert_eq!(
        asked("fs.read@tool://files path=under:/data use:delegates"),
        "scope_exceeds_profile"
    );
    assert_eq!(asked("fs.read@tool://files path=under:/data hops:1"), "scope_exceeds_profile");
}

// SPEC 5.4.1.
#[test]
fn only_an_active_agent_is_issued_anything() {
    let (fleet, mut house, planner) = staffed();
    assert_eq!(code(house.ask(&House::admin(), &issue())), "forbidden");
    let held = token(&fleet, &house.ask(&planner, &issue()).unwrap().token);
    let as_holder = House::caller(&held, &sublet_tests::key("planner"));
    assert_eq!(code(house.ask(&as_holder, &issue())), "forbidden", "a delegation is no identity");
    let stranger = House::agent(&fleet, "stranger");
    assert_eq!(code(house.ask(&stranger, &issue())), "unknown_agent");
    let suspend = sublet_core::decide::SuspendAgent {
        agent: sublet_tests::agent("planner"),
        reason: "x".into(),
    };
    house.ask(&House::admin(), &suspend).unwrap();
    assert_eq!(
        house.state.agent(&sublet_tests::agent("planner")).unwrap().state,
        AgentState::Suspended
    );
    assert_eq!(code(house.ask(&planner, &issue())), "agent_suspended");
}

// SPEC 3.3, 7.3.1.
#[test]
fn a_revoked_principal_is_issued_nothing_and_others_are() {
    let (_, mut house, planner) = staffed();
    let alice = "user:alice@acme.example".parse().unwrap();
    let revoke = Revoke { target: Target::Principal(alice), reason: "left".into(), chain: None };
    assert_eq!(code(house.ask(&planner, &revoke)), "revoke_forbidden");
    house.ask(&House::admin(), &revoke).unwrap();
    assert_eq!(code(house.ask(&planner, &issue())), "principal_revoked");
    let job = Issue { on_behalf_of: "job:nightly@acme.example".parse().unwrap(), ..issue() };
    assert_eq!(code(house.ask(&planner, &job)), "granted");
}

#[test]
fn a_profile_that_is_gone_issues_nothing() {
    let fleet = Fleet::new();
    let mut house = House::new(&fleet);
    house.enroll(
        "planner",
        sublet_core::base::sign::Signer::public_key(&sublet_tests::key("planner")).clone(),
    );
    assert_eq!(code(house.ask(&House::agent(&fleet, "planner"), &issue())), "unknown_profile");
}
