//! The demo is the main job: every outcome as expected.

use crate::stage::sublet_in;

/// Every step, what came of it, and with which code where it is a refusal.
const OUTCOMES: [&str; 31] = [
    "enroll planner: done []",
    "enroll researcher: done []",
    "enroll analyst: done []",
    "enroll editor: done []",
    "join token used twice: denied [join_token_used]",
    "issue to planner on behalf of alice: done []",
    "hop 1 online, planner to researcher: done []",
    "hop 2 online, researcher to analyst: done []",
    "hop 3 offline, analyst to its helper scout: done []",
    "a sibling hop, planner to editor: done []",
    "scout reads what it may: allowed []",
    "the same proof replayed: denied [proof_replayed]",
    "scout writes: denied [not_allowed]",
    "analyst escapes its path: denied [not_allowed]",
    "researcher delegates more than it holds: denied [scope_exceeds_parent]",
    "researcher delegates for longer than it holds: denied [outlives_parent]",
    "a stolen token without its key: denied [proof_signature]",
    "a hop in another agent's name: denied [not_the_agents_key]",
    "a block spliced from another token: denied [block_not_canonical]",
    "planner revokes the middle hop: done []",
    "scout, two hops below, within a second: denied [hop_revoked]",
    "editor, a sibling, still reads: allowed []",
    "the admin suspends editor: done []",
    "editor, suspended, within a second: denied [agent_suspended]",
    "planner reads without the broker: allowed []",
    "planner reads, the revocation view is stale: denied [stale_view]",
    "the broker restarted with every hop: done []",
    "planner reads, the feed is back: allowed []",
    "the chain replayed: done []",
    "the evidence verified offline: done []",
    "a tampered copy of it: denied [ledger_invalid]",
];

#[test]
fn the_demo_ends_as_it_should() {
    let home = tempfile::tempdir().unwrap();
    // On a machine that builds and tests beside it, a second may pass in between.
    let args = ["demo", "--patience", "5", "--keep", "kept", "--output", "json"];
    let run = sublet_in(home.path(), &args);
    let told = run.json();
    assert_eq!(told["ok"], true, "{told:#}");
    let outcomes = told["outcomes"].as_array().unwrap();
    let told = outcomes.iter().map(|outcome| {
        let text = |name: &str| outcome[name].as_str().unwrap().to_owned();
        assert_eq!(text("expected"), text("actual"), "{outcome}");
        format!("{}: {} [{}]", text("name"), text("actual"), text("code"))
    });
    assert_eq!(told.collect::<Vec<_>>(), OUTCOMES);
    assert!(home.path().join("kept/broker/trust.json").exists());
    sublet_in(home.path(), &["demo", "--keep", "kept"]).fails(64, "not empty");
}
