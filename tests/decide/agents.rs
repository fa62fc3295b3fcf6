//! Agents, join tokens, profiles, keys: what an admin may, and nobody else.

use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    ApplyProfile, CreateAgent, CreateJoinToken, Credential, Enroll, Renew, ResumeAgent,
    RevokeAgentKey, RevokeJoinToken, RotateKey, SuspendAgent, join_token_hash,
};
use sublet_core::revocation::feed::Revocation;
use sublet_core::state::{AgentState, Precondition, Row, RowKey};
use sublet_tests::{House, agent, code, key};

use crate::{created, profile, staffed};

/// One thing asked otherwise.
type Change<'a> = &'a dyn Fn(&mut CreateAgent);

fn newcomer(name: &str) -> Caller {
    let key = key(name);
    let signature = key.sign(b"enrol").unwrap();
    Caller::new_key(key.public_key().clone(), b"enrol", &signature).unwrap()
}

fn enroll(id: &str, join_token: &str) -> Enroll {
    let credential = Credential::JoinToken { id: id.into(), hash: join_token_hash(join_token) };
    Enroll { credential, agent: None }
}

#[test]
fn a_join_token_opens_once_for_its_agent() {
    let (fleet, mut house, _) = staffed();
    let invited = created(&mut house, "reader");
    assert_eq!(house.state.agent(&agent("reader")).unwrap().state, AgentState::Invited);
    assert!(!format!("{invited:?}").contains(&invited.join_token), "a secret is not shown");
    let ask = enroll(&invited.id, &invited.join_token);
    assert_eq!(code(house.ask(&House::admin(), &ask)), "forbidden");
    assert_eq!(
        code(house.ask(&newcomer("reader"), &enroll("nobody", &invited.join_token))),
        "join_token"
    );
    assert_eq!(
        code(house.ask(&newcomer("reader"), &enroll(&invited.id, "sublet-join1.x.y"))),
        "join_token"
    );
    let mut over = house.state.join_token(&invited.id).unwrap().clone();
    let open = over.clone();
    over.expires_at = sublet_tests::NOW;
    house.state.put(Row::JoinToken(over));
    assert_eq!(
        code(house.ask(&newcomer("reader"), &ask)),
        "join_token_expired",
        "to the millisecond"
    );
    house.state.put(Row::JoinToken(open));
    let other = Enroll { agent: Some(agent("writer")), ..ask.clone() };
    assert_eq!(code(house.ask(&newcomer("reader"), &other)), "join_token_of_another");
    assert_eq!(
        code(house.ask(&newcomer("planner"), &ask)),
        "key_in_use",
        "a key is one agent's, ever"
    );
    // Of two who show it at once the second finds it changed.
    let before = house.decided(&newcomer("reader"), &ask).effects.preconditions;
    assert!(house.state.meets(&before));
    let identity = house.ask(&newcomer("reader"), &ask).unwrap();
    let of_token = before
        .into_iter()
        .filter(|guard| matches!(guard, Precondition::Version(RowKey::JoinToken(_), _)));
    let of_token: Vec<Precondition> = of_token.collect();
    assert!(of_token.len() == 1 && !house.state.meets(&of_token));
    assert!(fleet.verify(&identity).unwrap().is_identity());
    assert_eq!(house.state.agent(&agent("reader")).unwrap().state, AgentState::Active);
    assert_eq!(code(house.ask(&newcomer("second"), &ask)), "join_token_used");
}

/// An identity under a revoked key is dead, and the join token would be spent for it.
#[test]
fn a_key_that_was_revoked_becomes_no_agents() {
    let (_, mut house, planner) = staffed();
    let invited = created(&mut house, "reader");
    let ask = enroll(&invited.id, &invited.join_token);
    let rotate = RotateKey { new_key: key("reader").public_key().clone() };
    let decided = house.decided(&planner, &rotate).effects.preconditions;
    house.revoked(Revocation::AgentKey(key("reader").public_key().thumbprint()));
    assert!(!house.state.meets(&decided), "it is asked again at the commit");
    assert_eq!(code(house.ask(&newcomer("reader"), &ask)), "key_revoked");
    assert_eq!(code(house.ask(&planner, &rotate)), "key_revoked");
    assert_eq!(code(house.ask(&newcomer("another"), &ask)), "granted");
}

