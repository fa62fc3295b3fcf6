//! The CLI walk, as a new user goes it, with wrong input at every step.

use crate::stage::{Stage, sublet_in};

const SCOPE: &str = "fs.read@tool://files path=under:/data";
const NARROW: &str = "fs.read@tool://files path=under:/data/q3";
pub(crate) const CALL: [&str; 6] =
    ["--audience", "tool://files", "--action", "fs.read", "--arg", "path=/data/q3/a"];

pub(crate) fn enroll(stage: &Stage, name: &str) {
    let join = stage.sublet(&["agent", "create", &format!("agent/{name}")]).ok();
    std::fs::write(stage.path("join"), join).unwrap();
    stage.sublet(&["agent", "enroll", "--join-token", "join", "--out", name]).ok();
}

pub(crate) fn issue(stage: &Stage) -> serde_json::Value {
    let args = [
        "issue",
        "--as",
        "planner",
        "--on-behalf-of",
        "user:alice",
        "--allow",
        SCOPE,
        "--hops",
        "4",
        "--offline-hops",
        "1",
        "--out",
        "root.token",
        "--output",
        "json",
    ];
    stage.sublet(&args).json()
}

fn with(head: &[&str], tail: &[&str]) -> Vec<String> {
    head.iter().chain(tail).map(|word| (*word).to_owned()).collect()
}

