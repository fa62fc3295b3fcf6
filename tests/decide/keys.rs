//! The life of the broker's own keys: by the admin alone, and what each step means for what is issued.

use sublet_core::decide::caller::Caller;
use sublet_core::decide::{Issue, Renew, RotateBrokerKey};
use sublet_core::refusal::Refusal;
use sublet_core::revocation::feed::Revocation;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, LaterBundle, TrustBundle};
use sublet_core::trust::rotation::KeyStep;
use sublet_tests::later::{bundle_with, listed};
use sublet_tests::{Fleet, House, NOW, code, key_id};

use crate::staffed;

fn step(house: &mut House, step: KeyStep) -> Result<(), Refusal> {
    house.rotate_broker_key(&House::admin(), step)
}

/// The key that a step just made.
fn newest(house: &House) -> KeyId {
    house.state.trust().bundle().keys().iter().map(|key| key.id).max().unwrap()
}

/// Prepares a key of a use and has it sign.
fn rotate(house: &mut House, use_: KeyUse) -> KeyId {
    step(house, KeyStep::Prepare { use_, lead_ms: 0 }).unwrap();
    let key = newest(house);
    step(house, KeyStep::Activate { key, at_once: false }).unwrap();
    key
}

fn issue(house: &mut House, planner: &Caller, ttl_seconds: i64) -> Result<Vec<u8>, Refusal> {
    let ask = Issue { ttl_seconds, hops: 0, offline_hops: 0, ..crate::issue() };
    house.ask(planner, &ask).map(|issued| issued.token.to_vec())
}

/// What a verifier that goes by the bundle of this moment says.
fn verdict(house: &House, token: &[u8]) -> &'static str {
    let bundle = house.state.trust().bundle().clone();
    code(Fleet { bundle }.verify(token))
}

// SPEC 2.16.5.
#[test]
fn what_is_issued_is_signed_by_the_key_that_is_active_at_that_moment() {
    let (_, mut house, planner) = staffed();
    let before = issue(&mut house, &planner, 600).unwrap();
    let root = rotate(&mut house, KeyUse::Delegation);
    let after = issue(&mut house, &planner, 600).unwrap();
    for token in [&before, &after] {
        assert_eq!(verdict(&house, token), "granted");
    }
    step(&mut house, KeyStep::Taint { key: key_id(KeyUse::Delegation) }).unwrap();
    assert_eq!(verdict(&house, &before), "key_tainted");
    assert_eq!(verdict(&house, &after), "granted", "of another key");
    step(&mut house, KeyStep::Taint { key: root }).unwrap();
    assert_eq!(verdict(&house, &after), "key_tainted");
    let anew = issue(&mut house, &planner, 600).unwrap();
    assert_eq!(verdict(&house, &anew), "granted", "there is always one that signs");
}

/// A token from before its key's time is good nowhere, and a join token would be spent for it.
#[test]
fn nothing_is_signed_before_the_time_of_the_key_where_the_clock_was_set_back() {
    let (_, mut house, planner) = staffed();
    house.now = NOW.plus_ms(3_000);
    rotate(&mut house, KeyUse::Delegation);
    rotate(&mut house, KeyUse::Identity);
    house.now = NOW.plus_ms(2_000);
    assert_eq!(code(issue(&mut house, &planner, 600)), "key_too_soon");
    assert_eq!(code(house.ask(&planner, &Renew)), "key_too_soon");
    house.now = NOW.plus_ms(3_000);
    let token = issue(&mut house, &planner, 600).unwrap();
    assert_eq!(verdict(&house, &token), "granted");
    let identity = house.ask(&planner, &Renew).unwrap();
    assert_eq!(verdict(&house, &identity), "granted");
}

