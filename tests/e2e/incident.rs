//! What an operator does in an incident, and whether the answers mislead: what is not known is said, what
//! cannot be undone is asked first, and what can be undone comes back without what was issued before.

use std::process::{Command, Stdio};

use crate::stage::{Run, SUBLET, Stage};
use crate::walk::{CALL, enroll, issue, run};

const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// An id that nobody knows is revoked all the same, and nobody is told that a hop was revoked.
#[test]
fn what_no_record_is_of_is_revoked_and_said() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    let issued = issue(&stage);
    let known = issued["hop"].as_str().unwrap();
    let revoke = |args: &[&str]| stage.sublet(&[&["revoke"], args].concat());
    let note = "note: it is revoked, but the broker has no record of this hop";
    let first = revoke(&["hop", UNKNOWN]);
    assert_eq!(first.code, 4, "{first:?}");
    assert!(first.out.contains("revoked") && first.err.contains(note), "{first:?}");
    let again = revoke(&["hop", UNKNOWN, "--unknown-too", "--output", "json"]);
    assert!(again.code == 0 && again.err.contains(note), "{again:?}");
    assert_eq!(again.json()["recorded"], false);
    let told = stage.sublet(&["audit", "replay", "--all"]).ok();
    assert!(told.contains(&format!("hop {UNKNOWN} by admin")), "it is in force: {told}");
    for (args, note) in [
        (["key", UNKNOWN], "no record of this key"),
        (["principal", "user:bob"], "no record of this principal"),
    ] {
        revoke(&[&args[..], &["--yes"]].concat()).fails(4, note);
    }
    revoke(&["agent", "agent/nobody"]).fails(2, "[unknown_agent]");
    revoke(&["delegation", UNKNOWN]).fails(2, "[not_found]");
    // What is known is revoked without a word more, by whoever may.
    let by_holder = revoke(&["hop", known, "--as", "planner"]);
    assert!(by_holder.code == 0 && by_holder.err.is_empty(), "{by_holder:?}");
    let by_admin = revoke(&["hop", known, "--output", "json"]);
    assert!(by_admin.err.is_empty(), "{by_admin:?}");
    assert_eq!(by_admin.json()["recorded"], true);
}

/// Each act that cannot be undone, where nobody can be asked: nothing is done.
#[test]
fn what_cannot_be_undone_needs_a_yes() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "reader");
    issue(&stage);
    let key = stage.sublet(&["agent", "show", "agent/planner", "--output", "json"]).json();
    let key = key["key"].as_str().unwrap();
    let before = stage.sublet(&["audit", "checkpoint", "--output", "json"]).json();
    let acts: [&[&str]; 6] = [
        &["revoke", "principal", "user:alice"],
        &["revoke", "key", key],
        &["agent", "revoke-key", "agent/reader"],
        &["audit", "erase", "1", "--reason", "x"],
        &["audit", "prune", "--below", "1"],
        &["trust", "taint", "1"],
    ];
    for act in acts {
        let run = stage.sublet(act);
        assert_eq!((run.code, run.out.as_str()), (64, ""), "{run:?}");
        assert!(run.err.contains("cannot be undone") && run.err.contains("--yes"), "{run:?}");
    }
    let after = stage.sublet(&["audit", "checkpoint", "--output", "json"]).json();
    assert_eq!(before, after, "nothing was done");
    for act in acts {
        stage.sublet(&[act, &["--yes"]].concat()).ok();
    }
}

/// Runs `sublet` with a terminal as its input, on which this is typed.
fn typed(stage: &Stage, args: &[&str], words: &str) -> Run {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let input = std::fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut terminal = std::fs::File::from(terminal);
    std::io::Write::write_all(&mut terminal, words.as_bytes()).unwrap();
    let child = Command::new(SUBLET)
        .args(args)
        .env("SUBLET_BROKER", &stage.endpoint)
        .env("SUBLET_TRUST", &stage.trust)
        .env("SUBLET_ADMIN_KEY", &stage.admin_key)
        .stdin(Stdio::from(input))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Run::of(args, child.wait_with_output().unwrap())
}

#[test]
fn what_cannot_be_undone_is_asked_on_a_terminal() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    let act = ["agent", "revoke-key", "agent/planner"];
    for word in ["no\n", "\n", "y\n"] {
        let run = typed(&stage, &act, word);
        assert!(run.err.contains("cannot be undone"), "{run:?}");
        assert!(run.err.contains("[local]"), "{run:?}");
        run.fails(1, "nothing was done");
    }
    stage.sublet(&["agent", "renew", "--as", "planner"]).ok();
    typed(&stage, &act, "yes\n").ok();
    stage.sublet(&["agent", "renew", "--as", "planner"]).fails(2, "[key_revoked]");
}

/// At a tool and at the broker, before and after a restart: what was issued before the return of a principal
/// stays dead, what is issued after it lives.
#[test]
fn a_principal_comes_back_and_what_was_issued_before_does_not() {
    let mut stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    std::fs::rename(stage.path("root.token"), stage.path("before.token")).unwrap();
    let restore = ["principal", "restore", "user:alice", "--reason", "a mistake"];
    stage.sublet(&restore).fails(2, "[not_found]");
    stage.sublet(&["revoke", "principal", "user:alice", "--yes"]).ok();
    let ask = ["issue", "--as", "planner", "--on-behalf-of", "user:alice", "--out", "after.token"];
    let ask = [&ask[..], &["--allow", "fs.read@tool://files path=under:/data"]].concat();
    stage.sublet(&ask).fails(2, "[principal_revoked]");
    let said = stage.sublet(&restore).ok();
    assert!(said.contains("restored") && said.contains("issued before"), "{said}");
    // At once: the command has waited for the second to end.
    stage.sublet(&ask).ok();
    let called = |stage: &Stage, token: &str, more: &[&str]| {
        let call = ["prove", "call", "--as", "planner", "--token", token, "--out", "call.proof"];
        run(stage, &call, &CALL).ok();
        let verify = [&["authorize", "--token", token, "--proof", "call.proof"], more].concat();
        run(stage, &verify, &CALL)
    };
    let held = |stage: &Stage| {
        stage.sublet(&["trust", "snapshot", "--out", "feed.txt"]).ok();
        for more in [&[][..], &["--revocations", "feed.txt", "--max-staleness", "60s"]] {
            called(stage, "before.token", more).fails(2, "[principal_revoked]");
            called(stage, "after.token", more).ok();
        }
        let record = |token: &str| stage.sublet(&["record", "--as", "planner", "--token", token]);
        record("before.token").fails(2, "[principal_revoked]");
        record("after.token").ok();
    };
    held(&stage);
    stage.kill_and_restart();
    held(&stage);
    let told = stage.sublet(&["audit", "replay", "--principal", "user:alice"]).ok();
    let name = "user:alice@dev.sublet.example";
    assert!(told.contains(&format!("principal {name} restored by admin")), "{told}");
    // Revoked again, it is revoked for all.
    stage.sublet(&["revoke", "principal", "user:alice", "--yes"]).ok();
    called(&stage, "after.token", &[]).fails(2, "[principal_revoked]");
}
