//! What is pruned goes, what is held stays, and everybody sees which.

use std::fs;

use crate::ledger::{grow, verify};
use crate::stage::Stage;

/// Records below the ledger's size that are gone, by a fresh copy of it.
fn gone(stage: &Stage, copy: &str) -> u64 {
    stage.sublet(&["audit", "mirror", copy, "--output", "json"]).json()["pruned"].as_u64().unwrap()
}

// SPEC 9.10.
#[test]
fn records_are_pruned_but_for_what_is_held_and_every_proof_stays() {
    let mut stage = Stage::set();
    grow(&stage, 0..150);
    stage.sublet(&["audit", "mirror", "before"]).ok();
    grow(&stage, 150..330);
    stage
        .sublet(&[
            "audit",
            "legal-hold",
            "add",
            "case-1",
            "--from",
            "300",
            "--to",
            "301",
            "--reason",
            "a case",
        ])
        .ok();
    for (args, detail) in [
        (&["audit", "prune", "--below", "9999", "--yes"][..], "[bad_field]"),
        (&["audit", "erase", "300", "--reason", "x", "--yes"], "[under_hold]"),
        (
            &["audit", "legal-hold", "add", "case-1", "--from", "3", "--reason", "x"],
            "[already_exists]",
        ),
        (&["audit", "legal-hold", "remove", "case-2", "--reason", "x"], "[not_found]"),
    ] {
        let run = stage.sublet(args);
        assert!(run.code != 0 && run.err.contains(detail), "{args:?}: {run:?}");
    }
    let size = stage.sublet(&["audit", "mirror", "size", "--output", "json"]).json();
    let size = size["records"].as_u64().unwrap();
    let below = size.to_string();
    stage.sublet(&["audit", "prune", "--below", &below, "--yes"]).ok();
    assert_eq!(gone(&stage, "after"), 256, "two bundles are full, one is held");
    verify(&stage, "after", &[]).fails(20, "");
    // A copy that was there before keeps what it has, and goes on.
    assert_eq!(gone(&stage, "before"), 0, "it had the first bundle already");
    verify(&stage, "before", &[]).ok();
    // A signed head of before is one of the beginning still.
    let old = fs::read(stage.path("before/checkpoint")).unwrap();
    fs::write(stage.path("kept"), old).unwrap();
    stage.sublet(&["audit", "export", "--out", "evidence.sublet"]).ok();
    let verified = verify(&stage, "evidence.sublet", &["--checkpoint", "kept", "--output", "json"]);
    assert_eq!(verified.code, 20, "{verified:?}");
    assert!(verified.out.contains("\"pruned\": [\n    [\n      0,\n      255"), "{verified:?}");
    stage.kill_and_restart();
    stage.sublet(&["audit", "legal-hold", "remove", "case-1", "--reason", "closed"]).ok();
    assert_eq!(gone(&stage, "released"), 512);
    let kept = stage.sublet(&["audit", "retention", "--output", "json"]).json();
    assert_eq!((&kept["below"], kept["holds"].as_array().unwrap().len()), (&size.into(), 0));
    // The records of it say who did what, and why.
    let told = stage.sublet(&["audit", "replay", "--all"]);
    assert!(told.out.contains("pruned: records 0 to 511"), "{told:?}");
}
