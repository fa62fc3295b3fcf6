//! Agent to agent: who somebody is, shown offline; and every way to be somebody else, refused.

use std::fs;

use crate::stage::{Run, Stage};
use crate::walk::{enrol, issue};

const MEET: [&str; 6] = ["--audience", "agent://reader", "--action", "hello", "--arg", "about=q3"];

fn prove(stage: &Stage, who: &str, to: &[&str], out: &str) -> Run {
    stage.sublet(&[&["prove", "--as", who, "--out", out], to].concat())
}

fn recognise(stage: &Stage, token: &str, proof: &str, at: &[&str]) -> Run {
    stage.sublet(&[&["verify", "--peer", "--token", token, "--proof", proof], at].concat())
}

#[test]
fn an_agent_shows_another_who_it_is() {
    let mut stage = Stage::set();
    enrol(&stage, "planner");
    enrol(&stage, "mallory");
    issue(&stage);
    let me = stage.sublet(&["whoami", "--as", "planner"]).ok();
    assert!(me.contains("spiffe://dev.sublet.example/agent/planner"), "{me}");
    let planner = "planner/identity.token";
    prove(&stage, "planner", &MEET, "p").ok();
    let said = recognise(&stage, planner, "p", &MEET).ok();
    assert!(said.contains("recognised") && said.contains("agent/planner"), "{said}");
    // Somewhere else, for something else, about something else.
    for (at, code) in [
        (
            ["--audience", "agent://other", "--action", "hello", "--arg", "about=q3"],
            "wrong_audience",
        ),
        (["--audience", "agent://reader", "--action", "bye", "--arg", "about=q3"], "wrong_action"),
        (
            ["--audience", "agent://reader", "--action", "hello", "--arg", "about=q4"],
            "wrong_arguments",
        ),
    ] {
        let run = recognise(&stage, planner, "p", &at);
        assert!(run.code == 2 && run.err.contains(code), "{code}: {run:?}");
    }
    // With another's identity, by another's key, with a delegation, for a tool.
    prove(&stage, "mallory", &MEET, "m").ok();
    recognise(&stage, planner, "m", &MEET).fails(2, "[");
    recognise(&stage, "mallory/identity.token", "p", &MEET).fails(2, "[");
    fs::create_dir(stage.path("forged")).unwrap();
    for file in ["key.pem", "agent.toml", "trust.json"] {
        fs::copy(stage.path("mallory").join(file), stage.path("forged").join(file)).unwrap();
    }
    fs::copy(stage.path(planner), stage.path("forged/identity.token")).unwrap();
    prove(&stage, "forged", &MEET, "f").fails(1, "no private key");
    let held =
        [&["call", "--as", "planner", "--token", "root.token", "--out", "c"][..], &MEET].concat();
    stage.sublet(&held).ok();
    recognise(&stage, "root.token", "c", &MEET).fails(2, "[wrong_token_kind]");
    let tool = [&["verify", "--token", planner, "--proof", "p"][..], &MEET].concat();
    stage.sublet(&tool).fails(2, "[wrong_token_kind]");
    // Offline, as long as a snapshot is young; suspended, no more.
    stage.sublet(&["trust", "snapshot", "--out", "feed"]).ok();
    stage.sublet(&["agent", "suspend", "agent/planner", "--reason", "x"]).ok();
    recognise(&stage, planner, "p", &MEET).fails(2, "[agent_suspended]");
    stage.kill();
    let offline = [&MEET[..], &["--revocations", "feed", "--max-staleness", "60s"]].concat();
    recognise(&stage, planner, "p", &offline).ok();
    let late = [&MEET[..], &["--revocations", "feed", "--max-staleness", "1s"]].concat();
    let stale =
        (0..200).any(|_| recognise(&stage, planner, "p", &late).err.contains("[stale_view]"));
    assert!(stale, "a view of over a second recognises nobody within one");
}
