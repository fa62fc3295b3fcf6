//! Reads: what a caller may not see answers like what does not exist.

use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    ApplyProfile, GetAgent, GetAgentKey, GetInclusionProof, GetProfile, GetStatus, GrantSession,
    Inspect, Inspected, ListAgents, ListDelegations, ListJoinTokens, ListProfiles, ListSessions,
    PageOf, Replay, Revoke, Target, WatchFeed,
};
use sublet_core::evidence::record::Body;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, House, agent, append, code, key, to_helper};

use crate::{READ, created, profile, staffed};

fn issue(fleet: &Fleet, house: &mut House, by: &Caller) -> VerifiedToken {
    fleet.verify(&house.ask(by, &crate::issue()).unwrap().token).unwrap()
}

fn newcomer() -> Caller {
    let signature = key("new").sign(b"x").unwrap();
    Caller::new_key(key("new").public_key().clone(), b"x", &signature).unwrap()
}

#[test]
fn a_delegation_is_seen_by_the_admin_its_agent_and_its_holders() {
    let (fleet, mut house, planner) = staffed();
    house.enroll("reader", key("reader").public_key().clone());
    let reader = House::agent(&fleet, "reader");
    let token = issue(&fleet, &mut house, &planner);
    let helper = append(&token, &to_helper("scout", READ), "planner").unwrap();
    let scout = House::caller(&helper, &key("scout"));
    let replay = Replay { delegation: token.delegation() };
    let inspect = Inspect { token: token.clone().into() };
    for (who, sees) in [
        (&House::admin(), true),
        (&planner, true),
        (&scout, true),
        (&reader, false),
        (&newcomer(), false),
    ] {
        let expected = if sees { "granted" } else { "not_found" };
        assert_eq!(code(house.ask(who, &replay)), expected, "{who}");
        let list = house.ask(who, &ListDelegations(PageOf { after: None, size: 0 }));
        assert_eq!(list.map(|page| page.rows.len()).unwrap_or(0), usize::from(sees), "{who}");
    }
    assert_eq!(code(house.ask(&planner, &inspect)), "granted");
    assert_eq!(code(house.ask(&reader, &inspect)), "not_found");
    assert_eq!(code(house.ask(&scout, &inspect)), "not_found", "its hop is not of this chain");
    let other = Replay { delegation: sublet_core::base::id::HopId([9; 32]) };
    assert_eq!(code(house.ask(&planner, &other)), "not_found");
}

#[test]
fn a_holder_inspects_its_own_chain_and_no_other() {
    let (fleet, mut house, planner) = staffed();
    let [one, other] = [(); 2].map(|()| issue(&fleet, &mut house, &planner));
    let longer = append(&one, &to_helper("scout", READ), "planner").unwrap();
    for (chain, of_one, of_other) in [
        (&one, "granted", "not_found"),
        (&longer, "granted", "not_found"),
        (&other, "not_found", "granted"),
    ] {
        let inspect = Inspect { token: chain.clone().into() };
        for (token, expected) in [(&one, of_one), (&other, of_other)] {
            let holder = House::caller(token, &key("planner"));
            assert_eq!(code(house.ask(&holder, &inspect)), expected);
        }
    }
}

#[test]
fn inspect_tells_what_is_recorded_revoked_and_dead() {
    let (fleet, mut house, planner) = staffed();
    let token = issue(&fleet, &mut house, &planner);
    let chain = append(&token, &to_helper("scout", READ), "planner").unwrap();
    let ask = Inspect { token: chain.clone().into() };
    let Inspected { hops, dead } = house.ask(&planner, &ask).unwrap();
    assert_eq!(hops.iter().map(|hop| hop.index.is_some()).collect::<Vec<_>>(), [true, false]);
    assert!(hops.iter().all(|hop| !hop.revoked && !hop.expired));
    assert_eq!(dead, None);
    house.delegate(&planner, &chain).unwrap();
    let revoke = Revoke { target: Target::Hop(chain.id()), reason: "done".into(), chain: None };
    house.ask(&planner, &revoke).unwrap();
    let Inspected { hops, dead } = house.ask(&planner, &ask).unwrap();
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
        let page = house.ask(&planner, &ListDelegations(PageOf { after, size: 3 })).unwrap();
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
    let row = house.ask(&planner, &GetAgentKey { agent: agent("planner") }).unwrap();
    assert_eq!(row.key.as_ref(), Some(key("planner").public_key()));
    assert_eq!(code(house.ask(&planner, &GetAgentKey { agent: agent("nobody") })), "unknown_agent");
    assert_eq!(code(house.ask(&planner, &WatchFeed)), "granted");
    assert_eq!(code(house.ask(&newcomer(), &WatchFeed)), "forbidden");
}

fn first<K>() -> PageOf<K> {
    PageOf { after: None, size: 0 }
}