#[test]
fn only_the_admin_creates_and_only_what_can_be() {
    let (_, mut house, planner) = staffed();
    let ask =
        CreateAgent { agent: agent("reader"), profile: "default".into(), join_ttl_seconds: 600 };
    assert_eq!(code(house.ask(&planner, &ask)), "forbidden");
    assert_eq!(code(house.ask(&newcomer("x"), &ask)), "forbidden");
    let with = |change: &dyn Fn(&mut CreateAgent)| {
        let mut ask = ask.clone();
        change(&mut ask);
        ask
    };
    let admin = House::admin();
    let cases: [(Change<'_>, &str); 6] = [
        (
            &|ask| ask.agent = "spiffe://other.example/agent/x".parse().unwrap(),
            "value_out_of_range",
        ),
        (&|ask| ask.agent = "spiffe://acme.example/sublet".parse().unwrap(), "value_out_of_range"),
        (&|ask| ask.profile = "nope".into(), "unknown_profile"),
        (&|ask| ask.join_ttl_seconds = 0, "value_out_of_range"),
        (&|ask| ask.join_ttl_seconds = 86_401, "value_out_of_range"),
        (&|ask| ask.agent = agent("planner"), "already_exists"),
    ];
    for (change, expected) in cases {
        assert_eq!(code(house.ask(&admin, &with(change))), expected);
    }
    assert_eq!(code(house.ask(&admin, &ask)), "granted");
}

#[test]
fn join_tokens_are_made_anew_and_revoked() {
    let (_, mut house, planner) = staffed();
    let admin = House::admin();
    let first = created(&mut house, "reader");
    let more = CreateJoinToken { agent: agent("reader"), ttl_seconds: 60 };
    assert_eq!(code(house.ask(&planner, &more)), "forbidden");
    let second = house.ask(&admin, &more).unwrap();
    let unknown = CreateJoinToken { agent: agent("nobody"), ttl_seconds: 60 };
    assert_eq!(code(house.ask(&admin, &unknown)), "unknown_agent");
    let revoke = |id: &str| RevokeJoinToken { id: id.into() };
    assert_eq!(code(house.ask(&planner, &revoke(&first.id))), "forbidden");
    assert_eq!(code(house.ask(&admin, &revoke("nobody"))), "not_found");
    assert_eq!(code(house.ask(&admin, &revoke(&first.id))), "granted");
    assert_eq!(code(house.ask(&admin, &revoke(&first.id))), "granted", "revoked is revoked");
    assert_eq!(
        code(house.ask(&newcomer("reader"), &enroll(&first.id, &first.join_token))),
        "join_token_revoked"
    );
    assert_eq!(
        code(house.ask(&newcomer("reader"), &enroll(&second.id, &second.join_token))),
        "granted"
    );
    assert_eq!(code(house.ask(&admin, &revoke(&second.id))), "join_token_used");
}

#[test]
fn a_profile_is_checked_before_it_is_published_and_counts_its_versions() {
    let (_, mut house, planner) = staffed();
    let admin = House::admin();
    let apply = |change: &dyn Fn(&mut sublet_core::state::Profile)| {
        let mut profile = profile("ops");
        change(&mut profile);
        ApplyProfile { profile }
    };
    assert_eq!(code(house.ask(&planner, &apply(&|_| {}))), "forbidden");
    let bad: [&dyn Fn(&mut sublet_core::state::Profile); 6] = [
        &|profile| profile.name = String::new(),
        &|profile| profile.name = "Ops".into(),
        &|profile| profile.ttl_seconds_max = 0,
        &|profile| profile.ttl_seconds_max = 7 * 86_400 + 1,
        &|profile| profile.hops_max = 65,
        &|profile| profile.offline_hops_max = 5,
    ];
    for change in bad {
        assert_eq!(code(house.ask(&admin, &apply(change))), "value_out_of_range");
    }
    for name in ["team-7", "7", "-", &"n".repeat(63)] {
        let named = apply(&|profile: &mut sublet_core::state::Profile| profile.name = name.into());
        assert_eq!(code(house.ask(&admin, &named)), "granted", "{name}");
    }
    house.ask(&admin, &apply(&|_| {})).unwrap();
    house.ask(&admin, &apply(&|_| {})).unwrap();
    assert_eq!(house.state.profile("ops").unwrap().version, 0, "the same again changes nothing");
    house.ask(&admin, &apply(&|profile| profile.ttl_seconds_max = 60)).unwrap();
    assert_eq!(house.state.profile("ops").unwrap().version, 1);
}

// SPEC 3.7.1, 5.4.1.
#[test]
fn an_agent_is_suspended_and_resumed() {
    let (_, mut house, planner) = staffed();
    let admin = House::admin();
    let suspend = SuspendAgent { agent: agent("planner"), reason: "odd".into() };
    let resume = ResumeAgent { agent: agent("planner") };
    assert_eq!(code(house.ask(&planner, &suspend)), "forbidden");
    assert_eq!(code(house.ask(&planner, &resume)), "forbidden");
    assert_eq!(code(house.ask(&admin, &resume)), "granted", "it is not suspended");
    house.ask(&admin, &suspend).unwrap();
    assert_eq!(code(house.ask(&admin, &suspend)), "granted", "it is already");
    assert_eq!(code(house.ask(&planner, &Renew)), "agent_suspended");
    house.ask(&admin, &resume).unwrap();
    assert_eq!(code(house.ask(&planner, &Renew)), "granted");
    let nobody = SuspendAgent { agent: agent("nobody"), reason: "odd".into() };
    assert_eq!(code(house.ask(&admin, &nobody)), "unknown_agent");
}

#[test]
fn a_revoked_key_never_comes_back() {
    let (_, mut house, planner) = staffed();
    let admin = House::admin();
    let revoke = RevokeAgentKey { agent: agent("planner"), reason: "leaked".into() };
    assert_eq!(code(house.ask(&planner, &revoke)), "forbidden");
    house.ask(&admin, &revoke).unwrap();
    assert_eq!(code(house.ask(&admin, &revoke)), "not_found", "it has none now");
    assert_eq!(code(house.ask(&planner, &Renew)), "key_revoked");
    let more = CreateJoinToken { agent: agent("planner"), ttl_seconds: 60 };
    let invited = house.ask(&admin, &more).unwrap();
    let ask = enroll(&invited.id, &invited.join_token);
    assert_eq!(code(house.ask(&newcomer("planner"), &ask)), "key_in_use");
    assert_eq!(code(house.ask(&newcomer("planner-2"), &ask)), "granted");
    assert_eq!(house.state.agent(&agent("planner")).unwrap().state, AgentState::Active);
}

#[test]
fn a_key_is_rotated_to_one_that_is_nobodys() {
    let (fleet, mut house, planner) = staffed();
    house.enroll("reader", key("reader").public_key().clone());
    let rotate = |name: &str| RotateKey { new_key: key(name).public_key().clone() };
    assert_eq!(code(house.ask(&planner, &rotate("reader"))), "key_in_use");
    assert_eq!(code(house.ask(&planner, &rotate("planner"))), "key_in_use");
    assert_eq!(code(house.ask(&House::admin(), &rotate("new"))), "forbidden");
    let identity = house.ask(&planner, &rotate("new")).unwrap();
    assert_eq!(fleet.verify(&identity).unwrap().holder_key(), key("new").public_key());
    let look = sublet_core::decide::GetAgentKey { agent: agent("reader") };
    // What was asked while the key changed is no less asked by the agent; a minute later it is.
    assert_eq!(code(house.ask(&planner, &look)), "granted");
    let mut row = house.state.agent(&agent("planner")).unwrap().clone();
    row.former.as_mut().unwrap().until = sublet_tests::NOW.plus_ms(-60_000);
    house.state.put(sublet_core::state::Row::Agent(row));
    assert_eq!(code(house.ask(&planner, &look)), "not_the_agents_key", "the old identity is over");
}
