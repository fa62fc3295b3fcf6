//! A stolen identity, with processes: it is noticed at the next renewal, that agent stops, and no other
//! has an error.

use std::fs;

use crate::ledger::copy_all;
use crate::stage::Stage;
use crate::walk::{enrol, issue};

const RENEW: [&str; 4] = ["agent", "renew", "--as", "planner"];

#[test]
fn a_copied_identity_is_noticed_at_the_next_renewal_and_stops_that_agent_alone() {
    let stage = Stage::set();
    enrol(&stage, "planner");
    enrol(&stage, "reader");
    issue(&stage);
    copy_all(&stage.path("planner"), &stage.path("stolen"));
    stage.sublet(&RENEW).ok();
    stage.sublet(&RENEW).ok();
    stage.sublet(&["agent", "renew", "--as", "stolen"]).fails(2, "[identity_cloned]");
    for who in ["planner", "stolen"] {
        stage.sublet(&["agent", "renew", "--as", who]).fails(2, "[agent_suspended]");
        let ask = [
            "issue",
            "--as",
            who,
            "--on-behalf-of",
            "user:alice",
            "--allow",
            "fs.read@tool://files path=under:/data",
            "--out",
            "no.token",
        ];
        stage.sublet(&ask).fails(2, "[agent_suspended]");
    }
    for _ in 0..3 {
        stage.sublet(&["agent", "renew", "--as", "reader"]).ok();
    }
    let shown = stage.sublet(&["agent", "show", "spiffe://dev.sublet.example/agent/planner"]).ok();
    assert!(shown.contains("suspended"), "{shown}");
    let told = stage.sublet(&["audit", "replay", "--all"]).ok();
    assert!(told.contains("[identity_cloned]") && told.contains("two hold its key"), "{told}");
    // The way back: the key is revoked for ever, and the agent comes in with another.
    stage.sublet(&["agent", "resume", "agent/planner"]).ok();
    stage.sublet(&["agent", "revoke-key", "agent/planner", "--reason", "stolen"]).ok();
    let join = stage.sublet(&["agent", "invite", "agent/planner"]).ok();
    fs::write(stage.path("join"), join).unwrap();
    stage.sublet(&["agent", "enroll", "--join-token", "join", "--out", "anew"]).ok();
    stage.sublet(&["agent", "renew", "--as", "anew"]).ok();
    stage.sublet(&["agent", "renew", "--as", "stolen"]).fails(2, "[key_revoked]");
}

#[test]
fn two_processes_with_one_directory_are_no_copies_of_each_other() {
    let stage = Stage::set();
    enrol(&stage, "planner");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| drop(stage.sublet(&RENEW).ok())));
        }
        scope.spawn(|| {
            let rotate = ["agent", "rotate-key", "--as", "planner"];
            (0..5).for_each(|_| drop(stage.sublet(&rotate).ok()));
        });
    });
    stage.sublet(&RENEW).ok();
}

#[test]
fn a_renewal_that_was_cut_off_is_the_same_one_again() {
    let stage = Stage::set();
    enrol(&stage, "planner");
    // The broker has answered, and the process was killed before it kept the answer.
    let before = fs::read(stage.path("planner/identity.token")).unwrap();
    stage.sublet(&RENEW).ok();
    fs::write(stage.path("planner/identity.token"), before).unwrap();
    stage.sublet(&RENEW).ok();
    stage.sublet(&RENEW).ok();
}
