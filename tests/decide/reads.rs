//! Reads: what a caller may not see answers like what does not exist.

use sublet_core::caller::Caller;
use sublet_core::decide::{
    Inspect, ListDelegations, LookupAgent, ReadAdmin, Replay, Revoke, Target, WatchFeed,
};
use sublet_core::sign::Signer as _;
use sublet_core::verify::VerifiedToken;
use sublet_tests::{Fleet, House, agent, append, code, key, to_helper};

use crate::{READ, staffed};

fn issue(fleet: &Fleet, house: &mut House, by: &Caller) -> VerifiedToken {
    fleet.verify(&house.ask(by, &crate::issue()).unwrap()).unwrap()
}

fn newcomer() -> Caller {
    let signature = key("new").sign(b"x").unwrap();
    Caller::new_key(key("new").public_key().clone(), b"x", &signature).unwrap()
}

#[test]
fn a_delegation_is_seen_by_the_admin_its_agent_and_its_holders() {
    let (fleet, mut house, planner) = staffed();
    house.enrol("reader", key("reader").public_key().clone());
    let reader = House::agent(&fleet, "reader");
    let token = issue(&fleet, &mut house, &planner);
    let helper = append(&token, &to_helper("scout", READ), "planner").unwrap();
    let scout = House::caller(&helper, &key("scout"));
    let replay = Replay { delegation: token.delegation() };
    let inspect = Inspect { token: token.clone() };
    for (who, sees) in [
        (&House::admin(), true),
        (&planner, true),
        (&scout, true),
        (&reader, false),
        (&newcomer(), false),
    ] {
        let expected = if sees { "granted" } else { "not_found" };
        assert_eq!(code(house.ask(who, &replay)), expected, "{who}");
        let list = house.ask(who, &ListDelegations { after: None, page_size: 0 });
        assert_eq!(list.map(|page| page.rows.len()).unwrap_or(0), usize::from(sees), "{who}");
    }
    assert_eq!(code(house.ask(&planner, &inspect)), "granted");
    assert_eq!(code(house.ask(&reader, &inspect)), "not_found");
    let other = Replay { delegation: sublet_core::id::HopId([9; 32]) };
    assert_eq!(code(house.ask(&planner, &other)), "not_found");
}

#[test]
fn inspect_tells_what_is_recorded_revoked_and_dead() {
    let (fleet, mut house, planner) = staffed();
    let token = issue(&fleet, &mut house, &planner);
    let chain = append(&token, &to_helper("scout", READ), "planner").unwrap();
    let ask = Inspect { token: chain.clone() };
    let (hops, dead) = house.ask(&planner, &ask).unwrap();
    assert_eq!(hops.iter().map(|hop| hop.index.is_some()).collect::<Vec<_>>(), [true, false]);
    assert!(hops.iter().all(|hop| !hop.revoked && !hop.expired));
    assert_eq!(dead, None);
    house.delegate(&planner, &chain).unwrap();
    let revoke = Revoke { target: Target::Hop(chain.id()), reason: "done".into(), chain: None };
    house.ask(&planner, &revoke).unwrap();
    let (hops, dead) = house.ask(&planner, &ask).unwrap();
    assert_eq!(hops.iter().map(|hop| hop.revoked).collect::<Vec<_>>(), [false, true]);
    assert!(dead.unwrap().contains("hop 1"));
}

#[test]
fn a_list_is_paged_without_a_gap() {
    let (fleet, mut house, planner) = staffed();
    let mut all: Vec<_> =
        (0..7).map(|_| issue(&fleet, &mut house, &planner).delegation()).collect();
    all.sort();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = house.ask(&planner, &ListDelegations { after, page_size: 3 }).unwrap();
        assert!(page.rows.len() <= 3);
        seen.extend(page.rows.iter().map(|row| row.delegation.id));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, all);
}

#[test]
fn agents_are_looked_up_by_anyone_and_the_admins_reads_are_the_admins() {
    let (_, mut house, planner) = staffed();
    let row = house.ask(&planner, &LookupAgent { agent: agent("planner") }).unwrap();
    assert_eq!(row.key.as_ref(), Some(key("planner").public_key()));
    assert_eq!(code(house.ask(&planner, &LookupAgent { agent: agent("nobody") })), "unknown_agent");
    assert_eq!(code(house.ask(&planner, &ReadAdmin { what: "status" })), "not_permitted");
    assert_eq!(code(house.ask(&House::admin(), &ReadAdmin { what: "status" })), "granted");
    assert_eq!(code(house.ask(&planner, &WatchFeed)), "granted");
    assert_eq!(code(house.ask(&newcomer(), &WatchFeed)), "not_permitted");
}
