//! A stolen identity, with processes: it is noticed at the next renewal, that agent stops, and no other
//! has an error.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sublet_client::{Grant, Identity};

use crate::ledger::copy_all;
use crate::stage::Stage;
use crate::walk::{enroll, issue};

const RENEW: [&str; 4] = ["agent", "renew", "--as", "planner"];

#[test]
fn a_copied_identity_is_noticed_at_the_next_renewal_and_stops_that_agent_alone() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "reader");
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
    stage.sublet(&["agent", "revoke-key", "agent/planner", "--reason", "stolen", "--yes"]).ok();
    let join = stage.sublet(&["agent", "invite", "agent/planner"]).ok();
    fs::write(stage.path("join"), join).unwrap();
    stage.sublet(&["agent", "enroll", "--join-token", "join", "--out", "anew"]).ok();
    stage.sublet(&["agent", "renew", "--as", "anew"]).ok();
    stage.sublet(&["agent", "renew", "--as", "stolen"]).fails(2, "[key_revoked]");
}

/// The rest of the fleet is at work all the while, and nobody of it has an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_has_an_error_while_a_stolen_identity_is_found_out() {
    let stage = Stage::set();
    for name in ["planner", "one", "two", "three"] {
        enroll(&stage, name);
    }
    copy_all(&stage.path("planner"), &stage.path("stolen"));
    let errors = Arc::new(Mutex::new(Vec::new()));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut others = tokio::task::JoinSet::new();
    for name in ["one", "two", "three"] {
        let identity = Identity::load(stage.path(name)).unwrap();
        let (errors, stopped) = (errors.clone(), stopped.clone());
        others.spawn(async move {
            let scope = ["fs.read@tool://files path=under:/data"];
            let grant = Grant::of("user:alice@dev.sublet.example", &scope, Duration::from_secs(60));
            let (grant, mut done) = (grant.unwrap(), 0u32);
            while !*stopped.borrow() {
                let worked = async {
                    identity.renew().await?;
                    identity.ask(&grant).await
                };
                match worked.await {
                    Ok(_) => done += 1,
                    Err(failure) => errors.lock().unwrap().push(failure.to_string()),
                }
            }
            done
        });
    }
    let owner = Identity::load(stage.path("planner")).unwrap();
    let thief = Identity::load(stage.path("stolen")).unwrap();
    owner.renew().await.unwrap();
    assert_eq!(thief.renew().await.unwrap_err().code(), "identity_cloned");
    for held in [&owner, &thief] {
        assert_eq!(held.renew().await.unwrap_err().code(), "agent_suspended");
    }
    // They go on after it too.
    let bystander = Identity::load(stage.path("one")).unwrap();
    for _ in 0..5 {
        bystander.renew().await.unwrap();
    }
    stop.send_replace(true);
    while let Some(done) = others.join_next().await {
        assert!(done.unwrap() > 0);
    }
    assert_eq!(*errors.lock().unwrap(), [""; 0]);
}

#[test]
fn two_processes_with_one_directory_are_no_copies_of_each_other() {
    let stage = Stage::set();
    enroll(&stage, "planner");
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
fn two_processes_that_enrol_into_one_directory_make_one_identity() {
    let stage = Stage::set();
    let join = stage.sublet(&["agent", "create", "agent/planner"]).ok();
    fs::write(stage.path("join"), join).unwrap();
    let enroll = ["agent", "enroll", "--join-token", "join", "--out", "planner"];
    let runs: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| stage.sublet(&enroll))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let (well, refused): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.code == 0);
    assert_eq!(well.len(), 1);
    for run in refused {
        assert!(run.err.contains("[already_enrolled]"), "{run:?}");
    }
    stage.sublet(&RENEW).ok();
}

#[test]
fn a_renewal_that_was_cut_off_is_the_same_one_again() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    // The broker has answered, and the process was killed before it kept the answer.
    let before = fs::read(stage.path("planner/identity.token")).unwrap();
    stage.sublet(&RENEW).ok();
    fs::write(stage.path("planner/identity.token"), before).unwrap();
    stage.sublet(&RENEW).ok();
    stage.sublet(&RENEW).ok();
}
