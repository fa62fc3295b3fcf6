//! An identity whose root was tainted: the agent of whom the broker knows the key has another one for it,
//! and whoever stole the root has nothing.

use sublet_core::base::id::Nonce;
use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::{Block, Origin, Role};
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    GetAgentKey, ListDelegations, PageOf, Renew, ReportVerifierState, ResumeAgent, RevokeAgentKey,
    RotateKey, SuspendAgent,
};
use sublet_core::refusal::Unauthenticated;
use sublet_core::revocation::feed::FeedPosition;
use sublet_core::state::{AgentState, LastIdentity};
use sublet_core::token::UnverifiedToken;
use sublet_core::token::mint;
use sublet_core::token::verify::TaintedIdentity;
use sublet_core::trust::bundle::KeyUse;
use sublet_core::trust::rotation::KeyStep;
use sublet_tests::{Fleet, House, agent, code, key, key_id};

use crate::staffed;

/// A house whose planner was given an identity by a root that was then tainted; that identity.
fn tainted() -> (Fleet, House, Vec<u8>) {
    let (fleet, mut house, planner) = staffed();
    let identity = house.ask(&planner, &Renew).unwrap().to_vec();
    taint(&mut house, KeyUse::Identity);
    (fleet, house, identity)
}

fn taint(house: &mut House, use_: KeyUse) {
    let step = KeyStep::Taint { key: key_id(use_) };
    house.rotate_broker_key(&House::admin(), step).unwrap();
}

fn read(house: &House, identity: &[u8]) -> Result<TaintedIdentity, Unauthenticated> {
    let token = UnverifiedToken::decode(identity).unwrap();
    TaintedIdentity::verify(token, house.state.trust().bundle())
}

fn caller(house: &House, identity: &[u8], by: &str) -> Caller {
    House::tainted(read(house, identity).unwrap(), &key(by))
}

/// An identity as whoever has the root makes it.
fn forged(nonce: Nonce, later: i64, holder: &PublicKey) -> Vec<u8> {
    let fleet = Fleet::new();
    let like = fleet.identity("planner");
    let Some(origin) = like.root().role.origin() else { unreachable!() };
    let origin = Origin { nonce, issued_at: origin.issued_at + later, ..origin.clone() };
    let block = Block { role: Role::Identity { origin }, ..like.root().clone() };
    let root = Fleet::signer(KeyUse::Identity);
    mint::root(block, holder, key_id(KeyUse::Identity), &root).unwrap().encode()
}

fn last(house: &House) -> LastIdentity {
    house.state.agent(&agent("planner")).unwrap().identity.unwrap()
}

fn stop() -> SuspendAgent {
    SuspendAgent { agent: agent("planner"), reason: String::new() }
}

fn state(house: &House) -> AgentState {
    house.state.agent(&agent("planner")).unwrap().state
}

// SPEC 2.16.4.
#[test]
fn it_is_renewed_and_what_it_is_renewed_to_is_good_again() {
    let (_, mut house, identity) = tainted();
    let shown = caller(&house, &identity, "planner");
    let anew = house.ask(&shown, &Renew).unwrap();
    let bundle = house.state.trust().bundle().clone();
    let token = Fleet { bundle }.verify(&anew).unwrap();
    let planner = House::caller(&token, &key("planner"));
    assert_eq!(code(house.ask(&planner, &GetAgentKey { agent: agent("planner") })), "granted");
    assert_eq!(code(house.ask(&planner, &Renew)), "granted");
    // The key can be changed with it too.
    let (_, mut house, identity) = tainted();
    let shown = caller(&house, &identity, "planner");
    let new_key = key("planner 2").public_key().clone();
    assert_eq!(code(house.ask(&shown, &RotateKey { new_key })), "granted");
}

// SPEC 2.16.4.
#[test]
fn it_is_good_for_nothing_else() {
    let (_, mut house, identity) = tainted();
    let shown = caller(&house, &identity, "planner");
    let look = GetAgentKey { agent: agent("planner") };
    let list = ListDelegations(PageOf { after: None, size: 10 });
    let sync = ReportVerifierState { revocations: FeedPosition::new(1, 0), head: None };
    for refused in [
        code(house.ask(&shown, &look)),
        code(house.ask(&shown, &list)),
        code(house.ask(&shown, &sync)),
        code(house.ask(&shown, &stop())),
    ] {
        assert_eq!(refused, "root_revoked");
    }
}

