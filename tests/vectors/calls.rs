//! Call proofs, receipts, and what a tool answers.

use serde_json::{Value, json};
use sublet_core::base::id::UnixMillis;
use sublet_core::base::sign::Signer as _;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::receipt::Receipt;
use sublet_core::refusal::Malformed;
use sublet_core::revocation::feed::Revocation;
use sublet_core::token::verify::Coverage;
use sublet_tests::{AUDIENCE, Fleet, NOW, Request, Tool, append, key, nonce, to_agent, to_helper};

use crate::tokens::READ;
use crate::{agreed, bytes, verdict};

const ARGS: &str = r#"{"path":"/data/a"}"#;

#[test]
fn proofs() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let one = |arguments: &str| {
        let digest = sublet_core::evidence::call::Arguments::from_json(arguments.as_bytes())
            .unwrap()
            .digest();
        let claims =
            CallClaims::of_digest(token.id(), AUDIENCE, "fs.read", digest, NOW, nonce(&[b"proof"]));
        let proof = CallProof::sign(claims.clone(), &key("planner")).unwrap();
        json!({
            "hop": token.id().to_string(), "audience": AUDIENCE, "action": "fs.read",
            "arguments": arguments, "issued_at_ms": NOW.0, "nonce": bytes(claims.nonce.0),
            "message": bytes(claims.message()), "proof": bytes(proof.encode()),
            "text": proof.to_text(), "key": key("planner").public_key().to_string(),
        })
    };
    agreed("proofs.json", &["{}", ARGS, r#"{"n":1.50,"list":["b","a"]}"#].map(one).to_vec().into());
}

#[test]
fn receipts() {
    let fleet = Fleet::new();
    let token = append(&fleet.root("planner", READ), &to_agent("reader", READ), "planner").unwrap();
    let root = token.prefix(0).unwrap();
    let elsewhere = fleet.root("reader", READ);
    let flipped = |at: usize| {
        let mut receipt = fleet.receipt(&token).encode();
        let at = if at == 0 { receipt.len() - 1 } else { at };
        receipt[at] ^= 1;
        receipt
    };
    let whole = fleet.receipt(&token).encode();
    let cases = [
        ("of the whole chain", whole.clone()),
        ("of its beginning", fleet.receipt(&root).encode()),
        ("of another chain", fleet.receipt(&elsewhere).encode()),
        (
            "of another position",
            fleet
                .receipt_with(&token, |claims| {
                    claims.position = 0;
                    claims.indices = vec![0];
                })
                .encode(),
        ),
        (
            "recorded before its key was good",
            fleet.receipt_with(&token, |claims| claims.recorded_at = UnixMillis(0)).encode(),
        ),
        ("a bit of its signature", flipped(0)),
        ("a bit of its claims", flipped(40)),
        ("cut short", whole[..whole.len() - 1].to_vec()),
    ];
    let one = |(name, receipt): (&str, Vec<u8>)| {
        let outcome = Receipt::decode(&receipt).map_err(|bad| Malformed::Receipt(bad).into());
        let outcome =
            outcome.and_then(|receipt| Ok(Coverage::verify(receipt, &token, &fleet.bundle)?));
        let position = outcome.as_ref().ok().map(Coverage::position);
        json!({
            "name": name, "token": bytes(token.encode()), "receipt": bytes(&receipt),
            "verdict": verdict(&outcome), "covers": position,
        })
    };
    agreed("receipts.json", &cases.into_iter().map(one).collect());
}

/// A tool's answer to one request, at one time, after some revocations.
struct Case {
    name: &'static str,
    now: UnixMillis,
    revoked: Vec<Revocation>,
    request: Request,
}

fn cases(fleet: &Fleet) -> Vec<Case> {
    let root = fleet.root("planner", READ);
    let agent = append(&root, &to_agent("reader", READ), "planner").unwrap();
    let helper = append(&agent, &to_helper("scout", READ), "reader").unwrap();
    let deep = append(&helper, &to_helper("deep", READ), "scout").unwrap();
    let deeper = append(&deep, &to_helper("thief", READ), "deep").unwrap();
    let handed = fleet.root("planner", &["fs.read@tool://files path=under:/data use:delegates"]);
    let given =
        append(&handed, &to_agent("reader", &["fs.read@tool://files path=under:/data"]), "planner")
            .unwrap();
    let case = |name, request| Case { name, now: NOW, revoked: Vec::new(), request };
    let call = |token, by: &str| Request::new(token, &key(by), "fs.read", ARGS);
    let covered = |token, by: &str| call(token, by).with(&fleet.receipt(token));
    let revoked = |name, what: Revocation| Case {
        revoked: vec![what],
        ..case(name, covered(&agent, "reader"))
    };
    let at = |name, ms: i64| {
        let request = Request::at(NOW.plus_ms(ms), &root, &key("planner"), "fs.read", ARGS);
        Case { now: NOW.plus_ms(ms), ..case(name, request) }
    };
    vec![
        case("block 0, in scope", call(&root, "planner")),
        case(
            "outside the path",
            Request::new(&root, &key("planner"), "fs.read", r#"{"path":"/etc/x"}"#),
        ),
        case(
            "an argument more",
            Request::new(&root, &key("planner"), "fs.read", r#"{"path":"/data/a","b":1}"#),
        ),
        case("another action", Request::new(&root, &key("planner"), "db.read", ARGS)),
        case("another's key", call(&root, "thief")),
        case(
            "the proof of another call",
            Request { arguments: r#"{"path":"/data/b"}"#.into(), ..call(&root, "planner") },
        ),
        case("a prefix of the chain", Request { token: root.encode(), ..call(&agent, "reader") }),
        case("an agent's hop without a receipt", call(&agent, "reader")),
        case("an agent's hop with one", covered(&agent, "reader")),
        case(
            "a helper's hop behind a receipt",
            call(&helper, "scout").with(&fleet.receipt(&agent)),
        ),
        case("two helpers behind it", call(&deep, "deep").with(&fleet.receipt(&agent))),
        case(
            "three, where two may be unrecorded",
            call(&deeper, "thief").with(&fleet.receipt(&agent)),
        ),
        case("for delegates, by its holder", call(&handed, "planner")),
        case("for delegates, by one", covered(&given, "reader")),
        case(
            "an identity",
            Request::new(&fleet.identity("planner"), &key("planner"), "fs.read", ARGS),
        ),
        revoked("its own hop revoked", Revocation::Hop(agent.id())),
        revoked("the hop above revoked", Revocation::Hop(root.id())),
        revoked("its agent suspended", Revocation::AgentSuspended(sublet_tests::agent("reader"))),
        revoked(
            "the key above revoked",
            Revocation::AgentKey(key("planner").public_key().thumbprint()),
        ),
        revoked(
            "its principal revoked",
            Revocation::Principal("user:alice@acme.example".parse().unwrap()),
        ),
        revoked(
            "its principal back, after it was issued",
            Revocation::PrincipalRestored("user:alice@acme.example".parse().unwrap()),
        ),
        at("the first second", -10_000),
        at("before it", -10_001),
        at("the last millisecond", 3_599_999),
        at("the end", 3_600_000),
    ]
}

#[test]
fn calls() {
    let fleet = Fleet::new();
    let one = |case: Case| {
        let mut tool = Tool::new(&fleet);
        let revoked: Vec<String> = case.revoked.iter().map(|what| format!("{what:?}")).collect();
        case.revoked.into_iter().for_each(|what| tool.revoke(what));
        if case.now > NOW {
            tool.follow(case.now);
        }
        let outcome = tool.answer_at(case.now, &case.request);
        json!({
            "name": case.name, "now_ms": case.now.0, "revoked": revoked,
            "audience": tool.audience, "action": case.request.action,
            "arguments": case.request.arguments, "token": bytes(&case.request.token),
            "receipt": bytes(&case.request.receipt), "proof": bytes(&case.request.proof),
            "verdict": verdict(&outcome),
        })
    };
    let all: Vec<Value> = cases(&fleet).into_iter().map(one).collect();
    let granted = all.iter().filter(|case| case["verdict"] == "granted").count();
    assert!((6..12).contains(&granted), "{granted} granted");
    agreed("calls.json", &all.into());
}
