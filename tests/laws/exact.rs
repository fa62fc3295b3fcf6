//! A call names one tool and one action: whatever a scope says, no decision admits a call of which the
//! audience or the action does not parse as an exact one. SPEC 4.8.1.

use proptest::prelude::*;
use sublet_core::authorize::{Bound, CallView, decide_call, decide_peer, foresee_call, prove};
use sublet_core::capability::{Action, Audience, Pattern};
use sublet_core::decide::BadUse;
use sublet_core::decide::{ProvenUse, ReportedUse};
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::record::UseVerdict;
use sublet_core::refusal::Refusal;
use sublet_core::revocation::feed::FeedPosition;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::universe::Dice;
use sublet_tests::{Fleet, NOW, Tool, code, key, nonce};

use crate::{config, dice};

/// Every tool and every file action, with whatever arguments.
const WIDE: &[&str] = &["fs.@tool:// *=any", "fs.@tool://files/ *=any", "fs.@tool://files *=any"];

const AUDIENCES: [&str; 6] = ["tool://files", "tool://", "tool://files/", "files", "", "TOOL://x"];
const ACTIONS: [&str; 6] = ["fs.read", "fs.", "fs", "", ".", "fs.read/x"];
const TAILS: [&str; 14] =
    ["a", ".", "..", "/", "/../admin", "%2e%2e", " ", "\"", "é", "\0", "a.b", "-", "_", "\u{2024}"];

fn named(from: &[&str], dice: &mut Dice) -> String {
    let head = (*dice.pick(from)).to_owned();
    let tails = (0..dice.below(3)).map(|_| *dice.pick(&TAILS)).collect::<String>();
    let long = if dice.one_in(40) { "x".repeat(1_100) } else { String::new() };
    head + &tails + &long
}

fn is_one(audience: &str, action: &str) -> bool {
    let audience = audience.parse::<Audience>();
    let action = action.parse::<Action>();
    let exact = |pattern: &Pattern| matches!(pattern, Pattern::Exact(_));
    audience.is_ok_and(|one| exact(one.pattern())) && action.is_ok_and(|one| exact(one.pattern()))
}

/// What each decision says of a call: the tool's, the service's that asks who calls, the one that is
/// foreseen, the broker's about a use that was reported.
fn decided(fleet: &Fleet, call: &Call) -> [&'static str; 4] {
    let tool = Tool::new(fleet);
    let (token, identity) = (fleet.root("planner", WIDE), fleet.identity("planner"));
    let proof = |token: &VerifiedToken| {
        let digest = call.arguments.digest();
        let id = nonce(&[b"exact"]);
        let claims =
            CallClaims::of_digest(token.id(), &call.audience, &call.action, digest, NOW, id);
        CallProof::sign(claims, &key("planner")).unwrap()
    };
    let possession =
        |token: &VerifiedToken| prove(token, &proof(token), &Bound::of(call), NOW).unwrap();
    let view = CallView {
        revocations: &tool.view,
        age_ms: Some(0),
        staleness_ms_max: 10_000,
        coverage: None,
    };
    let reported = ReportedUse {
        counter: 0,
        audience: call.audience.clone(),
        action: call.action.clone(),
        verdict: UseVerdict::Allowed,
        decided_at: NOW,
        revocations: FeedPosition::new(1, 0),
        age_ms: Some(0),
        staleness_ms_max: 10_000,
        arguments: Some(call.arguments.evidence()),
        proof: proof(&token),
        receipt: None,
    };
    let used = ProvenUse::verify(reported, token.clone());
    [
        code(decide_call(&token, &possession(&token), call, view, NOW)),
        code(decide_peer(&identity, &possession(&identity), call, view, NOW)),
        code(foresee_call(&token, call, None, NOW)),
        code(used.map_err(|why| {
            assert!(matches!(why, BadUse::NotExact(_) | BadUse::NameTooLong), "{why}");
            Refusal::from(
                call.check_exact().map_err(sublet_core::refusal::Malformed::from).unwrap_err(),
            )
        })),
    ]
}

proptest! {
    #![proptest_config(config())]

    // SPEC 4.8.1.
    #[test]
    fn a_call_that_names_no_one_tool_and_action_is_never_admitted(mut dice in dice()) {
        let fleet = Fleet::new();
        for _ in 0..4 {
            let audience = named(&AUDIENCES, &mut dice);
            let action = named(&ACTIONS, &mut dice);
            let arguments = Arguments::from_json(br#"{"path":"/data"}"#).unwrap();
            let call = Call { audience, action, arguments };
            let said = decided(&fleet, &call);
            if is_one(&call.audience, &call.action) {
                let held = call.audience.starts_with("tool://") && call.action.starts_with("fs.");
                let tool = if held { "granted" } else { "not_allowed" };
                prop_assert_eq!(said, [tool, "granted", tool, "granted"], "{:?}", call);
            } else {
                prop_assert_eq!(said, ["call_not_exact"; 4], "{:?}", call);
            }
        }
    }
}