#[test]
fn verifiers_hear_of_a_tainted_root_by_the_feed_and_the_broker_goes_by_it_too() {
    let (_, mut house, planner) = staffed();
    let identity = key_id(KeyUse::Identity);
    let public = Fleet::new().bundle.key(identity).unwrap().public.thumbprint();
    assert_eq!(code(house.ask(&planner, &Renew)), "granted");
    step(&mut house, KeyStep::Taint { key: identity }).unwrap();
    assert!(house.state.revoked(&Revocation::RootKey(public)).is_some());
    assert_eq!(code(house.ask(&planner, &Renew)), "root_revoked");
    let feed = key_id(KeyUse::Feed);
    let known = house.state.revocation_sequence();
    step(&mut house, KeyStep::Taint { key: feed }).unwrap();
    assert_eq!(house.state.revocation_sequence(), known, "it signs no roots");
}

// SPEC 2.11.9.
#[test]
fn nothing_is_issued_for_longer_than_the_key_is_good_that_signs_it() {
    // A profile allows ten minutes, and the root is good for five more.
    let fleet = Fleet::changed(|keys| {
        let roots = [KeyUse::Delegation, KeyUse::Identity];
        for key in keys.iter_mut().filter(|key| roots.contains(&key.use_)) {
            key.not_after = sublet_tests::NOW.plus_ms(300_000);
        }
    });
    let (_, mut house, planner) = crate::staffed_in(fleet);
    assert_eq!(code(issue(&mut house, &planner, 300)), "granted");
    let refusal = issue(&mut house, &planner, 301).unwrap_err();
    assert_eq!(refusal.code(), "outlives_key");
    assert!(refusal.to_string().contains("at most 300 s"), "{refusal}");
    let identity = house.ask(&planner, &Renew).unwrap();
    assert_eq!(verdict(&house, &identity), "granted", "it is shorter than it would be");
    rotate(&mut house, KeyUse::Delegation);
    assert_eq!(code(issue(&mut house, &planner, 600)), "granted");
}

#[test]
fn the_admin_alone_changes_keys() {
    let (fleet, mut house, planner) = staffed();
    let ask = RotateBrokerKey {
        step: KeyStep::Taint { key: KeyId(1) },
        reason: String::new(),
        made: None,
    };
    assert_eq!(code(house.ask(&planner, &ask)), "forbidden");
    let state = house.state.trust().bundle().key(KeyId(1)).unwrap().state;
    assert_eq!((state, house.state.trust().bundle()), (KeyState::Active, &fleet.bundle));
    for (wrong, detail) in [
        (KeyStep::Activate { key: KeyId(99), at_once: true }, "not_found"),
        (KeyStep::Retire { key: KeyId(1) }, "key_step"),
        (KeyStep::Taint { key: key_id(KeyUse::Bundle) }, "key_step"),
    ] {
        assert_eq!(code(step(&mut house, wrong)), detail, "{wrong}");
    }
    assert_eq!(house.state.trust().bundle(), &fleet.bundle, "a refusal changes nothing");
}

// SPEC 2.16.2.
#[test]
fn a_key_signs_no_earlier_than_it_was_announced_for_and_the_one_before_stays_listed() {
    let (_, mut house, _) = staffed();
    let use_ = KeyUse::Receipt;
    let before = house.state.trust().bundle().active(use_).unwrap().id;
    step(&mut house, KeyStep::Prepare { use_, lead_ms: 60_000 }).unwrap();
    let key = newest(&house);
    let early = step(&mut house, KeyStep::Activate { key, at_once: false });
    assert_eq!(code(early), "key_too_soon");
    step(&mut house, KeyStep::Activate { key, at_once: true }).unwrap();
    let bundle = house.state.trust().bundle();
    assert_eq!(bundle.active(use_).unwrap().id, key);
    assert_eq!(bundle.key(before).unwrap().state, KeyState::Retired);
}

/// It could make none after it without losing that key.
// SPEC 2.11.14.
#[test]
fn a_broker_goes_by_no_bundle_with_a_key_that_it_does_not_understand() {
    let understood = |keys: &[serde_json::Value]| {
        let text = bundle_with(&Fleet::new(), 2, keys);
        TrustBundle::open(&text, NOW).unwrap().check_understood()
    };
    assert_eq!(understood(&[]), Ok(()));
    let later = understood(&[listed("lease", 20, "x")]).unwrap_err();
    assert_eq!(later, LaterBundle(KeyId(20), "lease".into()));
}
