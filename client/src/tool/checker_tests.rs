//! The attacks on a tool, against a checker with a clock of its own.

use std::sync::Arc;
use std::time::Duration;

use sublet_core::authorize::Credentials;
use sublet_core::base::id::HopId;
use sublet_core::base::sign::Signer as _;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::token::mint::Recipient;

use super::*;
use crate::agent::delegation::{Attenuation, Delegation};
use crate::fixture::{NOW, TOOL, World, key};
use crate::ports::tests::ports;

const ARGS: &str = r#"{"path":"/data/q3/a.csv"}"#;

fn checker(world: &World) -> Checker {
    checker_on(world, world.view())
}

fn checker_on(world: &World, view: SharedView) -> Checker {
    let options = Options { ports: world.ports.clone(), ..Options::default() };
    Checker::new(TOOL, world.trust.clone(), view, options)
}

fn read_call(checker: &Checker, args: &str) -> Call {
    checker.call("fs.read", Arguments::from_json(args.as_bytes()).unwrap())
}

fn shown(held: &Delegation) -> Credentials {
    held.credentials_for(TOOL, "fs.read", ARGS).unwrap()
}

fn code(verdict: Result<Permit, Refusal>) -> &'static str {
    verdict.map(|_| "allowed").unwrap_or_else(|refusal| refusal.code())
}

fn ask(checker: &Checker, shown: &Credentials) -> &'static str {
    code(checker.check(shown, &read_call(checker, ARGS)))
}

fn q3() -> Attenuation {
    Attenuation::of(&["fs.read@tool://files path=under:/data/q3"], Duration::from_secs(300))
        .unwrap()
}

#[test]
fn a_good_call_is_allowed_and_says_for_whom() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let permit = checker.check(&shown(&held), &read_call(&checker, ARGS)).unwrap();
    assert_eq!(permit.principal.as_str(), "user:alice@acme.example");
    assert_eq!((permit.hop, permit.holder), (held.id(), held.holder()));
}

#[test]
fn a_stolen_token_opens_nothing() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let arguments = Arguments::from_json(ARGS.as_bytes()).unwrap().digest();
    let (now, nonce) = (world.ports.clock.now(), world.ports.entropy.nonce().unwrap());
    let claims = CallClaims::of_digest(held.id(), TOOL, "fs.read", arguments, now, nonce);
    let by_the_thief = CallProof::sign(claims, &key(66)).unwrap();
    assert_eq!(ask(&checker, &held.credentials_with(&by_the_thief)), "proof_signature");
    let without = Credentials { proof: Vec::new(), ..shown(&held) };
    assert_eq!(ask(&checker, &without), "credentials_missing");
    let text = held.presentation().to_text();
    let opened = Delegation::open(&text, Arc::new(key(66)), &world.trust);
    assert_eq!(opened.unwrap_err().code(), "not_the_holder");
}

#[test]
fn a_proof_opens_one_call() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let once = shown(&held);
    assert_eq!(ask(&checker, &once), "allowed");
    assert_eq!(ask(&checker, &once), "proof_replayed");
    world.clock.pass(31_000);
    assert_eq!(ask(&checker_on(&world, world.view()), &once), "proof_expired");
}

// SPEC 5.3.
#[test]
fn a_refused_call_spends_no_nonce() {
    let mut world = World::new();
    let held = world.issued(1);
    let stale = SharedView::empty(world.trust.domain());
    let once = Credentials { receipt: None, ..shown(&held) };
    let checker = checker_on(&world, stale.clone());
    assert_eq!(ask(&checker, &once), "stale_view");
    world.revoke_hop(HopId([9; 32]));
    for line in sublet_core::revocation::feed::read_snapshot(&world.snapshot()).unwrap() {
        use sublet_core::revocation::feed::SnapshotLine::{Delta, Head};
        use sublet_proto::v1::watch_event::Event;
        let event = match line {
            Delta(bytes) => Event::Delta(bytes),
            Head(bytes) => Event::Head(bytes),
        };
        stale.apply(&event, &world.trust, &world.ports).unwrap();
    }
    assert_eq!(ask(&checker, &once), "allowed");
}

