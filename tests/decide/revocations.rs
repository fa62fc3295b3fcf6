//! Revoke: by an admin anything, by a holder what it made or holds.

use sublet_core::base::sign::Signer as _;
use sublet_core::decide::{RestorePrincipal, Restored, Revoke, Target};
use sublet_core::evidence::record::Body;
use sublet_core::revocation::feed::{Delta, Revocation};
use sublet_core::state::Row;
use sublet_tests::{Fleet, House, NOW, agent, append, code, key, to_agent, to_helper};

use crate::{issue, staffed};

const READ: &[&str] = &["fs.@tool://files path=under:/data"];

fn revoke(target: Target) -> Revoke {
    Revoke { target, reason: "done".into(), chain: None }
}

// SPEC 7.2, 7.2.1.
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
    assert_eq!(code(house.ask(&writer, &revoke(Target::Hop(hop.id())))), "revoke_forbidden");
    assert_eq!(code(house.ask(&planner, &revoke(Target::Hop(deeper.id())))), "revoke_forbidden");
    assert_eq!(code(house.ask(&reader, &revoke(Target::Hop(root.id())))), "revoke_forbidden");
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
    assert_eq!(code(house.ask(&planner, &bare)), "revoke_forbidden", "nobody knows it");
    let shown = Revoke { chain: Some(offline.clone().into()), ..bare };
    assert_eq!(code(house.ask(&House::agent(&fleet, "reader"), &shown)), "revoke_forbidden");
    assert_eq!(code(house.ask(&planner, &shown)), "granted");
    assert!(house.state.revoked(&Revocation::Hop(offline.id())).is_some());
}

// SPEC 7.2, 7.2.1.
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
        assert_eq!(code(house.ask(&planner, &revoke(target))), "revoke_forbidden", "{words}");
    }
    for target in targets() {
        assert_eq!(code(house.ask(&admin, &revoke(target.clone()))), "granted", "{target}");
        assert_eq!(code(house.ask(&admin, &revoke(target))), "granted", "again is nothing");
    }
    let foreign = Target::Principal("user:alice@other.example".parse().unwrap());
    assert_eq!(code(house.ask(&admin, &revoke(foreign))), "not_found");
    let unknown = Target::Delegation(sublet_core::base::id::HopId([9; 32]));
    assert_eq!(code(house.ask(&admin, &revoke(unknown))), "not_found");
    // A key that is nobody's can be revoked before anyone comes with it.
    assert_eq!(
        code(house.ask(&admin, &revoke(Target::Key(key("x").public_key().thumbprint())))),
        "granted"
    );
}

/// The broker revokes what it does not know, and says that it does not know it.
// SPEC 7.3.3.
#[test]
fn what_no_record_is_of_is_revoked_and_said() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner"], &root);
    let helper = append(&root, &to_helper("scout", READ), "planner").unwrap();
    house.delegate(&House::agent(&fleet, "planner"), &helper).unwrap();
    let offline = append(&helper, &to_helper("deep", READ), "scout").unwrap();
    let admin = House::admin();
    let principal =
        |name: &str| Target::Principal(format!("user:{name}@acme.example").parse().unwrap());
    for (target, recorded) in [
        (Target::Hop(helper.id()), true),
        (Target::Hop(sublet_core::base::id::HopId([9; 32])), false),
        (Target::Delegation(root.delegation()), true),
        (Target::Agent(agent("planner")), true),
        (Target::Key(key("planner").public_key().thumbprint()), true),
        (Target::Key(key("scout").public_key().thumbprint()), true),
        (Target::Key(key("nobody").public_key().thumbprint()), false),
        (principal("alice"), true),
        (principal("bob"), false),
    ] {
        for _ in ["once", "again"] {
            assert_eq!(house.ask(&admin, &revoke(target.clone())).unwrap(), recorded, "{target}");
        }
    }
    // Where it is shown it is recorded first, and then there is a record.
    let mut house = House::with(&fleet, &["planner"], &root);
    house.delegate(&House::agent(&fleet, "planner"), &helper).unwrap();
    let shown = Revoke { chain: Some(offline.clone().into()), ..revoke(Target::Hop(offline.id())) };
    assert!(house.ask(&admin, &shown).unwrap());
}

