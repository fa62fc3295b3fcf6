//! A call proof moved to another tool, action, argument or token.

use sublet_core::authorize::{Bound, CallView, confirm, decide_call, prove, prove_undated};
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::proof::CallProof;
use sublet_core::refusal::{Refusal, Unauthenticated};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{AUDIENCE, Fleet, NOW, Request, Tool, append, code, key, to_self};

const ALL: &[&str] = &["fs.@tool:// path=under:/data", "fs.@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

fn request(fleet: &Fleet) -> Request {
    Request::new(&fleet.root("planner", ALL), &key("planner"), "fs.read", ARGS)
}

// SPEC 5.2.
#[test]
fn to_another_tool() {
    let fleet = Fleet::new();
    let mut other = Tool::new(&fleet);
    other.audience = "tool://mail".to_owned();
    assert_eq!(code(other.answer(&request(&fleet))), "wrong_audience");
}

// SPEC 5.2.
#[test]
fn to_another_action() {
    let fleet = Fleet::new();
    let moved = Request { action: "fs.write".to_owned(), ..request(&fleet) };
    assert_eq!(code(Tool::new(&fleet).answer(&moved)), "wrong_action");
}

// SPEC 5.2.
#[test]
fn to_another_argument() {
    let fleet = Fleet::new();
    for other in [r#"{"path":"/data/b"}"#, r#"{}"#, r#"{"path":"/data/a","x":1}"#] {
        let moved = Request { arguments: other.to_owned(), ..request(&fleet) };
        assert_eq!(code(Tool::new(&fleet).answer(&moved)), "wrong_arguments", "{other}");
    }
}

#[test]
fn to_another_spelling_of_the_same_arguments_is_no_move() {
    let fleet = Fleet::new();
    let spelt = Request { arguments: "{ \"path\" : \"\\u002fdata/a\" }".into(), ..request(&fleet) };
    assert_eq!(code(Tool::new(&fleet).answer(&spelt)), "granted");
}

// SPEC 5.2.
#[test]
fn to_another_token_of_the_same_holder() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", ALL);
    let narrowed =
        append(&token, &to_self(&["fs.read@tool://files path=under:/data/b"]), "planner");
    let narrow = Request::new(&narrowed.unwrap(), &key("planner"), "fs.read", ARGS);
    let moved = Request { token: token.encode(), ..narrow };
    assert_eq!(code(Tool::new(&fleet).answer(&moved)), "wrong_token");
}

#[test]
fn bytes_changed_added_or_cut() {
    let fleet = Fleet::new();
    let tool = Tool::new(&fleet);
    let good = request(&fleet);
    for at in 0..good.proof.len() {
        let mut changed = good.clone();
        changed.proof[at] ^= 1;
        assert_ne!(code(tool.answer(&changed)), "granted", "byte {at}");
        let cut = Request { proof: good.proof[..at].to_vec(), ..good.clone() };
        assert_ne!(code(tool.answer(&cut)), "granted", "cut at {at}");
    }
    let longer = Request { proof: [good.proof.as_slice(), &[0]].concat(), ..good.clone() };
    assert_eq!(code(tool.answer(&longer)), "proof_signature");
    assert_eq!(code(tool.answer(&good)), "granted");
}

/// A checker that forgets to compare the call with the proof is not let through either: the
/// decision itself asks whether the possession is of this call.
// SPEC 5.2.1.
#[test]
fn a_possession_is_good_for_the_call_that_it_was_shown_for_and_no_other() {
    let fleet = Fleet::new();
    let tool = Tool::new(&fleet);
    let token = fleet.root("planner", ALL);
    let request = request(&fleet);
    let arguments = |json: &str| Arguments::from_json(json.as_bytes()).unwrap();
    let arguments_hash = arguments(ARGS).digest();
    let call = Bound { audience: AUDIENCE, action: "fs.read", arguments_hash };
    let proof = CallProof::decode(&request.proof).unwrap();
    let possession = prove(&token, &proof, &call, NOW).unwrap();
    let view = CallView {
        revocations: &tool.view,
        age_ms: Some(0),
        staleness_ms_max: 10_000,
        coverage: None,
    };
    let decide = |audience: &str, action: &str, json: &str| {
        let (audience, action) = (audience.to_owned(), action.to_owned());
        let call = Call { audience, action, arguments: arguments(json) };
        code(decide_call(&token, &possession, &call, view, NOW))
    };
    assert_eq!(decide(AUDIENCE, "fs.read", ARGS), "granted");
    assert_eq!(decide("tool://mail", "fs.read", ARGS), "wrong_audience");
    assert_eq!(decide(AUDIENCE, "fs.write", ARGS), "wrong_action");
    assert_eq!(decide(AUDIENCE, "fs.read", r#"{"path":"/data/b"}"#), "wrong_arguments");
}

/// Who asks without the time, or once more when all of the call is there, asks no less of the call.
// SPEC 5.2.
#[test]
fn asked_once_more_or_long_after_it_is_still_of_one_call() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", ALL);
    let proof = CallProof::decode(&request(&fleet).proof).unwrap();
    let arguments_hash = Arguments::from_json(ARGS.as_bytes()).unwrap().digest();
    let call = Bound { audience: AUDIENCE, action: "fs.read", arguments_hash };
    let possession = prove(&token, &proof, &call, NOW).unwrap();
    let again =
        |call: &Bound<'_>, now| code(confirm(&possession, call, now).map_err(Refusal::from));
    let undated = |token: &VerifiedToken, proof: &CallProof, call: &Bound<'_>| {
        code(prove_undated(token, proof, call).map_err(Unauthenticated::Proof))
    };
    for (call, expected) in [
        (call, "granted"),
        (Bound { audience: "tool://mail", ..call }, "wrong_audience"),
        (Bound { action: "fs.write", ..call }, "wrong_action"),
        (Bound { arguments_hash: [0; 32], ..call }, "wrong_arguments"),
    ] {
        assert_eq!((again(&call, NOW), undated(&token, &proof, &call)), (expected, expected));
    }
    assert_eq!(again(&call, NOW.plus_ms(600_000)), "proof_expired", "some time may have passed");
    let narrowed = append(&token, &to_self(ALL), "planner").unwrap();
    assert_eq!(undated(&narrowed, &proof, &call), "wrong_token");
    let mut forged = request(&fleet).proof;
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(undated(&token, &CallProof::decode(&forged).unwrap(), &call), "proof_signature");
}
