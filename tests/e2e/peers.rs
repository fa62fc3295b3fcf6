//! Agent to agent: who somebody is, shown offline; and every way to be somebody else, refused.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use sublet_client::agent::delegation::Attenuation;
use sublet_client::tool::checker::Options;
use sublet_client::tool::follow::Follower;
use sublet_client::tool::peer::PeerChecker;
use sublet_client::{Grant, Identity};
use sublet_core::evidence::call::Arguments;
use sublet_proto::credentials::Credentials;

use crate::stage::{Run, Stage};
use crate::walk::{enroll, issue};

const MEET: [&str; 6] = ["--audience", "agent://reader", "--action", "hello", "--arg", "about=q3"];

fn prove(stage: &Stage, who: &str, to: &[&str], out: &str) -> Run {
    stage.sublet(&[&["prove", "identity", "--as", who, "--out", out], to].concat())
}

fn recognise(stage: &Stage, token: &str, proof: &str, at: &[&str]) -> Run {
    stage.sublet(&[&["verify", "identity", "--token", token, "--proof", proof], at].concat())
}

#[test]
fn an_agent_shows_another_who_it_is() {
    let mut stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "mallory");
    issue(&stage);
    let me = stage.sublet(&["whoami", "--as", "planner"]).ok();
    assert!(me.contains("spiffe://dev.sublet.example/agent/planner"), "{me}");
    let planner = "planner/identity.token";
    prove(&stage, "planner", &MEET, "p").ok();
    let said = recognise(&stage, planner, "p", &MEET).ok();
    assert!(said.contains("verified") && said.contains("agent/planner"), "{said}");
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
    recognise(&stage, planner, "m", &MEET).fails(2, "[wrong_token]");
    recognise(&stage, "mallory/identity.token", "p", &MEET).fails(2, "[wrong_token]");
    fs::create_dir(stage.path("forged")).unwrap();
    for file in ["key.pem", "agent.toml", "trust.json"] {
        fs::copy(stage.path("mallory").join(file), stage.path("forged").join(file)).unwrap();
    }
    fs::copy(stage.path(planner), stage.path("forged/identity.token")).unwrap();
    prove(&stage, "forged", &MEET, "f").fails(1, "no private key");
    let held =
        [&["prove", "call", "--as", "planner", "--token", "root.token", "--out", "c"][..], &MEET]
            .concat();
    stage.sublet(&held).ok();
    recognise(&stage, "root.token", "c", &MEET).fails(2, "[wrong_token_kind]");
    let tool = [&["authorize", "--token", planner, "--proof", "p"][..], &MEET].concat();
    stage.sublet(&tool).fails(2, "[wrong_token_kind]");
    // Offline, as long as a snapshot is young; suspended, no more.
    stage.sublet(&["trust", "snapshot", "--out", "feed"]).ok();
    stage.sublet(&["agent", "suspend", "agent/planner", "--reason", "x"]).ok();
    prove(&stage, "planner", &MEET, "p").ok();
    recognise(&stage, planner, "p", &MEET).fails(2, "[agent_suspended]");
    stage.kill();
    let offline = [&MEET[..], &["--revocations", "feed", "--max-staleness", "60s"]].concat();
    recognise(&stage, planner, "p", &offline).ok();
    let late = [&MEET[..], &["--revocations", "feed", "--max-staleness", "1s"]].concat();
    let stale =
        (0..200).any(|_| recognise(&stage, planner, "p", &late).err.contains("[stale_view]"));
    assert!(stale, "a view of over a second recognises nobody within one");
}

/// A service that recognises agents takes each proof once, and nobody in an agent's place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_checker_takes_each_proof_once() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "reader");
    let reader = Identity::load(stage.path("reader")).unwrap();
    let planner = Identity::load(stage.path("planner")).unwrap();
    let broker = reader.broker().unwrap().clone();
    let follower = Follower::start(broker, Some(Arc::new(reader.clone())), reader.trust().clone());
    follower.ready(Duration::from_secs(10)).await.unwrap();
    let at = "tool://reader";
    let peers = PeerChecker::new(at, reader.trust().clone(), follower.view(), Options::default());
    let shown = planner.credentials_for(at, "tools.hello", "{}").unwrap();
    let ask = |shown: &Credentials| {
        let arguments = Arguments::from_json(b"{}").unwrap();
        match peers.check(shown, "tools.hello", arguments) {
            Ok(peer) => peer.agent.to_string(),
            Err(refusal) => refusal.code().to_owned(),
        }
    };
    assert_eq!(ask(&shown), "spiffe://dev.sublet.example/agent/planner");
    assert_eq!(ask(&shown), "proof_replayed");
    // A helper of the planner has a delegation and no identity; its proof is of that.
    let scope = ["tools.hello@tool://reader *=any"];
    let grant = Grant::of("user:alice@dev.sublet.example", &scope, Duration::from_secs(60));
    let held = planner.ask(&grant.unwrap().hops(1).offline_hops(1)).await.unwrap();
    let terms = Attenuation::of(&scope, Duration::from_secs(30)).unwrap();
    let helper = held.spawn_helper("scout", &terms).unwrap();
    let shown = helper.credentials_for(at, "tools.hello", "{}").unwrap();
    assert_eq!(ask(&shown), "wrong_token_kind");
    // The identity of one with the proof of another.
    let theirs = reader.credentials_for(at, "tools.hello", "{}").unwrap();
    let mixed = Credentials {
        proof: theirs.proof,
        ..planner.credentials_for(at, "tools.hello", "{}").unwrap()
    };
    assert_eq!(ask(&mixed), "wrong_token");
}
