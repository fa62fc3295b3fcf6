//! Which agent a workload is, by somebody else's word: once, by one rule, and never a suspended one.

use std::collections::BTreeMap;

use sublet_core::base::id::UnixMillis;
use sublet_core::base::json::Json;
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{ApplyProfile, Credential, Enroll, Renew, RevokeAgentKey, SuspendAgent};
use sublet_core::evidence::workload::{Attested, EnrollRule};
use sublet_core::state::{AgentState, LastIdentity, Profile, Row};
use sublet_tests::{House, agent, code, key};

use crate::{profile, staffed};

const ISSUER: &str = "https://ci.example";

fn newcomer(name: &str) -> Caller {
    let key = key(name);
    let signature = key.sign(b"enrol").unwrap();
    Caller::new_key(key.public_key().clone(), b"enrol", &signature).unwrap()
}

fn rule(claims: &[(&str, &str)], agent: &str, rekey: bool) -> EnrollRule {
    let claims = claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    EnrollRule { issuer: ISSUER.into(), claims: claims.collect(), agent: agent.into(), rekey }
}

fn with(name: &str, rules: Vec<EnrollRule>) -> Profile {
    Profile { enroll: rules, ..profile(name) }
}

/// A token of the CI system, the `id`th, about a run of the repository 42.
fn shown(id: u8) -> Enroll {
    let claims =
        br#"{"iss":"https://ci.example","sub":"repo:acme/app","repository_id":"42","ref":"main"}"#;
    let attested = Attested {
        method: "jwt",
        issuer: ISSUER.into(),
        claims: Json::parse(claims).unwrap(),
        id: [id; 32],
        once: true,
        expires_at: UnixMillis(i64::MAX),
    };
    Enroll { credential: Credential::Attested(Box::new(attested)), agent: None }
}

fn ci(rekey: bool) -> Profile {
    with(
        "ci",
        vec![rule(&[("repository_id", "42"), ("ref", "main")], "agent/ci/{repository_id}", rekey)],
    )
}

fn apply(house: &mut House, profile: Profile) {
    assert_eq!(code(house.ask(&House::admin(), &ApplyProfile { profile })), "granted");
}

#[test]
fn a_workload_that_a_rule_means_is_an_agent_with_that_profile() {
    let (fleet, mut house, _) = staffed();
    assert_eq!(
        code(house.ask(&newcomer("one"), &shown(1))),
        "not_enrollable",
        "nobody is, unasked"
    );
    apply(&mut house, ci(false));
    assert_eq!(code(house.ask(&House::admin(), &shown(1))), "forbidden", "not by another key");
    let identity = house.ask(&newcomer("one"), &shown(1)).unwrap();
    let identity = fleet.verify(&identity).unwrap();
    assert_eq!(identity.root().agent, agent("ci/42"));
    let row = house.state.agent(&agent("ci/42")).unwrap();
    assert_eq!((row.profile.as_str(), row.state), ("ci", AgentState::Active));
    assert_eq!(row.key.as_ref(), Some(key("one").public_key()));
}

#[test]
fn an_agent_that_never_heard_of_its_enrolment_comes_in_again_by_the_same_key() {
    let (fleet, mut house, _) = staffed();
    apply(&mut house, ci(false));
    let lost = house.ask(&newcomer("one"), &shown(1)).unwrap();
    // It has another token by now; the one of before is spent.
    assert_eq!(code(house.ask(&newcomer("one"), &shown(1))), "credential_used");
    let identity = house.ask(&newcomer("one"), &shown(2)).unwrap();
    let (lost, identity) = (fleet.verify(&lost).unwrap(), fleet.verify(&identity).unwrap());
    assert_eq!(identity.holder_key(), key("one").public_key());
    assert_ne!(lost.id(), identity.id());
    assert_eq!(
        code(house.ask(&newcomer("two"), &shown(3))),
        "agent_not_active",
        "by that key alone"
    );
    // A key that was revoked is nobody's way in, the agent's own neither.
    let revoke = RevokeAgentKey { agent: agent("ci/42"), reason: "stolen".into() };
    assert_eq!(code(house.ask(&House::admin(), &revoke)), "granted");
    assert_eq!(code(house.ask(&newcomer("one"), &shown(4))), "key_in_use");
    assert_eq!(code(house.ask(&newcomer("two"), &shown(4))), "granted");
    assert_eq!(code(house.ask(&newcomer("one"), &shown(5))), "agent_not_active");
}