/// What cannot be recorded is revoked by the admin's word alone; anyone else is told what to revoke instead.
// SPEC 7.2.1.
#[test]
fn a_shown_chain_that_cannot_be_recorded_is_revoked_by_the_admin_alone() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let offline = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let shown = Revoke { chain: Some(offline.clone().into()), ..revoke(Target::Hop(offline.id())) };
    let mut house = House::new(&fleet);
    house.enroll("planner", key("planner").public_key().clone());
    let dead = Revocation::Hop(offline.id());
    assert_eq!(code(house.ask(&House::agent(&fleet, "planner"), &shown)), "unknown_delegation");
    assert!(house.state.revoked(&dead).is_none());
    assert!(!house.ask(&House::admin(), &shown).unwrap(), "no record is of it");
    assert!(house.state.revoked(&dead).is_some());
}

/// A time and not a flag: what was issued up to the return of a principal stays revoked.
// SPEC 7.3.1.
#[test]
fn a_principal_comes_back_for_what_is_issued_anew_and_for_nothing_from_before() {
    let (fleet, mut house, planner) = staffed();
    let admin = House::admin();
    let alice: sublet_core::base::id::Principal = "user:alice@acme.example".parse().unwrap();
    let ends = || revoke(Target::Principal(alice.clone()));
    let restore = RestorePrincipal { principal: alice.clone(), reason: "a mistake".into() };
    let hop = |house: &mut House, root: &sublet_core::token::verify::VerifiedToken, label: &str| {
        let hop = append(root, &to_helper(label, READ), "planner").unwrap();
        code(house.delegate(&planner, &hop))
    };
    let issued = |house: &mut House| {
        house.ask(&planner, &issue()).map(|it| fleet.verify(&it.token).unwrap())
    };
    let before = issued(&mut house).unwrap();
    assert_eq!(hop(&mut house, &before, "a"), "granted");
    assert_eq!(code(house.ask(&admin, &restore)), "not_found", "it is not revoked");
    house.now = NOW.plus_ms(200);
    house.ask(&admin, &ends()).unwrap();
    assert!(!house.state.is_alive(&before.id()));
    assert_eq!(code(house.ask(&planner, &restore)), "forbidden");
    house.now = NOW.plus_ms(500);
    let (at, issues_from) = (house.now, NOW.plus_ms(1_000));
    assert_eq!(house.ask(&admin, &restore).unwrap(), Restored { at, issues_from });
    let record = house.records.last().unwrap();
    assert!(
        matches!(&record.body, Body::PrincipalRestored { principal, .. } if *principal == alice)
    );
    assert_eq!(code(house.ask(&admin, &restore)), "not_found", "it is back");
    // A token says whole seconds: in the second of the return it could not be told from one before.
    house.now = NOW.plus_ms(999);
    assert_eq!(code(house.ask(&planner, &issue())), "principal_revoked");
    house.now = issues_from;
    let after = issued(&mut house).unwrap();
    for (root, heard) in [(&before, "principal_revoked"), (&after, "granted")] {
        assert_eq!(hop(&mut house, root, "b"), heard);
        assert_eq!(house.state.is_alive(&root.id()), heard == "granted");
        let holder = House::caller(root, &key("planner"));
        assert_eq!(code(house.record(&holder, root)), heard);
    }
    // Revoked again it is revoked for all, and back again for what comes then.
    house.now = NOW.plus_ms(2_000);
    house.ask(&admin, &ends()).unwrap();
    assert_eq!(hop(&mut house, &after, "c"), "principal_revoked");
    assert_eq!(code(house.ask(&planner, &issue())), "principal_revoked");
    assert_eq!(code(house.ask(&admin, &restore)), "value_out_of_range", "not in the same moment");
    // The feed's floor rises: the first return is stated again, behind the second revocation.
    let back = Revocation::PrincipalRestored(alice.clone());
    let again = house.state.revoked(&back).unwrap().clone();
    let sequence = house.state.revocation_sequence() + 1;
    house.state.put(Row::Revocation(Delta { sequence, ..again }));
    assert_eq!(hop(&mut house, &after, "c"), "principal_revoked", "which lifts nothing");
    house.now = NOW.plus_ms(2_001);
    house.ask(&admin, &restore).unwrap();
    house.now = NOW.plus_ms(3_000);
    let last = issued(&mut house).unwrap();
    for (root, heard) in
        [(&before, "principal_revoked"), (&after, "principal_revoked"), (&last, "granted")]
    {
        assert_eq!(hop(&mut house, root, "d"), heard);
    }
    // With a clock that was set back nothing could be told apart.
    house.ask(&admin, &ends()).unwrap();
    house.now = NOW.plus_ms(2_500);
    assert_eq!(code(house.ask(&admin, &restore)), "value_out_of_range");
}