pub(crate) fn run(stage: &Stage, head: &[&str], tail: &[&str]) -> crate::stage::Run {
    let words = with(head, tail);
    stage.sublet(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_whole_walk() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "reader");
    let issued = issue(&stage);
    let delegate = [
        "delegate",
        "--as",
        "planner",
        "--token",
        "root.token",
        "--to",
        "agent/reader",
        "--allow",
        NARROW,
        "--out",
        "reader.token",
        "--output",
        "json",
    ];
    let hop = stage.sublet(&delegate).json();
    assert_eq!((&hop["position"], &hop["unrecorded"]), (&1.into(), &0.into()));
    // A helper, offline, then recorded.
    stage.sublet(&["key", "create", "--out", "scout"]).ok();
    let spawn = [
        "delegate",
        "--as",
        "reader",
        "--token",
        "reader.token",
        "--helper",
        "scout",
        "--to-key",
        "scout/key.pub",
        "--allow",
        NARROW,
        "--offline",
        "--out",
        "scout.token",
        "--output",
        "json",
    ];
    assert_eq!(stage.sublet(&spawn).json()["unrecorded"], 1);
    let recorded = stage
        .sublet(&["record", "--as", "scout", "--token", "scout.token", "--output", "json"])
        .json();
    assert_eq!(recorded["unrecorded"], 0);
    // A call, decided offline.
    run(
        &stage,
        &["prove", "call", "--as", "scout", "--token", "scout.token", "--out", "call.proof"],
        &CALL,
    )
    .ok();
    let verify = ["authorize", "--token", "scout.token", "--proof", "call.proof"];
    let verdict = run(
        &stage,
        &verify,
        &with(&CALL, &["--output", "json"]).iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let verdict = verdict.json();
    assert_eq!(verdict["verdict"], "allowed");
    assert_eq!(verdict["on_behalf_of"], "user:alice@dev.sublet.example");
    let tree = stage.sublet(&["inspect", "scout.token"]).ok();
    assert!(
        tree.contains("signatures: valid")
            && tree.contains("agent/reader#scout (helper)")
            && tree.contains("narrowed: path under:/data → under:/data/q3"),
        "{tree}"
    );
    // The delegator revokes its hop: everything below is refused, with a reason.
    let id = hop["hop"].as_str().unwrap();
    stage.sublet(&["revoke", "hop", id, "--as", "planner", "--reason", "done"]).ok();
    run(&stage, &verify, &CALL).fails(2, "hop 1");
    stage.sublet(&["record", "--as", "scout", "--token", "scout.token"]).fails(2, "[hop_revoked]");
    let delegation = issued["delegation"].as_str().unwrap();
    let replay = stage.sublet(&["audit", "replay", delegation, "--output", "json"]).json();
    assert_eq!(replay["holds"], true);
    assert_eq!(replay["hops"].as_array().unwrap().len(), 3);
    assert_eq!(replay["revocations"].as_array().unwrap().len(), 1);
    assert_eq!(replay["refusals"], serde_json::json!([]), "who holds a dead token writes nothing");
    let status = stage.sublet(&["status", "--output", "json"]).json();
    assert_eq!(status["agents"], 2);
}

#[test]
fn offline_without_a_broker_a_fresh_receipt_or_a_snapshot_stands_in() {
    let mut stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    stage.sublet(&["trust", "snapshot", "--out", "feed.txt"]).ok();
    run(
        &stage,
        &["prove", "call", "--as", "planner", "--token", "root.token", "--out", "call.proof"],
        &CALL,
    )
    .ok();
    stage.kill();
    let verify = |more: &[&str]| {
        let mut words = vec![
            "--trust",
            stage.trust.to_str().unwrap(),
            "authorize",
            "--token",
            "root.token",
            "--proof",
            "call.proof",
        ];
        words.extend(CALL);
        words.extend(more);
        sublet_in(stage.home.path(), &words)
    };
    verify(&["--max-staleness", "60s"]).ok();
    verify(&["--max-staleness", "60s", "--revocations", "feed.txt"]).ok();
    std::fs::write(stage.path("feed.txt"), "nonsense\n").unwrap();
    verify(&["--revocations", "feed.txt"]).fails(3, "line 1");
}

#[test]
fn wrong_input_is_told_and_leaves_nothing_behind() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    // Enrollment.
    stage.sublet(&["agent", "create", "agent/planner"]).fails(2, "[already_exists]");
    stage
        .sublet(&["agent", "create", "agent/x", "--profile", "nope"])
        .fails(2, "[unknown_profile]");
    stage.sublet(&["agent", "create", "agent//x"]).fails(3, "no SPIFFE id");
    stage
        .sublet(&["agent", "enroll", "--join-token", "join", "--out", "again"])
        .fails(2, "[join_token_used]");
    assert!(!stage.path("again/identity.token").exists() && !stage.path("again/key.pem").exists());
    std::fs::write(stage.path("junk"), "junk").unwrap();
    stage
        .sublet(&["agent", "enroll", "--join-token", "junk", "--out", "again"])
        .fails(3, "no join token");
    stage
        .sublet(&["agent", "enroll", "--join-token", "missing", "--out", "again"])
        .fails(1, "missing");
    stage
        .sublet(&["agent", "enroll", "--join-token", "join", "--out", "planner"])
        .fails(1, "already");
    // Issue.
    let issue = |allow: &str, principal: &str, ttl: &str| {
        let args = [
            "issue",
            "--as",
            "planner",
            "--on-behalf-of",
            principal,
            "--allow",
            allow,
            "--ttl",
            ttl,
            "--out",
            "no.token",
        ];
        stage.sublet(&args)
    };
    issue("rm.all@tool://files", "user:alice", "5m").fails(2, "[scope_exceeds_profile]");
    issue(SCOPE, "user:alice@elsewhere.example", "5m").fails(2, "[principal_not_allowed]");
    issue(SCOPE, "Alice", "5m").fails(3, "no principal");
    issue(SCOPE, "user:alice", "30d").fails(2, "[profile_limit]");
    issue(SCOPE, "user:alice", "soon").fails(64, "not a duration");
    issue("fs.read", "user:alice", "5m").fails(3, "action@audience");
    assert!(!stage.path("no.token").exists());
    // Delegate.
    let delegate = |token: &str, allow: &str, more: &[&str]| {
        run(
            &stage,
            &[
                "delegate", "--as", "planner", "--token", token, "--allow", allow, "--out",
                "no.token",
            ],
            more,
        )
    };
    let to = ["--to", "agent/planner"];
    delegate("root.token", "fs.read@tool://files path=under:/", &to)
        .fails(2, "under:/data or less");
    delegate("root.token", NARROW, &["--to", "agent/planner", "--ttl", "2h"])
        .fails(2, "[outlives_parent]");
    delegate("root.token", NARROW, &["--to", "agent/nobody"]).fails(2, "[unknown_agent]");
    delegate("junk", NARROW, &to).fails(3, "no token in text form");
    delegate("root.token", NARROW, &["--helper", "scout"]).fails(64, "--to-key");
    delegate("root.token", NARROW, &["--helper", "SCOUT", "--to-key", "junk"]).fails(3, "to-key");
    assert!(!stage.path("no.token").exists());
    // Another's token: the key is missing.
    stage.sublet(&["key", "create", "--out", "thief"]).ok();
    run(
        &stage,
        &["prove", "call", "--as", "thief", "--token", "root.token", "--out", "no.proof"],
        &CALL,
    )
    .fails(2, "[not_the_holder]");
    // Verify.
    run(
        &stage,
        &["prove", "call", "--as", "planner", "--token", "root.token", "--out", "call.proof"],
        &CALL,
    )
    .ok();
    let other = ["--audience", "tool://files", "--action", "fs.read", "--arg", "path=/data/q3/b"];
    run(&stage, &["authorize", "--token", "root.token", "--proof", "call.proof"], &other)
        .fails(2, "[wrong_arguments]");
    run(&stage, &["authorize", "--token", "root.token", "--proof", "junk"], &CALL)
        .fails(3, "proof");
    // Revoke, audit, and what is not there.
    stage.sublet(&["revoke", "hop", "zzz"]).fails(3, "base64url");
    stage.sublet(&["audit", "replay", &"A".repeat(43)]).fails(2, "[not_found]");
    stage.sublet(&["agent", "show", "agent/nobody"]).fails(2, "[unknown_agent]");
    stage.sublet(&["nonsense"]).fails(64, "nonsense");
    sublet_in(stage.home.path(), &["status"]).fails(64, "SUBLET_BROKER");
    sublet_in(
        stage.home.path(),
        &[
            "--broker",
            "http://127.0.0.1:1",
            "trust",
            "snapshot",
            "--trust",
            stage.trust.to_str().unwrap(),
            "--out",
            "x",
        ],
    )
    .fails(1, "127.0.0.1:1");
    sublet_in(stage.home.path(), &["serve", "--dev", "--listen", "0.0.0.0:0"])
        .fails(64, "loopback only");
    stage
        .sublet(&["serve", "--dev", "--listen", "127.0.0.1:0", "--data", "broker"])
        .fails(1, "another broker is at work in it");
}

