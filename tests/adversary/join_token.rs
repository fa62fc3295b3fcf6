//! Enrollment by a join token: each way in which one opens nothing, and its code. Whoever does not have
//! the secret hears one thing, whatever became of the token.

use sublet_core::base::id::AgentId;
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    CreateAgent, CreateJoinToken, Credential, Enroll, Invitation, RevokeJoinToken,
};
use sublet_core::refusal::Unauthenticated;
use sublet_core::state::Row;
use sublet_tests::{Fleet, House, NOW, agent, code, key};

fn newcomer(name: &str) -> Caller {
    let (key, message) = (key(name), b"enrolment");
    let signature = key.sign(message).unwrap();
    Caller::new_key(key.public_key().clone(), message, &signature).unwrap()
}

/// A broker that has invited "third", and the invitation.
fn invited() -> (House, Invitation) {
    let mut house = House::new(&Fleet::new());
    let profile = sublet_core::state::Profile {
        name: "default".into(),
        principals: vec!["user:*@acme.example".to_owned().try_into().unwrap()],
        ttl_seconds_max: 600,
        hops_max: 4,
        offline_hops_max: 1,
        fan_out_max: 10,
        allow: sublet_tests::scope(&["fs.@tool://files path=under:/data"]),
        enroll: Vec::new(),
        consent_required: false,
        version: 0,
    };
    let admin = House::admin();
    house.ask(&admin, &sublet_core::decide::ApplyProfile { profile }).unwrap();
    let create =
        CreateAgent { agent: agent("third"), profile: "default".into(), join_ttl_seconds: 60 };
    let invitation = house.ask(&admin, &create).unwrap();
    (house, invitation)
}

fn tried(house: &mut House, text: &str, asked: Option<AgentId>, by: &str) -> &'static str {
    match Credential::from_join_token(text) {
        None => "no_join_token",
        Some(credential) => code(house.ask(&newcomer(by), &Enroll { credential, agent: asked })),
    }
}

// SPEC 3.7.
#[test]
fn each_join_token_that_opens_nothing_has_its_code() {
    let (mut house, invited) = invited();
    let text = invited.join_token.clone();
    let other =
        house.ask(&House::admin(), &CreateJoinToken { agent: agent("third"), ttl_seconds: 60 });
    let other = other.unwrap();
    let secret = |text: &str| text.rsplit_once('.').unwrap().1.to_owned();
    let mixed = text.replace(&secret(&text), &secret(&other.join_token));

    assert_eq!(tried(&mut house, "sublet-join1.x", None, "third"), "no_join_token");
    assert_eq!(tried(&mut house, &mixed, None, "third"), "join_token", "another's secret");
    let asked = Some(agent("planner"));
    assert_eq!(tried(&mut house, &text, asked, "third"), "join_token_of_another");
    let row = house.state.join_token(&invited.id).unwrap().clone();
    let mut over = row.clone();
    over.expires_at = NOW;
    house.state.put(Row::JoinToken(over));
    assert_eq!(tried(&mut house, &text, None, "third"), "join_token_expired");
    assert_eq!(tried(&mut house, &mixed, None, "third"), "join_token", "and nothing is told");
    house.state.put(Row::JoinToken(row));

    assert_eq!(tried(&mut house, &text, None, "third"), "granted");
    assert_eq!(tried(&mut house, &text, None, "mallory"), "join_token_used");
    assert_eq!(tried(&mut house, &text, None, "third"), "join_token_used");
    assert_eq!(tried(&mut house, &mixed, None, "mallory"), "join_token", "nor that it was used");
    house.ask(&House::admin(), &RevokeJoinToken { id: other.id.clone() }).unwrap();
    assert_eq!(tried(&mut house, &other.join_token, None, "mallory"), "join_token_revoked");
}

#[test]
fn a_key_that_is_not_held_or_is_somebodys_enrols_nobody() {
    let (mut house, invited) = invited();
    let signature = key("mallory").sign(b"enrolment").unwrap();
    let forged = Caller::new_key(key("third").public_key().clone(), b"enrolment", &signature);
    assert_eq!(forged.unwrap_err(), Unauthenticated::NewKey);
    house.enroll("planner", key("planner").public_key().clone());
    assert_eq!(tried(&mut house, &invited.join_token, None, "planner"), "key_in_use");
    // Which spends nothing.
    assert_eq!(tried(&mut house, &invited.join_token, None, "third"), "granted");
}