#[test]
fn a_proof_is_for_one_tool_action_argument_and_token() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let call = |audience, action, args| held.credentials_for(audience, action, args).unwrap();
    assert_eq!(ask(&checker, &call("tool://other", "fs.read", ARGS)), "wrong_audience");
    assert_eq!(ask(&checker, &call(TOOL, "fs.list", ARGS)), "wrong_action");
    assert_eq!(ask(&checker, &call(TOOL, "fs.read", r#"{"path":"/data"}"#)), "wrong_arguments");
    let narrowed = held.narrow(&q3()).unwrap();
    let moved = Credentials { proof: shown(&held).proof, ..shown(&narrowed) };
    assert_eq!(ask(&checker, &moved), "wrong_token");
}

#[test]
fn a_call_of_another_tool_is_not_decided_here() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let call = Call { audience: "tool://other".into(), ..read_call(&checker, ARGS) };
    assert_eq!(code(checker.check(&shown(&held), &call)), "bad_field");
}

// SPEC 3.5.1, 4.8.
#[test]
fn every_block_must_admit_the_call() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let scout = held.spawn_helper("scout", &q3()).unwrap();
    assert_eq!(ask(&checker, &shown(&scout)), "allowed");
    let outside = r#"{"path":"/data/q4/a.csv"}"#;
    let shown = scout.credentials_for(TOOL, "fs.read", outside).unwrap();
    assert_eq!(code(checker.check(&shown, &read_call(&checker, outside))), "not_allowed");
    let wider =
        Attenuation::of(&["fs.@tool://files path=under:/"], Duration::from_secs(60)).unwrap();
    assert_eq!(held.spawn_helper("scout", &wider).unwrap_err().code(), "scope_exceeds_parent");
    let longer = Attenuation { ttl: Duration::from_secs(10_000), ..q3() };
    assert_eq!(held.spawn_helper("scout", &longer).unwrap_err().code(), "outlives_parent");
}

#[test]
fn a_prefix_of_a_chain_gains_nothing() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let scout = held.spawn_helper("scout", &q3()).unwrap();
    // The helper cuts its own hop off, to have the wider token of its parent.
    let arguments = Arguments::from_json(ARGS.as_bytes()).unwrap().digest();
    let proof = scout.prove_digest(TOOL, "fs.read", arguments).unwrap();
    let wider = held.presentation();
    let cut = Credentials {
        token: Some(wider.token),
        receipt: wider.receipt,
        proof: proof.encode(),
        ..Credentials::default()
    };
    assert_eq!(ask(&checker, &cut), "wrong_token");
}

#[test]
fn hops_without_a_receipt_are_counted() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let scout = held.spawn_helper("scout", &q3()).unwrap();
    let deeper = scout.spawn_helper("deeper", &q3()).unwrap();
    assert_eq!((scout.unrecorded(), deeper.unrecorded()), (1, 2));
    assert_eq!(ask(&checker, &shown(&deeper)), "unrecorded_hops");
    let recorded = Credentials { receipt: Some(world.receipt(deeper.token())), ..shown(&deeper) };
    assert_eq!(ask(&checker, &recorded), "allowed");
    let none = Credentials { receipt: None, ..shown(&scout) };
    assert_eq!(ask(&checker, &none), "allowed", "the root itself needs no receipt");
    let strict = world.issued(0).spawn_helper("scout", &q3()).unwrap();
    assert_eq!(ask(&checker, &shown(&strict)), "unrecorded_hops");
}

#[test]
fn an_offline_hop_to_an_enrolled_agent_waits_for_its_record() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let id = "spiffe://acme.example/agent/researcher".parse().unwrap();
    let to = Recipient::Agent { id, key: key(11).public_key().clone() };
    let handed = held.delegate_offline(to, &q3()).unwrap();
    let token = world.trust.verify(&handed.token).unwrap();
    let theirs = world.held(token, handed.receipt, 11);
    assert_eq!(ask(&checker, &shown(&theirs)), "unrecorded_agent_hop");
    let recorded = Credentials { receipt: Some(world.receipt(theirs.token())), ..shown(&theirs) };
    assert_eq!(ask(&checker, &recorded), "allowed");
}

#[test]
fn a_receipt_of_another_chain_is_refused() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let scout = held.spawn_helper("scout", &q3()).unwrap();
    let other = held.spawn_helper("other", &q3()).unwrap();
    let borrowed = Credentials { receipt: Some(world.receipt(other.token())), ..shown(&scout) };
    assert_eq!(ask(&checker, &borrowed), "receipt_of_another_chain");
}

