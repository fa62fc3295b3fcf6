//! How many hops may follow one hop: the profile's number, held where a hop is recorded.

use sublet_core::base::id::UnixMillis;
use sublet_core::decide::caller::Caller;
use sublet_core::refusal::Refusal;
use sublet_core::state::Precondition;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, House, append, code, to_helper};

use crate::{READ, issue, staffed};

/// The profile's number.
const MOST: u32 = 3;

fn issued(fleet: &Fleet, house: &mut House, planner: &Caller) -> VerifiedToken {
    fleet.verify(&house.ask(planner, &issue()).unwrap().token).unwrap()
}

fn helper(root: &VerifiedToken, number: u32) -> VerifiedToken {
    append(root, &to_helper(&format!("helper-{number}"), READ), "planner").unwrap()
}

// SPEC 6.2.
#[test]
fn as_many_hops_follow_one_as_the_profile_allows() {
    let (fleet, mut house, planner) = staffed();
    let root = issued(&fleet, &mut house, &planner);
    for number in 0..MOST {
        assert_eq!(code(house.delegate(&planner, &helper(&root, number))), "granted");
    }
    let refusal: Refusal = house.delegate(&planner, &helper(&root, MOST)).unwrap_err();
    assert_eq!(refusal.code(), "fan_out_exceeded");
    assert_eq!(refusal.to_string(), "3 hops are directly below hop 0, the delegation allows 3");
    // Made offline and brought later: no way round.
    assert_eq!(code(house.record(&planner, &helper(&root, MOST))), "fan_out_exceeded");
    // What is recorded is recorded, and may be followed itself.
    assert_eq!(code(house.delegate(&planner, &helper(&root, 0))), "granted");
    let below = append(&helper(&root, 0), &to_helper("below", READ), "helper-0").unwrap();
    assert_eq!(code(house.record(&planner, &below)), "granted");
    // Another delegation has room of its own.
    let other = issued(&fleet, &mut house, &planner);
    assert_eq!(code(house.delegate(&planner, &helper(&other, 0))), "granted");
}

#[test]
fn a_hop_that_is_over_makes_room() {
    let (fleet, mut house, planner) = staffed();
    let root = issued(&fleet, &mut house, &planner);
    for number in 0..MOST {
        house.delegate(&planner, &helper(&root, number)).unwrap();
    }
    assert_eq!(house.state.followers(&root.id()), MOST);
    let over = house.state.expire(UnixMillis(i64::MAX), 100);
    let ledger = house.state.ledger();
    house.state.follow(over, ledger);
    assert_eq!(house.state.followers(&root.id()), 0);
}

/// Two callers that both see the last place: the committer holds the second against this.
#[test]
fn the_last_place_is_given_once() {
    let (fleet, mut house, planner) = staffed();
    let root = issued(&fleet, &mut house, &planner);
    let room = Precondition::FanOut(root.id(), MOST);
    for number in 0..MOST {
        assert!(house.state.meets(std::slice::from_ref(&room)));
        house.delegate(&planner, &helper(&root, number)).unwrap();
    }
    assert!(!house.state.meets(&[room]));
}

/// The same of the hops that one agent may have made: of two that both see the last place, one is recorded.
#[test]
fn the_last_hop_of_an_agent_is_recorded_once() {
    let (fleet, mut house, planner) = staffed();
    let root = issued(&fleet, &mut house, &planner);
    house.allow_hops(2);
    let [one, other] = [0, 1].map(|number| {
        let token = helper(&root, number).into();
        let decided = house.decided(&planner, &sublet_core::decide::Delegate { token });
        assert!(decided.outcome.is_ok());
        decided.effects.preconditions
    });
    assert!(house.state.meets(&one) && house.state.meets(&other));
    house.delegate(&planner, &helper(&root, 0)).unwrap();
    assert!(!house.state.meets(&other));
    assert_eq!(code(house.delegate(&planner, &helper(&root, 1))), "hops_full");
}