/// Somebody sends an old request again, which needs no key; or the first answer was lost. Whoever has the
/// key goes on, with either identity, and two who have it show.
#[test]
fn an_old_request_that_is_sent_again_makes_no_copy_of_anyone() {
    for goes_on in [0, 1] {
        let (fleet, mut house, _) = staffed();
        apply(&mut house, ci(false));
        let given = [shown(1), shown(2)].map(|by| {
            let identity = house.ask(&newcomer("one"), &by).unwrap();
            House::caller(&fleet.verify(&identity).unwrap(), &key("one"))
        });
        let (owner, other) = (&given[goes_on], &given[1 - goes_on]);
        assert_eq!(code(house.ask(owner, &Renew)), "granted");
        let mut row = house.state.agent(&agent("ci/42")).unwrap().clone();
        assert_eq!(row.state, AgentState::Active);
        if goes_on == 0 {
            // That was a second later than in this house, where time stands still.
            let later = |last: LastIdentity| LastIdentity { issued_at: last.issued_at + 1, ..last };
            row.identity = row.identity.map(later);
            house.state.put(Row::Agent(row));
        }
        assert_eq!(code(house.ask(other, &Renew)), "identity_cloned");
    }
}

#[test]
fn a_token_enrols_once_and_an_agent_comes_in_again_only_where_its_rule_says_so() {
    let (_, mut house, _) = staffed();
    apply(&mut house, ci(false));
    house.ask(&newcomer("one"), &shown(1)).unwrap();
    assert_eq!(code(house.ask(&newcomer("two"), &shown(1))), "credential_used");
    assert_eq!(code(house.ask(&newcomer("two"), &shown(2))), "agent_not_active", "it is there");
    apply(&mut house, ci(true));
    house.ask(&newcomer("two"), &shown(2)).unwrap();
    assert_eq!(code(house.ask(&newcomer("three"), &shown(2))), "credential_used");
    assert_eq!(code(house.ask(&newcomer("one"), &shown(3))), "key_in_use", "also its own old one");
    let suspend = SuspendAgent { agent: agent("ci/42"), reason: "x".into() };
    house.ask(&House::admin(), &suspend).unwrap();
    assert_eq!(
        code(house.ask(&newcomer("four"), &shown(4))),
        "agent_not_active",
        "suspended it stays"
    );
}

#[test]
fn what_is_not_clear_enrols_nobody() {
    let (_, mut house, _) = staffed();
    apply(&mut house, ci(true));
    let asked = Enroll { agent: Some(agent("planner")), ..shown(1) };
    assert_eq!(code(house.ask(&newcomer("one"), &asked)), "not_enrollable", "it is another");
    apply(&mut house, with("other", vec![rule(&[("sub", "repo:acme/app")], "agent/other", true)]));
    let refusal = house.ask(&newcomer("one"), &shown(1)).unwrap_err();
    assert!(refusal.to_string().contains("\"ci\" and \"other\" both"), "{refusal}");
    apply(&mut house, with("other", vec![]));
    apply(&mut house, with("ci", vec![rule(&[("ref", "main")], "agent/{sub}", true)]));
    let refusal = house.ask(&newcomer("one"), &shown(1)).unwrap_err();
    assert!(refusal.to_string().contains("no segment of a SPIFFE id"), "{refusal}");
    // An agent that an admin made, with another profile, is not taken over.
    apply(&mut house, with("ci", vec![rule(&[("ref", "main")], "agent/planner", true)]));
    let refusal = house.ask(&newcomer("one"), &shown(1)).unwrap_err();
    assert!(refusal.to_string().contains("has the profile \"default\""), "{refusal}");
}

#[test]
fn a_rule_that_means_everybody_is_not_published() {
    let (_, mut house, _) = staffed();
    let none =
        EnrollRule { claims: BTreeMap::new(), ..rule(&[("ref", "main")], "agent/ci", false) };
    for bad in [none, rule(&[("ref", "main")], "agent/x{ref}", false)] {
        let applied = house.ask(&House::admin(), &ApplyProfile { profile: with("ci", vec![bad]) });
        assert_eq!(code(applied), "value_out_of_range");
    }
}