#[test]
fn only_a_tainted_root_of_identities_makes_one() {
    let (fleet, mut house, planner) = staffed();
    let identity = house.ask(&planner, &Renew).unwrap();
    let detail = |read: Result<TaintedIdentity, Unauthenticated>| read.unwrap_err().code();
    assert_eq!(detail(read(&house, &identity)), "wrong_token_kind");
    let grant = fleet.root("planner", &["fs.read@tool://files path=any"]).encode();
    taint(&mut house, KeyUse::Delegation);
    assert_eq!(detail(read(&house, &grant)), "key_tainted");
    assert_eq!(detail(read(&house, &identity)), "wrong_token_kind", "of another root");
}

// SPEC 2.16.4.
#[test]
fn whoever_stole_the_root_has_no_agents_key_and_stops_nobody() {
    let (_, mut house, identity) = tainted();
    let thief = key("thief");
    // Of a key of its own, with the very nonce: not the agent's.
    for nonce in [last(&house).nonce, Nonce([7; 16])] {
        let shown = caller(&house, &forged(nonce, 0, thief.public_key()), "thief");
        assert_eq!(code(house.ask(&shown, &Renew)), "not_the_agents_key");
        let new_key = key("thief 2").public_key().clone();
        assert_eq!(code(house.ask(&shown, &RotateKey { new_key })), "not_the_agents_key");
    }
    // Of the agent's key: which it cannot prove.
    let forged = forged(last(&house).nonce, 0, key("planner").public_key());
    let shown = read(&house, &forged).unwrap();
    assert!(House::possession(shown.token(), &thief).is_err());
    assert_eq!(state(&house), AgentState::Active);
    let owner = caller(&house, &identity, "planner");
    assert_eq!(code(house.ask(&owner, &Renew)), "granted");
}

#[test]
fn a_copy_is_noticed_as_ever_and_nothing_vouches_for_a_younger_one() {
    let (_, mut house, identity) = tainted();
    let younger = forged(Nonce([7; 16]), 60, key("planner").public_key());
    let shown = caller(&house, &younger, "planner");
    assert_eq!(code(house.ask(&shown, &Renew)), "root_revoked");
    assert_eq!(state(&house), AgentState::Active);
    let shown = caller(&house, &identity, "planner");
    house.ask(&shown, &Renew).unwrap();
    assert_eq!(code(house.ask(&shown, &Renew)), "identity_cloned");
    assert_eq!(state(&house), AgentState::Suspended);
}

#[test]
fn an_old_key_of_an_agent_stops_it_no_more_than_it_did() {
    let (_, mut house, planner) = staffed();
    let new_key = key("planner 2").public_key().clone();
    house.ask(&planner, &RotateKey { new_key }).unwrap();
    taint(&mut house, KeyUse::Identity);
    // Whoever has the root, and the key that the agent rotated away from because it had leaked.
    let forged = forged(Nonce([7; 16]), 60, key("planner").public_key());
    let shown = caller(&house, &forged, "planner");
    assert_eq!(code(house.ask(&shown, &Renew)), "not_the_agents_key");
    assert_eq!(state(&house), AgentState::Active);
}

// SPEC 3.7.1.
#[test]
fn an_agent_that_was_stopped_stays_stopped() {
    let (_, mut house, identity) = tainted();
    let admin = House::admin();
    let shown = caller(&house, &identity, "planner");
    house.ask(&admin, &stop()).unwrap();
    assert_eq!(code(house.ask(&shown, &Renew)), "agent_suspended");
    house.ask(&admin, &ResumeAgent { agent: agent("planner") }).unwrap();
    house.ask(&admin, &RevokeAgentKey { agent: agent("planner"), reason: String::new() }).unwrap();
    assert_ne!(code(house.ask(&shown, &Renew)), "granted");
}