#[test]
fn a_revoked_hop_kills_what_is_below_and_not_what_is_beside() {
    let mut world = World::new();
    let held = world.issued(3);
    let middle = held.spawn_helper("middle", &q3()).unwrap();
    let leaf = middle.spawn_helper("leaf", &q3()).unwrap();
    let sibling = held.spawn_helper("sibling", &q3()).unwrap();
    world.revoke_hop(middle.id());
    let checker = checker(&world);
    for dead in [&middle, &leaf] {
        assert_eq!(ask(&checker, &shown(dead)), "hop_revoked");
    }
    for alive in [&held, &sibling] {
        assert_eq!(ask(&checker, &shown(alive)), "allowed");
    }
}

// SPEC 7.7.1.
#[test]
fn a_stale_view_refuses_whatever_is_done_to_the_clock() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let bare = || Credentials { receipt: None, ..shown(&held) };
    assert_eq!(ask(&checker, &bare()), "allowed");
    world.clock.pass(10_000);
    assert_eq!(ask(&checker, &bare()), "allowed", "at the bound");
    world.clock.pass(1);
    assert_eq!(ask(&checker, &bare()), "stale_view");
    world.clock.set_wall(NOW);
    assert_eq!(ask(&checker, &bare()), "stale_view", "the monotonic clock goes on");
    assert_eq!(
        ask(&checker_on(&world, SharedView::empty(world.trust.domain())), &bare()),
        "stale_view"
    );
}

#[test]
fn a_fresh_receipt_stands_in_for_a_view_and_yields_to_a_newer_one() {
    let mut world = World::new();
    let held = world.issued(1);
    let none = || SharedView::empty(world.trust.domain());
    assert_eq!(ask(&checker_on(&world, none()), &shown(&held)), "allowed");
    world.clock.pass(10_001);
    assert_eq!(ask(&checker_on(&world, none()), &shown(&held)), "stale_view");
    let world_before = world.receipt(held.token());
    world.revoke_hop(HopId([9; 32]));
    let view = world.view();
    world.clock.pass(9_000);
    let shown = Credentials { receipt: Some(world_before), ..shown(&held) };
    assert_eq!(ask(&checker_on(&world, view), &shown), "allowed", "the view is young");
    let view = world.view();
    world.clock.pass(10_001);
    let late = Credentials { receipt: shown.receipt, ..super::tests::shown(&held) };
    assert_eq!(ask(&checker_on(&world, view), &late), "stale_view", "and the staple older");
}

#[test]
fn a_proof_from_before_the_start_is_refused() {
    let world = World::new();
    let held = world.issued(1);
    let before = shown(&held);
    world.clock.pass(1);
    let restarted = checker(&world);
    assert_eq!(ask(&restarted, &before), "proof_before_start");
    assert_eq!(ask(&restarted, &shown(&held)), "allowed");
    let ports = ports(&world.clock);
    let options = Options { start_margin_ms: limits::CLOCK_SKEW_MS, ports, ..Options::default() };
    let careful = Checker::new(TOOL, world.trust.clone(), world.view(), options);
    assert_eq!(ask(&careful, &shown(&held)), "proof_before_start");
    world.clock.pass(5_000);
    assert_eq!(ask(&careful, &shown(&held)), "allowed");
}

// SPEC 5.3.1.
#[test]
fn a_full_set_of_nonces_refuses() {
    let world = World::new();
    let held = world.issued(1);
    let nonces = Bounds { total: 10, per_holder: 1 };
    let options = Options { nonces, ports: world.ports.clone(), ..Options::default() };
    let checker = Checker::new(TOOL, world.trust.clone(), world.view(), options);
    assert_eq!(ask(&checker, &shown(&held)), "allowed");
    assert_eq!(ask(&checker, &shown(&held)), "proof_quota_exceeded");
}

#[test]
fn an_expired_bundle_decides_nothing() {
    let world = World::new();
    world.clock.pass(3_600_000);
    let view = SharedView::empty(world.trust.domain());
    let checker = checker_on(&world, view);
    assert_eq!(ask(&checker, &shown(&world.issued(1))), "bundle_expired");
}

