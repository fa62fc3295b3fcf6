//! What the state knows to be revoked: what still says something, and what is forgotten.

use sublet_core::base::id::{HopId, Principal, UnixMillis};
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Account;
use sublet_core::decide::{EndSessions, Ending};
use sublet_core::revocation::feed::{Delta, Revocation};
use sublet_core::state::rows::session::{Login, Session, Source};
use sublet_core::state::{
    AnswerKey, Change, GivenAnswer, JoinToken, JoinTokenState, Row, RowKey, SpentToken,
};
use sublet_tests::{Fleet, House, NOW, agent, key};

fn hop(byte: u8) -> Revocation {
    Revocation::Hop(HopId([byte; 32]))
}

fn delta(sequence: u64, revocation: Revocation) -> Delta {
    Delta { sequence, at: NOW, expires: NOW.plus_ms(1_000_000), revocation }
}

#[test]
fn a_delta_is_in_force_while_it_is_the_last_of_its_subject_and_not_over() {
    let mut house = House::new(&Fleet::new());
    let (first, again) = (delta(1, hop(1)), delta(2, hop(1)));
    house.state.put(Row::Revocation(first.clone()));
    assert!(house.state.is_in_force(&first, NOW));
    assert!(!house.state.is_in_force(&delta(1, hop(2)), NOW), "nobody revoked that");
    assert!(!house.state.is_in_force(&first, NOW.plus_ms(2_000_000)), "it is over");
    house.state.put(Row::Revocation(again.clone()));
    assert!(!house.state.is_in_force(&first, NOW) && house.state.is_in_force(&again, NOW));
}

fn forget(house: &mut House, key: RowKey) {
    let ledger = house.state.ledger();
    house.state.follow([Change::Forget(key)], ledger);
}

#[test]
fn a_revocation_that_was_stated_again_is_not_forgotten_with_the_first() {
    let mut house = House::new(&Fleet::new());
    house.state.put(Row::Revocation(delta(1, hop(1))));
    house.state.put(Row::Revocation(delta(2, hop(1))));
    forget(&mut house, RowKey::Revocation(1, hop(1)));
    assert!(house.state.revoked(&hop(1)).is_some());
    forget(&mut house, RowKey::Revocation(2, hop(1)));
    assert!(house.state.revoked(&hop(1)).is_none());
}

#[test]
fn a_store_that_is_opened_counts_on_from_its_last_revocation() {
    let mut house = House::new(&Fleet::new());
    house.state.resume_revocations(7);
    assert_eq!(house.state.revocation_sequence(), 7);
    house.state.resume_revocations(3);
    assert_eq!(house.state.revocation_sequence(), 7);
}

fn session(subject: &str, principal: &Principal) -> Session {
    let login =
        Login { issuer: "https://login.example".into(), subject: subject.into(), sid: None };
    Session {
        id: login.id(),
        principal: Some(principal.clone()),
        source: Source::Login(login),
        token: [0; 32],
        expires_at: NOW.plus_ms(1_000_000),
        began_at: UnixMillis(0),
        ended_at: None,
        over_until: None,
        live: true,
        version: 0,
    }
}

#[test]
fn a_principal_is_known_by_its_sessions_and_all_of_them_end_together() {
    let mut house = House::new(&Fleet::new());
    let [alice, bob, carol]: [Principal; 3] =
        ["alice", "bob", "carol"].map(|name| format!("user:{name}@acme.example").parse().unwrap());
    let (ones, others) = (session("1", &alice), session("2", &bob));
    house.state.put(Row::Session(ones.clone()));
    house.state.put(Row::Session(others.clone()));
    assert!(house.state.names_principal(&alice) && house.state.names_principal(&bob));
    assert!(!house.state.names_principal(&carol));
    let which = Ending::Principal(alice);
    house.ask(&House::admin(), &EndSessions { which, reason: "left".into() }).unwrap();
    let live = |session: &Session| house.state.session(&session.id).unwrap().live;
    assert!(!live(&ones) && live(&others));
}

#[test]
fn a_return_at_the_very_time_of_a_revocation_lifts_nothing() {
    let mut house = House::new(&Fleet::new());
    let alice: Principal = "user:alice@acme.example".parse().unwrap();
    let revoked = Revocation::Principal(alice.clone());
    house.state.put(Row::Revocation(delta(1, revoked.clone())));
    house.state.put(Row::Revocation(delta(2, Revocation::PrincipalRestored(alice))));
    assert!(house.state.revoked(&revoked).is_some());
}

#[test]
fn a_revocation_that_ends_sooner_takes_no_place() {
    let mut house = House::new(&Fleet::new());
    let sooner = Delta { expires: NOW.plus_ms(10), ..delta(2, hop(1)) };
    house.state.put(Row::Revocation(delta(1, hop(1))));
    house.state.put(Row::Revocation(sooner));
    assert_eq!(house.state.revoked(&hop(1)).unwrap().sequence, 1);
}

/// A state with one row of each kind that ends, all at `NOW`.
fn ending() -> House {
    let root = Fleet::new().root("planner", &["fs.@tool://files"]);
    let mut house = House::with(&Fleet::new(), &["planner"], &root);
    let mut hop = house.state.hop(&root.id()).unwrap().clone();
    hop.expires_at = NOW;
    house.state.put(Row::Hop(hop));
    house.state.put(Row::JoinToken(JoinToken {
        id: "j1".into(),
        agent: agent("planner"),
        hash: [0; 32],
        expires_at: NOW,
        state: JoinTokenState::Open,
        version: 0,
    }));
    house.state.put(Row::Spent(SpentToken { id: [1; 32], expires_at: NOW }));
    let alice = "user:alice@acme.example".parse().unwrap();
    house.state.put(Row::Session(Session { expires_at: NOW, ..session("1", &alice) }));
    house
}

#[test]
fn what_ended_before_a_time_is_forgotten_in_bounded_portions() {
    let mut house = ending();
    assert_eq!(house.state.expire(NOW, 100), []);
    assert_eq!((house.state.spent_kept(), house.state.counts().2), (1, 1));
    let over = house.state.expire(NOW.plus_ms(1), 3);
    assert_eq!(over.len(), 3, "{over:?}");
    assert_eq!(house.state.expire(NOW.plus_ms(1), 100).len(), 1);
    assert_eq!((house.state.spent_kept(), house.state.counts().2), (0, 0));
    assert_eq!(house.state.expire(NOW.plus_ms(1), 100), []);
}

#[test]
fn a_state_lists_and_counts_what_it_holds() {
    let mut house = ending();
    house.enroll("writer", key("writer").public_key().clone());
    let agents: Vec<&str> = house.state.agents().map(|row| row.id.path()).collect();
    assert_eq!(agents, ["agent/planner", "agent/writer"]);
    assert_eq!(house.state.counts(), (2, 1, 1));
    let joins: Vec<&str> = house.state.join_tokens().map(|row| row.id.as_str()).collect();
    assert_eq!(joins, ["j1"]);
    let name = AnswerKey {
        caller: key("planner").public_key().thumbprint(),
        method: "/m".into(),
        key: [1; 16],
    };
    house.state.put(Row::Answer(GivenAnswer {
        name: name.clone(),
        account: Account::Admin,
        identity_of: None,
        request: [2; 32],
        answer: None,
        expires_at: NOW,
    }));
    assert!(house.state.answers().get(&name).is_some());
}