#[test]
fn an_agent_is_suspended_resumed_and_loses_its_key_for_ever() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    let renew = || stage.sublet(&["agent", "renew", "--as", "planner"]);
    renew().ok();
    stage.sublet(&["agent", "suspend", "agent/planner", "--reason", "lost"]).ok();
    renew().fails(2, "suspended");
    stage.sublet(&["agent", "resume", "agent/planner"]).ok();
    renew().ok();
    stage.sublet(&["agent", "rotate-key", "--as", "planner"]).ok();
    // What was held under the old key stays usable.
    run(
        &stage,
        &["prove", "call", "--as", "planner", "--token", "root.token", "--out", "call.proof"],
        &CALL,
    )
    .ok();
    run(&stage, &["authorize", "--token", "root.token", "--proof", "call.proof"], &CALL).ok();
    stage.sublet(&["agent", "revoke-key", "agent/planner", "--reason", "stolen", "--yes"]).ok();
    renew().fails(2, "[key_revoked]");
    let invited = stage.sublet(&["agent", "show", "agent/planner", "--output", "json"]).json();
    assert_eq!(invited["state"], "invited");
    let join = stage.sublet(&["agent", "invite", "agent/planner"]).ok();
    std::fs::write(stage.path("join"), join).unwrap();
    stage.sublet(&["agent", "enroll", "--join-token", "join", "--out", "planner-again"]).ok();
}