#[test]
fn what_the_admin_reads_nobody_else_does() {
    let (_, mut house, planner) = staffed();
    for (who, expected) in [(&House::admin(), "granted"), (&planner, "forbidden")] {
        assert_eq!(code(house.ask(who, &GetStatus)), expected);
        assert_eq!(code(house.ask(who, &GetAgent { agent: agent("planner") })), expected);
        assert_eq!(code(house.ask(who, &GetProfile { name: "default".into() })), expected);
        assert_eq!(code(house.ask(who, &ListAgents(first()))), expected);
        assert_eq!(code(house.ask(who, &ListProfiles(first()))), expected);
        assert_eq!(code(house.ask(who, &ListJoinTokens(first()))), expected);
        assert_eq!(code(house.ask(who, &ListSessions(first()))), expected);
    }
    let unknown = GetAgent { agent: agent("nobody") };
    assert_eq!(code(house.ask(&House::admin(), &unknown)), "unknown_agent");
    let unknown = GetProfile { name: "none".into() };
    assert_eq!(code(house.ask(&House::admin(), &unknown)), "not_found");
}

#[test]
fn each_list_has_what_was_made_in_order_and_from_where_it_is_asked_for() {
    let (_, mut house, _) = staffed();
    let admin = House::admin();
    house.ask(&admin, &ApplyProfile { profile: profile("ops") }).unwrap();
    let mut tokens = ["reader", "writer"].map(|name| created(&mut house, name).id);
    tokens.sort();
    let mut sessions = [(); 2].map(|()| {
        let grant = GrantSession {
            agent: agent("planner"),
            principal: "user:alice@acme.example".parse().unwrap(),
            ttl_seconds: 60,
            reason: "on call".into(),
        };
        house.ask(&admin, &grant).unwrap().id
    });
    sessions.sort();
    for from in [0, 1] {
        let after = |name: &str| PageOf { after: (from > 0).then(|| name.to_owned()), size: 0 };
        let page = house.ask(&admin, &ListProfiles(after("default"))).unwrap();
        let names: Vec<_> = page.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["default", "ops"][from..]);
        let page = house.ask(&admin, &ListJoinTokens(after(&tokens[0]))).unwrap();
        assert_eq!(page.rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), tokens[from..]);
        let after = (from > 0).then_some(sessions[0]);
        let page = house.ask(&admin, &ListSessions(PageOf { after, size: 0 })).unwrap();
        assert_eq!(
            page.rows.iter().map(|row| row.session.id).collect::<Vec<_>>(),
            sessions[from..]
        );
    }
}

/// The next page begins behind the last row, also where that row is gone meanwhile.
#[test]
fn a_page_begins_behind_a_row_that_is_gone() {
    let (_, mut house, _) = staffed();
    let admin = House::admin();
    for name in ["a", "b", "c", "d"] {
        house.enroll(name, key(name).public_key().clone());
    }
    let after = Some(agent("b"));
    let page = house.ask(&admin, &ListAgents(PageOf { after, size: 1 })).unwrap();
    assert_eq!(page.rows.iter().map(|row| &row.id).collect::<Vec<_>>(), [&agent("c")]);
    assert_eq!(page.next, Some(agent("c")));
    let after = Some(agent("bb"));
    let page = house.ask(&admin, &ListAgents(PageOf { after, size: 1 })).unwrap();
    assert_eq!(page.rows.iter().map(|row| &row.id).collect::<Vec<_>>(), [&agent("c")]);
}

#[test]
fn where_hops_are_recorded_is_shown_to_whoever_may_inspect_them() {
    let (fleet, mut house, planner) = staffed();
    house.enroll("reader", key("reader").public_key().clone());
    let token = issue(&fleet, &mut house, &planner);
    let chain = append(&token, &to_helper("scout", READ), "planner").unwrap();
    let prove = GetInclusionProof { token: chain.clone().into() };
    assert_eq!(code(house.ask(&planner, &prove)), "hop_not_found");
    house.delegate(&planner, &chain).unwrap();
    assert_eq!(house.ask(&planner, &prove).unwrap().len(), 2);
    assert_eq!(code(house.ask(&House::agent(&fleet, "reader"), &prove)), "not_found");
}

// SPEC 8.3.
#[test]
fn a_refusal_of_a_caller_that_is_alive_is_recorded_with_what_was_asked() {
    let (_, mut house, planner) = staffed();
    let before = house.records.len();
    assert_eq!(code(house.ask(&planner, &GetAgent { agent: agent("planner") })), "forbidden");
    let [record] = &house.records[before..] else { panic!("one record of one refusal") };
    let Body::Refused { method, code, asked, .. } = &record.body else { panic!("{record:?}") };
    assert_eq!((*method, *code), ("/sublet.v1.Admin/GetAgent", "forbidden"));
    assert!(asked.contains("agent/planner"), "{asked}");
    assert_eq!(house.last_actor(), Some("spiffe://acme.example/agent/planner"));
}

// SPEC 8.3.
#[test]
fn the_refusal_of_a_holder_is_recorded_in_its_delegation() {
    let (fleet, mut house, planner) = staffed();
    let token = issue(&fleet, &mut house, &planner);
    let holder = House::caller(&token, &key("planner"));
    for (who, delegation) in [(&holder, Some(token.delegation())), (&planner, None)] {
        assert_eq!(code(house.ask(who, &GetStatus)), "forbidden");
        assert_eq!(house.records.last().unwrap().delegation, delegation, "{who}");
    }
}