#[test]
fn a_grpc_call_is_bound_by_its_message_bytes() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    let message = sublet_proto::demo::ReadRequest { path: "/data/q3/a.csv".into() };
    let fields = Json::parse(ARGS.as_bytes()).unwrap();
    let request = |digest| {
        let mut request = held.request(TOOL, "fs.read", message.clone()).unwrap();
        request.extensions_mut().insert(MessageDigest(digest));
        request
    };
    let bytes = prost::Message::encode_to_vec(&message);
    let good = request(sublet_core::base::bytes::sha256(&bytes));
    assert_eq!(code(checker.check_request(&good, "fs.read", &fields)), "allowed");
    let other = request([0; 32]);
    assert_eq!(code(checker.check_request(&other, "fs.read", &fields)), "wrong_arguments");
    let unhashed = held.request(TOOL, "fs.read", message.clone()).unwrap();
    assert_eq!(code(checker.check_request(&unhashed, "fs.read", &fields)), "credentials_missing");
    let bare = tonic::Request::new(message.clone());
    assert_eq!(code(checker.check_request(&bare, "fs.read", &fields)), "credentials_missing");
}

#[test]
fn a_chain_seen_before_is_refused_from_the_moment_of_its_revocation() {
    let mut world = World::new();
    let held = world.issued(1);
    let view = world.view();
    let checker = checker_on(&world, view.clone());
    assert_eq!(ask(&checker, &shown(&held)), "allowed");
    assert_eq!(ask(&checker, &shown(&held)), "allowed", "seen before");
    world.revoke_hop(held.id());
    world.refresh(&view);
    assert_eq!(ask(&checker, &shown(&held)), "hop_revoked");
}

/// Callers use one chain while it is revoked: a call after the view has the revocation is
/// refused, also from the cache.
#[test]
fn no_cached_chain_outlives_a_revocation_in_a_race() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut world = World::new();
    let held = world.issued(1);
    let view = world.view();
    let checker = checker_on(&world, view.clone());
    let calls: Vec<Credentials> = (0..400).map(|_| shown(&held)).collect();
    let (revoked, checker) = (AtomicBool::new(false), &checker);
    std::thread::scope(|scope| {
        let revoked = &revoked;
        for mine in calls.chunks(100) {
            scope.spawn(move || {
                for call in mine {
                    let after = revoked.load(Ordering::SeqCst);
                    let verdict = ask(checker, call);
                    assert!(verdict == "hop_revoked" || !after, "{verdict} after the revocation");
                }
            });
        }
        world.revoke_hop(held.id());
        world.refresh(&view);
        revoked.store(true, Ordering::SeqCst);
    });
    assert_eq!(ask(checker, &shown(&held)), "hop_revoked");
}

// SPEC 2.8.3.
#[test]
fn a_chain_seen_before_still_expires_and_still_needs_its_proof() {
    let world = World::new();
    let view = world.view();
    let (checker, held) = (checker_on(&world, view.clone()), world.issued(1));
    assert_eq!(ask(&checker, &shown(&held)), "allowed");
    let again = shown(&held);
    let thief = CallProof::sign(again.call_proof().unwrap().claims, &key(66)).unwrap();
    let stolen = Credentials { proof: thief.encode(), ..again };
    assert_eq!(ask(&checker, &stolen), "proof_signature");
    assert_eq!(ask(&checker, &shown(&held)), "allowed");
    let left = held.token().expires() * 1_000 - world.ports.clock.now().0;
    world.clock.pass(left as u64);
    world.refresh(&view);
    assert_eq!(ask(&checker, &shown(&held)), "expired");
}

#[test]
fn only_what_is_new_behind_a_known_chain_is_verified_and_it_is() {
    let world = World::new();
    let (checker, held) = (checker(&world), world.issued(1));
    assert_eq!(ask(&checker, &shown(&held)), "allowed");
    let helper = held.spawn_helper("scout", &q3()).unwrap();
    let good = shown(&helper);
    let flipped = |at: usize| {
        let mut token = good.token.clone().unwrap();
        *token.get_mut(at).unwrap() ^= 1;
        Credentials { token: Some(token), ..good.clone() }
    };
    // In the signature of the last block.
    let bad = flipped(good.token.as_ref().unwrap().len() - 20);
    assert_eq!(ask(&checker, &bad), "bad_signature");
    assert_eq!(ask(&checker, &good), "allowed");
    assert_ne!(ask(&checker, &flipped(30)), "allowed", "another beginning is not known");
}

#[test]
fn a_checker_that_keeps_nothing_decides_alike() {
    let world = World::new();
    let options = Options { ports: world.ports.clone(), chain_bytes_max: 0, ..Options::default() };
    let checker = Checker::new(TOOL, world.trust.clone(), world.view(), options);
    let helper = world.issued(1).spawn_helper("scout", &q3()).unwrap();
    assert_eq!(ask(&checker, &shown(&helper)), "allowed");
    assert_eq!(ask(&checker, &shown(&helper)), "allowed");
}
