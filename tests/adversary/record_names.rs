//! Whom a record names. [`House`] holds every record of every test against the keys that it knows; here
//! are the attacks that aim at the record itself.

use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    Delegate, Inspect, ListDelegations, PageOf, ProvenUse, RecordHop, Replay, ReportUses,
    ReportedUse, Revoke, SuspendAgent, Target,
};
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::record::Body;
use sublet_core::evidence::record::UseVerdict;
use sublet_core::revocation::feed::FeedPosition;
use sublet_core::token::mint::{Hop, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, House, NOW, agent, append, code, key, nonce, to_agent, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];

/// A hop by mallory in another's name, with a key of mallory's own.
fn misnamed(held: &VerifiedToken, name: &str) -> VerifiedToken {
    let to = Recipient::Agent { id: agent(name), key: key("second").public_key().clone() };
    append(held, &Hop { to, ..to_agent(name, READ) }, "mallory").unwrap()
}

fn scene() -> (Fleet, House, VerifiedToken) {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let mut house = House::with(&fleet, &["planner", "reader", "mallory"], &root);
    let held = append(&root, &to_agent("mallory", READ), "planner").unwrap();
    house.delegate(&House::agent(&fleet, "planner"), &held).unwrap();
    (fleet, house, held)
}

fn revoke(target: Target, chain: Option<&VerifiedToken>) -> Revoke {
    Revoke { target, reason: "x".into(), chain: chain.cloned().map(Into::into) }
}

/// Everything that a holder may ask.
fn asks(house: &mut House, caller: &Caller, token: &VerifiedToken) -> Vec<&'static str> {
    let chain = token.clone();
    vec![
        code(house.ask(caller, &revoke(Target::Hop(token.id()), Some(token)))),
        code(house.ask(caller, &Delegate { token: chain.clone().into() })),
        code(house.ask(caller, &RecordHop { token: chain.clone().into() })),
        code(house.ask(caller, &Inspect { token: chain.into() })),
        code(house.ask(caller, &ListDelegations(PageOf { after: None, size: 1 }))),
        code(house.ask(caller, &Replay { delegation: token.delegation() })),
        code(house.ask(caller, &SuspendAgent { agent: agent("reader"), reason: "x".into() })),
    ]
}

// SPEC 5.8.
#[test]
fn a_holder_in_anothers_name_is_nobody_and_leaves_no_record() {
    let (_, mut house, held) = scene();
    let before = house.records.len();
    for name in ["planner", "reader", "ceo", "mallory"] {
        let token = misnamed(&held, name);
        let caller = House::caller(&token, &key("second"));
        assert_eq!(asks(&mut house, &caller, &token), ["agent_not_proven"; 7], "{name}");
        let below = append(&token, &to_helper("below", READ), "second").unwrap();
        let caller = House::caller(&below, &key("below"));
        assert_eq!(asks(&mut house, &caller, &below), ["agent_not_proven"; 7], "{name}");
    }
    assert_eq!(house.records.len(), before);
}

// SPEC 2.13.1.
#[test]
fn the_brokers_name_is_no_agents() {
    let (fleet, _, held) = scene();
    let to = Recipient::Agent {
        id: "spiffe://acme.example/sublet".parse().unwrap(),
        key: key("second").public_key().clone(),
    };
    let token = append(&held, &Hop { to, ..to_agent("x", READ) }, "mallory").unwrap();
    assert_eq!(code(fleet.verify(&token.encode())), "issuer_as_agent");
}

