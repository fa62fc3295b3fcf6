//! What a decision writes: every change of a row counts, and what is remembered for how long.

use sublet_core::base::id::Principal;
use sublet_core::base::limits;
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    ApplyProfile, CreateAgent, Renew, Replay, RestorePrincipal, ResumeAgent, Revoke,
    RevokeAgentKey, RevokeJoinToken, RotateKey, SuspendAgent, Target,
};
use sublet_core::evidence::workload::EnrollRule;
use sublet_core::revocation::feed::Revocation;
use sublet_core::state::Profile;
use sublet_core::trust::bundle::KeyUse;
use sublet_core::trust::rotation::KeyStep;
use sublet_tests::{House, NOW, agent, append, code, key, key_id, to_helper};

use crate::{READ, issue, profile, staffed};

fn version(house: &House) -> u64 {
    house.state.agent(&agent("planner")).unwrap().version
}

#[test]
fn every_change_of_an_agent_counts() {
    let (_, mut house, planner) = staffed();
    let admin = House::admin();
    let before = version(&house);
    let suspend = SuspendAgent { agent: agent("planner"), reason: String::new() };
    house.ask(&admin, &suspend).unwrap();
    assert_eq!(version(&house), before + 1);
    house.ask(&admin, &suspend).unwrap();
    assert_eq!(version(&house), before + 1, "it is suspended already");
    house.ask(&admin, &ResumeAgent { agent: agent("planner") }).unwrap();
    assert_eq!(version(&house), before + 2);
    house.ask(&planner, &Renew).unwrap();
    assert_eq!(version(&house), before + 3);
    let revoke = RevokeAgentKey { agent: agent("planner"), reason: String::new() };
    house.ask(&admin, &revoke).unwrap();
    assert_eq!(version(&house), before + 4);
}

#[test]
fn the_first_change_of_an_agent_counts_whatever_it_is() {
    let (_, mut house, planner) = staffed();
    let before = version(&house);
    house.ask(&planner, &Renew).unwrap();
    assert_eq!(version(&house), before + 1);
    let (_, mut house, planner) = staffed();
    house.ask(&planner, &RotateKey { new_key: key("planner 2").public_key().clone() }).unwrap();
    assert_eq!(version(&house), before + 1);
    let (_, mut house, _) = staffed();
    let revoke = RevokeAgentKey { agent: agent("planner"), reason: String::new() };
    house.ask(&House::admin(), &revoke).unwrap();
    assert_eq!(version(&house), before + 1);
}

#[test]
fn a_revoked_key_is_known_as_revoked() {
    let (_, mut house, _) = staffed();
    let thumbprint = key("planner").public_key().thumbprint();
    assert!(!house.state.key_owner(&thumbprint).unwrap().revoked);
    let revoke = RevokeAgentKey { agent: agent("planner"), reason: String::new() };
    house.ask(&House::admin(), &revoke).unwrap();
    assert!(house.state.key_owner(&thumbprint).unwrap().revoked);
}

#[test]
fn a_revoked_join_token_counts_as_changed() {
    let (_, mut house, _) = staffed();
    let create =
        CreateAgent { agent: agent("writer"), profile: "default".into(), join_ttl_seconds: 60 };
    let id = house.ask(&House::admin(), &create).unwrap().id;
    let before = house.state.join_token(&id).unwrap().version;
    house.ask(&House::admin(), &RevokeJoinToken { id: id.clone() }).unwrap();
    assert_eq!(house.state.join_token(&id).unwrap().version, before + 1);
}

#[test]
fn a_return_is_remembered_as_long_as_anything_from_before_it_lives() {
    let (_, mut house, _) = staffed();
    let principal: Principal = "user:alice@acme.example".parse().unwrap();
    let target = Target::Principal(principal.clone());
    house.ask(&House::admin(), &Revoke { target, reason: "x".into(), chain: None }).unwrap();
    house.now = NOW.plus_ms(5_000);
    let restore = RestorePrincipal { principal: principal.clone(), reason: "back".into() };
    let restored = house.ask(&House::admin(), &restore).unwrap();
    assert_eq!((restored.at, restored.issues_from), (house.now, NOW.plus_ms(6_000)));
    let known = house.state.revoked(&Revocation::PrincipalRestored(principal)).unwrap();
    let longest = limits::DELEGATION_SECONDS_MAX * 1_000 + limits::CLOCK_SKEW_MS;
    assert_eq!(known.expires.since(house.now), longest);
}

