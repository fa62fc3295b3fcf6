//! What a holder can ask before it does anything: a dry run, a cut to what is held, can-i, and
//! what a token comes to.

use crate::stage::Stage;
use crate::walk::{CALL, enroll, issue, run};

const WIDE: &str = "fs.@tool:// path=under:/";

/// With one space where a table has many.
fn squeezed(table: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
    table.lines().map(line).collect()
}

#[test]
fn a_dry_run_says_what_a_hop_takes_away_and_makes_nothing() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    let issued = issue(&stage);
    let delegation = issued["delegation"].as_str().unwrap();
    stage.sublet(&["key", "create", "--out", "scout"]).ok();
    let head = ["delegate", "--as", "planner", "--token", "root.token", "--dry-run"];
    let to = ["--helper", "scout", "--to-key", "scout/key.pub"];
    let narrow = ["--allow", "fs.read@tool://files path=under:/data/q3", "--hops", "2"];
    let before = std::fs::read_dir(stage.home.path()).unwrap().count();
    let detail = squeezed(&run(&stage, &head, &[&to[..], &narrow].concat()).ok());
    for words in [
        "nothing was made",
        "held fs.read@tool://files path=under:/data\n",
        "allow fs.read@tool://files path=under:/data/q3\n",
        "narrowed path under:/data → under:/data/q3\n",
        "narrowed hops 4 → 2\n",
    ] {
        assert!(detail.contains(words), "{words:?} in {detail}");
    }
    let wide = [&to[..], &["--allow", WIDE]].concat();
    run(&stage, &head, &wide).fails(2, "hop 0 holds tool://files: ask for tool://files or less");
    assert_eq!(std::fs::read_dir(stage.home.path()).unwrap().count(), before);
    // Nothing of it is on record.
    let replay = stage.sublet(&["audit", "replay", delegation, "--output", "json"]).json();
    assert_eq!(replay["hops"].as_array().unwrap().len(), 1);
}

#[test]
fn clamp_takes_what_is_held_and_says_what_it_cut() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "reader");
    issue(&stage);
    let head = ["delegate", "--as", "planner", "--token", "root.token", "--to", "agent/reader"];
    let asked = ["--allow", WIDE, "--allow", "db.query@mcp://db", "--ttl", "30d", "--hops", "60"];
    let out = ["--clamp", "--out", "reader.token"];
    let made = run(&stage, &head, &[&asked[..], &out].concat());
    let err = made.err.clone();
    let detail = squeezed(&made.ok());
    assert!(detail.contains("allow fs.read@tool://files path=under:/data\n"), "{detail}");
    for words in [
        "cut to what is held: fs.@tool:// path=under:/: only fs.read@tool://files path=under:/data",
        "cut to what is held: db.query@mcp://db: nothing of it is held",
        "s that are left",
        "cut to what is held: 60 hops: only 4",
    ] {
        assert!(err.contains(words), "{words:?} in {err}");
    }
    let nothing = ["--allow", "db.query@mcp://db", "--clamp", "--out", "no.token"];
    run(&stage, &head, &nothing).fails(2, "[scope_exceeds_parent]");
    assert!(!stage.path("no.token").exists());
}

#[test]
fn can_i_answers_before_the_call_and_says_whom_to_ask() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "reader");
    issue(&stage);
    let head = ["delegate", "--as", "planner", "--token", "root.token", "--to", "agent/reader"];
    let narrow = ["--allow", "fs.read@tool://files path=under:/data/q3", "--out", "reader.token"];
    run(&stage, &head, &narrow).ok();
    let can = |token: &str, more: &[&str]| run(&stage, &["can-i", "--token", token], more);
    assert!(can("reader.token", &CALL).ok().contains("yes"));
    let other = ["--audience", "tool://files", "--action", "fs.read", "--arg", "path=/data/x"];
    assert!(can("root.token", &other).ok().contains("yes"));
    let refusal = can("reader.token", &other);
    assert_eq!(refusal.code, 2);
    for words in [
        "no [not_allowed]",
        "hop 1",
        "ask spiffe://dev.sublet.example/agent/planner, who made hop 1, for --allow 'fs.read@tool://files path=exactly:/data/x'",
    ] {
        assert!(refusal.out.contains(words), "{words:?} in {}", refusal.out);
    }
    let outside = ["--audience", "tool://files", "--action", "fs.rm", "--output", "json"];
    let refusal = can("reader.token", &outside);
    assert_eq!(refusal.code, 2);
    let refusal: serde_json::Value = serde_json::from_str(&refusal.out).unwrap();
    assert_eq!(
        refusal["advice"],
        "the root agent can ask the broker with sublet issue, for --allow 'fs.rm@tool://files'"
    );
    // A helper of which nothing is recorded may be within the root's allowance; two are not.
    stage.sublet(&["key", "create", "--out", "a"]).ok();
    let spawn = |by: &str, token: &str, label: &str, out: &str| {
        let head = ["delegate", "--as", by, "--token", token, "--helper", label, "--offline"];
        let tail = [
            "--to-key",
            "a/key.pub",
            "--allow",
            "fs.read@tool://files path=under:/data",
            "--out",
            out,
        ];
        run(&stage, &head, &tail).ok();
    };
    spawn("planner", "root.token", "a", "a.token");
    assert!(can("a.token", &CALL).ok().contains("yes"));
    spawn("a", "a.token", "b", "b.token");
    let refusal = can("b.token", &CALL);
    assert_eq!(refusal.code, 2);
    assert!(refusal.out.contains("record the chain: sublet record"), "{}", refusal.out);
    can("missing", &CALL).fails(1, "missing");
}

#[test]
fn inspect_shows_what_a_token_comes_to() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "reader");
    issue(&stage);
    assert!(
        stage
            .sublet(&["inspect", "root.token"])
            .ok()
            .contains("in effect: may fs.read@tool://files path=under:/data\n")
    );
    let head = ["delegate", "--as", "planner", "--token", "root.token", "--to", "agent/reader"];
    let handed =
        ["--allow", "fs.read@tool://files path=under:/data/q3 use:delegates", "--out", "r.token"];
    run(&stage, &head, &handed).ok();
    let tree = stage.sublet(&["inspect", "r.token"]).ok();
    assert!(
        tree.contains(
            "in effect: may delegate but not use fs.read@tool://files path=under:/data/q3 use:delegates"
        ),
        "{tree}"
    );
    let value = stage.sublet(&["inspect", "r.token", "--output", "json"]).json();
    assert_eq!(value["effective"]["may"].as_array().unwrap().len(), 0);
    assert_eq!(value["effective"]["may_hand_out"][0]["use"], "delegates");
    run(&stage, &["can-i", "--token", "r.token"], &CALL).fails(2, "");
}
