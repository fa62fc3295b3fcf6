//! Revoke: by an admin anything, by a holder what it made or holds.

use sublet_core::decide::{Revoke, Target};
use sublet_core::feed::Revocation;
use sublet_core::sign::Signer as _;
use sublet_tests::{Fleet, House, agent, append, code, key, to_agent, to_helper};

const READ: &[&str] = &["fs.@tool://files path=under:/data"];

fn revoke(target: Target) -> Revoke {
    Revoke { target, reason: "done".into(), chain: None }
}

#[test]
fn a_hop_is_revoked_by_who_made_it_or_holds_it() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner", "reader", "writer"], &root);
    let planner = House::agent(&fleet, "planner");
    let reader = House::agent(&fleet, "reader");
    let writer = House::agent(&fleet, "writer");
    let hop = append(&root, &to_agent("reader", READ), "planner").unwrap();
    house.delegate(&planner, &hop).unwrap();
    let deeper = append(&hop, &to_helper("scout", READ), "reader").unwrap();
    house.delegate(&reader, &deeper).unwrap();
    assert_eq!(code(house.ask(&writer, &revoke(Target::Hop(hop.id())))), "not_yours_to_revoke");
    assert_eq!(code(house.ask(&planner, &revoke(Target::Hop(deeper.id())))), "not_yours_to_revoke");
    assert_eq!(code(house.ask(&reader, &revoke(Target::Hop(root.id())))), "not_yours_to_revoke");
    assert_eq!(code(house.ask(&reader, &revoke(Target::Hop(deeper.id())))), "granted", "made it");
    assert_eq!(code(house.ask(&reader, &revoke(Target::Hop(hop.id())))), "granted", "holds it");
    assert_eq!(
        code(house.ask(&reader, &revoke(Target::Hop(hop.id())))),
        "granted",
        "again is nothing"
    );
    assert!(house.state.revoked(&Revocation::Hop(hop.id())).is_some());
    assert_eq!(
        code(house.ask(&planner, &revoke(Target::Delegation(root.delegation())))),
        "granted"
    );
}

#[test]
fn an_unrecorded_hop_is_revoked_by_showing_its_chain() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner", "reader"], &root);
    let planner = House::agent(&fleet, "planner");
    let offline = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let bare = revoke(Target::Hop(offline.id()));
    assert_eq!(code(house.ask(&planner, &bare)), "not_yours_to_revoke", "nobody knows it");
    let shown = Revoke { chain: Some(offline.clone()), ..bare };
    assert_eq!(code(house.ask(&House::agent(&fleet, "reader"), &shown)), "not_yours_to_revoke");
    assert_eq!(code(house.ask(&planner, &shown)), "granted");
    assert!(house.state.revoked(&Revocation::Hop(offline.id())).is_some());
}

#[test]
fn agents_keys_and_principals_are_the_admins_to_revoke() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner"], &root);
    let planner = House::agent(&fleet, "planner");
    let admin = House::admin();
    let targets = || {
        [
            Target::Agent(agent("planner")),
            Target::Key(key("planner").public_key().thumbprint()),
            Target::Principal("user:alice@acme.example".parse().unwrap()),
        ]
    };
    for target in targets() {
        let words = target.to_string();
        assert_eq!(code(house.ask(&planner, &revoke(target))), "not_yours_to_revoke", "{words}");
    }
    for target in targets() {
        assert_eq!(code(house.ask(&admin, &revoke(target.clone()))), "granted", "{target}");
        assert_eq!(code(house.ask(&admin, &revoke(target))), "granted", "again is nothing");
    }
    let foreign = Target::Principal("user:alice@other.example".parse().unwrap());
    assert_eq!(code(house.ask(&admin, &revoke(foreign))), "not_found");
    let unknown = Target::Delegation(sublet_core::id::HopId([9; 32]));
    assert_eq!(code(house.ask(&admin, &revoke(unknown))), "not_found");
    // A key that is nobody's can be revoked before anyone comes with it.
    assert_eq!(
        code(house.ask(&admin, &revoke(Target::Key(key("x").public_key().thumbprint())))),
        "granted"
    );
}