fn rules(count: usize) -> Vec<EnrollRule> {
    let rule = EnrollRule {
        issuer: "https://ci.example".into(),
        claims: [("sub".to_owned(), "s".to_owned())].into(),
        agent: "agent/ci".into(),
        rekey: false,
    };
    vec![rule; count]
}

#[test]
fn a_profile_may_reach_each_of_its_bounds() {
    let (_, mut house, _) = staffed();
    let mut apply = |change: &dyn Fn(&mut Profile)| {
        let mut changed = profile("bounds");
        change(&mut changed);
        code(house.ask(&House::admin(), &ApplyProfile { profile: changed }))
    };
    assert_eq!(apply(&|row| row.hops_max = limits::HOPS_MAX), "granted");
    assert_eq!(apply(&|row| row.hops_max = limits::HOPS_MAX + 1), "value_out_of_range");
    assert_eq!(apply(&|row| row.offline_hops_max = row.hops_max), "granted");
    assert_eq!(apply(&|row| row.offline_hops_max = row.hops_max + 1), "value_out_of_range");
    assert_eq!(apply(&|row| row.fan_out_max = limits::FAN_OUT_MAX), "granted");
    assert_eq!(apply(&|row| row.fan_out_max = limits::FAN_OUT_MAX + 1), "value_out_of_range");
    assert_eq!(apply(&|row| row.enroll = rules(64)), "granted");
    assert_eq!(apply(&|row| row.enroll = rules(65)), "value_out_of_range");
    assert_eq!(apply(&|row| row.ttl_seconds_max = limits::DELEGATION_SECONDS_MAX), "granted");
    assert_eq!(apply(&|row| row.ttl_seconds_max = 0), "value_out_of_range");
}

#[test]
fn a_step_that_changes_no_key_changes_nothing_unless_the_bundle_is_issued_anew() {
    let (_, mut house, _) = staffed();
    let version = |house: &House| house.state.trust().bundle().version();
    let before = version(&house);
    house.rotate_broker_key(&House::admin(), KeyStep::Reissue).unwrap();
    assert_eq!(version(&house), before + 1);
    let taint = KeyStep::Taint { key: key_id(KeyUse::Feed) };
    house.rotate_broker_key(&House::admin(), taint).unwrap();
    assert_eq!(version(&house), before + 2);
    house.rotate_broker_key(&House::admin(), taint).unwrap();
    assert_eq!(version(&house), before + 2, "it is tainted already");
}

#[test]
fn a_chain_without_a_hop_delegates_nothing() {
    let (fleet, mut house, planner) = staffed();
    let root = fleet.verify(&house.ask(&planner, &issue()).unwrap().token).unwrap();
    assert_eq!(code(house.delegate(&planner, &root)), "hop_not_found");
}

// SPEC 9.14.
#[test]
fn a_holder_replays_what_is_below_its_hop_and_the_first_holder_all() {
    let (fleet, mut house, planner) = staffed();
    let root = fleet.verify(&house.ask(&planner, &issue()).unwrap().token).unwrap();
    let helper = append(&root, &to_helper("scout", READ), "planner").unwrap();
    house.delegate(&planner, &helper).unwrap();
    let replay = Replay { delegation: root.delegation() };
    let below = |house: &mut House, caller: &Caller| house.ask(caller, &replay).unwrap().below;
    let scout = House::caller(&helper, &key("scout"));
    assert_eq!(below(&mut house, &scout), Some(helper.id()));
    let first = House::caller(&root, &key("planner"));
    assert_eq!(below(&mut house, &first), None);
    assert_eq!(below(&mut house, &planner), None);
}

// SPEC 7.3.2.
#[test]
fn a_principal_returns_when_the_clock_has_reached_what_was_issued_for_it() {
    let (fleet, mut house, planner) = staffed();
    let root = fleet.verify(&house.ask(&planner, &issue()).unwrap().token).unwrap();
    let principal = root.principal().unwrap().clone();
    house.now = NOW.plus_ms(-5_000);
    let target = Target::Principal(principal.clone());
    house.ask(&House::admin(), &Revoke { target, reason: "x".into(), chain: None }).unwrap();
    let restore = RestorePrincipal { principal, reason: "back".into() };
    house.now = NOW.plus_ms(-1);
    assert_eq!(code(house.ask(&House::admin(), &restore)), "value_out_of_range");
    house.now = NOW;
    assert_eq!(code(house.ask(&House::admin(), &restore)), "granted");
}