/// Who is refused and who is granted, and whom the record names: the one whose key signed.
// SPEC 9.13.
#[test]
fn a_record_names_who_asked() {
    let (fleet, mut house, held) = scene();
    let scout = append(&held, &to_helper("scout", READ), "mallory").unwrap();
    let own = |name: &str| agent(name).to_string();
    let helper = format!("{}#scout", own("mallory"));
    let planner = House::agent(&fleet, "planner");
    let at_scout = House::caller(&scout, &key("scout"));
    let as_holder = House::caller(&held, &key("mallory"));
    let root = Target::Hop(held.delegation());
    for (caller, target, outcome, named, by) in [
        (&as_holder, &root, "revoke_forbidden", &own("mallory"), "mallory"),
        (&at_scout, &root, "revoke_forbidden", &helper, "scout"),
        (&House::agent(&fleet, "reader"), &root, "revoke_forbidden", &own("reader"), "reader"),
        (&at_scout, &Target::Hop(scout.id()), "granted", &helper, "scout"),
        (&planner, &Target::Hop(held.id()), "granted", &own("planner"), "planner"),
    ] {
        let chain = Some(&scout).filter(|_| outcome == "granted");
        assert_eq!(code(house.ask(caller, &revoke(target.clone(), chain))), outcome, "{named}");
        let record = house.records.last().unwrap();
        assert_eq!(record.actor.name, *named);
        assert_eq!(record.actor.key, Some(key(by).public_key().thumbprint()), "{named}");
    }
    // Of a hop that is not recorded the record says whom the ledger knows the chain by.
    let unrecorded: Vec<_> = house
        .records
        .iter()
        .filter_map(|record| Some((record.actor.name.clone(), record.actor.recorded.clone()?)))
        .map(|(name, known)| (name, known.holder.to_string()))
        .collect();
    assert_eq!(unrecorded[0], (helper, own("mallory")));
}

// SPEC 8.3.1.
#[test]
fn a_dead_caller_writes_nothing() {
    let (fleet, mut house, held) = scene();
    let (_, before) =
        (house.ask(&House::admin(), &revoke(Target::Hop(held.id()), None)), house.records.len());
    let holder = House::caller(&held, &key("mallory"));
    let ask = SuspendAgent { agent: agent("reader"), reason: "x".into() };
    assert_eq!(code(house.ask(&holder, &ask)), "hop_revoked");
    let suspend = SuspendAgent { agent: agent("mallory"), reason: "x".into() };
    house.ask(&House::admin(), &suspend).unwrap();
    assert_eq!(code(house.ask(&House::agent(&fleet, "mallory"), &ask)), "agent_suspended");
    let elsewhere = House::caller(&fleet.root("reader", READ), &key("reader"));
    assert_eq!(code(house.ask(&elsewhere, &ask)), "unknown_delegation");
    assert_eq!(house.records.len(), before + 1, "the suspension alone");
}

/// A use in another's name, as a tool reports it that is not honest.
// SPEC 9.9.3.
#[test]
fn a_use_in_anothers_name_is_no_record() {
    let (fleet, mut house, held) = scene();
    let used = |token: &VerifiedToken, by: &str, counter| {
        let nonce = nonce(&[by.as_bytes()]);
        let claims = CallClaims::new(token.id(), "tool://files", "fs.delete", b"{}", NOW, nonce);
        let reported = ReportedUse {
            counter,
            audience: "tool://files".into(),
            action: "fs.delete".into(),
            verdict: UseVerdict::Denied("unrecorded_agent_hop".into()),
            decided_at: NOW,
            revocations: FeedPosition::new(1, 0),
            age_ms: Some(1),
            staleness_ms_max: 10_000,
            arguments: Some(b"{}".to_vec()),
            proof: CallProof::sign(claims, &key(by)).unwrap(),
            receipt: None,
        };
        ProvenUse::verify(reported, token.clone()).map_err(|detail| (counter, detail))
    };
    let tool = House::agent(&fleet, "reader");
    let token = misnamed(&held, "planner");
    let uses = vec![used(&token, "second", 0), used(&held, "mallory", 1)];
    assert_eq!(house.ask(&tool, &ReportUses { uses }), Ok(2));
    let recorded: Vec<_> = house
        .records
        .iter()
        .filter_map(|record| match &record.body {
            Body::Used(used) => Some(used.hop),
            _ => None,
        })
        .collect();
    assert_eq!(recorded, [held.id()]);
}