#[test]
fn a_broker_that_is_told_to_stop_stops_with_a_watcher_on_its_feed() {
    let mut stage = Stage::set();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let trust = sublet_client::trust::Trust::open(
            &stage.trust,
            sublet_client::ports::Ports::system().clock.now(),
        )
        .unwrap();
        let broker =
            sublet_client::broker::connect::Broker::connect(&stage.endpoint).await.unwrap();
        let follower = sublet_client::tool::follow::Follower::start(broker, None, trust);
        follower.ready(std::time::Duration::from_secs(10)).await.unwrap();
        let stopped = tokio::task::block_in_place(|| stage.stop());
        assert!(stopped.success());
    });
}

#[test]
fn a_broker_that_is_not_dev_shows_its_feed_to_identities_alone() {
    let mut stage = Stage::set();
    stage.sublet(&["key", "create", "--out", "admin"]).ok();
    stage.stop();
    std::fs::create_dir_all(stage.path("own")).unwrap();
    std::fs::copy(stage.path("admin/key.pub"), stage.path("own/admin.pub")).unwrap();
    std::fs::write(
        stage.path("sublet.toml"),
        "trust_domain = \"acme.example\"\ndata = \"own\"\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    stage.start_configured("sublet.toml", "own", "admin/key.pem");
    let profile = "name = \"default\"\nprincipals = [\"user:*@acme.example\"]\nttl_seconds_max = 900\nhops_max = 4\n\
        offline_hops_max = 1\nallow = [\"fs.@tool://files path=under:/data\"]\n";
    std::fs::write(stage.path("profile.toml"), profile).unwrap();
    stage.sublet(&["profile", "apply", "profile.toml"]).ok();
    enroll(&stage, "planner");
    issue(&stage);
    let snapshot = |more: &[&str]| {
        let trust = stage.trust.to_str().unwrap();
        let words = [
            &[
                "--broker",
                &stage.endpoint,
                "--trust",
                trust,
                "trust",
                "snapshot",
                "--out",
                "feed.txt",
            ],
            more,
        ]
        .concat();
        sublet_in(stage.home.path(), &words)
    };
    snapshot(&[]).fails(2, "[credentials_missing]");
    snapshot(&["--as", "planner"]).ok();
    run(
        &stage,
        &["prove", "call", "--as", "planner", "--token", "root.token", "--out", "call.proof"],
        &CALL,
    )
    .ok();
    run(
        &stage,
        &["authorize", "--token", "root.token", "--proof", "call.proof", "--as", "planner"],
        &CALL,
    )
    .ok();
    stage.sublet(&["agent", "suspend", "agent/planner"]).ok();
    snapshot(&["--as", "planner"]).fails(2, "suspended");
}

/// Ids are base64url, and one in 64 begins with a hyphen.
#[test]
fn an_id_that_begins_with_a_hyphen_is_an_id() {
    let stage = Stage::set();
    for second in ["j", "h", "-", "V"] {
        let id = format!("-{second}{}A", "x".repeat(40));
        let target = ["revoke", "hop", &id, "--reason", "x", "--unknown-too"];
        stage.sublet(&target).ok();
        stage.sublet(&["audit", "replay", &id]).fails(2, "[not_found]");
        stage.sublet(&["audit", "replay", "--delegation", &id]).ok();
        stage.sublet(&["audit", "replay", "--blast-radius", &id]).ok();
        stage.sublet(&["audit", "replay", "--what-if-revoked", &format!("{id}@0")]).ok();
    }
}
