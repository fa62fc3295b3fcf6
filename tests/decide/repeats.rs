//! An answer that is asked for again: which is still one, and who may be given it.

use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    Enroll, ListDelegations, Operation, PageOf, Renew, ResumeAgent, RotateKey, SuspendAgent,
    check_repeats, keeps_an_identity,
};
use sublet_tests::{Fleet, House, NOW, agent, code, key};

use crate::staffed;

/// The agent's next identity, and the agent with it.
fn renewed(fleet: &Fleet, house: &mut House, by: &Caller) -> (Vec<u8>, Caller) {
    let identity = house.ask(by, &Renew).unwrap().to_vec();
    let caller = House::caller(&fleet.verify(&identity).unwrap(), &key("planner"));
    (identity, caller)
}

fn rotate(to: &str) -> RotateKey {
    RotateKey { new_key: key(to).public_key().clone() }
}

fn holds(house: &House, identity: &[u8]) -> bool {
    let given = identity.to_vec().into();
    let holds = house.view(|view| Renew::still_holds(&given, view));
    assert_eq!(house.view(|view| RotateKey::still_holds(&given, view)), holds);
    assert_eq!(house.view(|view| Enroll::still_holds(&given, view)), holds);
    holds
}

#[test]
fn an_identity_is_an_answer_until_another_takes_its_place() {
    let (fleet, mut house, planner) = staffed();
    let (first, planner) = renewed(&fleet, &mut house, &planner);
    assert!(holds(&house, &first));
    let (second, planner) = renewed(&fleet, &mut house, &planner);
    assert!(!holds(&house, &first) && holds(&house, &second));
    house.ask(&planner, &rotate("planner 2")).unwrap();
    assert!(!holds(&house, &second), "it is of the key of before");
    assert!(!holds(&house, b"no token"));
}

#[test]
fn a_suspended_agent_is_given_no_identity_again() {
    let (fleet, mut house, planner) = staffed();
    let (identity, _) = renewed(&fleet, &mut house, &planner);
    let suspend = SuspendAgent { agent: agent("planner"), reason: String::new() };
    house.ask(&House::admin(), &suspend).unwrap();
    assert!(!holds(&house, &identity));
    house.ask(&House::admin(), &ResumeAgent { agent: agent("planner") }).unwrap();
    assert!(holds(&house, &identity));
}

#[test]
fn what_gives_an_identity_names_it_among_its_answers() {
    let given = b"identity".to_vec().into();
    assert_eq!(Renew::identity(&given), Some(b"identity".as_slice()));
    assert_eq!(RotateKey::identity(&given), Some(b"identity".as_slice()));
    assert_eq!(Enroll::identity(&given), Some(b"identity".as_slice()));
    assert!(keeps_an_identity(Renew::METHOD) && keeps_an_identity(RotateKey::METHOD));
    assert!(!keeps_an_identity("/sublet.v1.Delegation/Issue"));
}

/// The code of a refusal to give an answer again, as of now.
fn again(house: &House, caller: &Caller, method: &str) -> &'static str {
    code(house.view(|view| check_repeats(view, caller, method, house.now)))
}

#[test]
fn a_rotation_is_answered_again_under_the_key_of_before_and_nothing_else_is() {
    let (fleet, mut house, planner) = staffed();
    let (_, planner) = renewed(&fleet, &mut house, &planner);
    assert_eq!(again(&house, &planner, Renew::METHOD), "granted");
    house.ask(&planner, &rotate("planner 2")).unwrap();
    house.now = house.now.plus_ms(600_000);
    assert_eq!(again(&house, &planner, RotateKey::METHOD), "granted");
    let other = again(&house, &planner, Renew::METHOD);
    assert_ne!(other, "granted");
    // A key that was never the agent's is not that of before.
    let stranger = House::caller(&fleet.identity("planner"), &key("planner"));
    house.enroll("planner", key("planner 3").public_key().clone());
    assert_eq!(again(&house, &stranger, RotateKey::METHOD), other);
}

/// When an identity says that it was issued.
fn issued_at(fleet: &Fleet, identity: &[u8]) -> i64 {
    fleet.verify(identity).unwrap().root().role.origin().unwrap().issued_at
}

#[test]
fn an_identity_is_no_older_than_the_one_in_whose_place_it_comes() {
    let (fleet, mut house, planner) = staffed();
    house.now = NOW.plus_ms(5_000);
    let (first, planner) = renewed(&fleet, &mut house, &planner);
    assert_eq!(issued_at(&fleet, &first), NOW.seconds() + 5);
    // The clock was set back; the one that is shown must pass for no younger one.
    house.now = NOW;
    let (second, planner) = renewed(&fleet, &mut house, &planner);
    assert_eq!(issued_at(&fleet, &second), NOW.seconds() + 5);
    let rotated = house.ask(&planner, &rotate("planner 2")).unwrap();
    assert_eq!(issued_at(&fleet, &rotated), NOW.seconds() + 5);
}

#[test]
fn whoever_asks_for_an_identity_under_a_key_of_before_has_a_copy() {
    let (fleet, mut house, planner) = staffed();
    let (_, planner) = renewed(&fleet, &mut house, &planner);
    house.ask(&planner, &rotate("planner 2")).unwrap();
    house.now = house.now.plus_ms(600_000);
    assert_eq!(code(house.ask(&planner, &Renew)), "identity_cloned");
    let list = ListDelegations(PageOf { after: None, size: 0 });
    assert_eq!(code(house.ask(&planner, &list)), "agent_suspended");
}
