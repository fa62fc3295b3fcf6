//! Tools report the heads that they were shown: a broker that shows one history to agents and keeps
//! another is found by whoever reads what it keeps.

use std::time::Duration;

use sublet_client::broker::connect::Broker;
use sublet_client::ports::Ports;
use sublet_client::tool::checker::Options;
use sublet_client::tool::runtime::Tool;
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::evidence::call::Arguments;

use crate::ledger::copy_all;
use crate::stage::{Run, Stage};

const TOOL: &str = "tool://files";
const ARGS: &str = r#"{"path":"/data/a"}"#;
const PATIENCE: Duration = Duration::from_secs(20);

async fn enrolled(stage: &Stage, broker: &Broker, trust: &Trust, name: &str) -> Identity {
    let join = stage.sublet(&["agent", "create", &format!("agent/{name}")]).ok();
    Identity::enroll_trusting(broker, &join, stage.path(name), trust).await.unwrap()
}

/// What the ledger says of heads, once it says it of a tool.
fn reported(stage: &Stage) -> Run {
    for _ in 0..1_200 {
        let run = stage.sublet(&["audit", "replay", "--all", "--output", "json"]);
        if run.out.contains("shown_to") {
            return run;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no head was reported");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_shows_two_histories_is_found_by_what_tools_report() {
    let mut stage = Stage::set();
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let planner = enrolled(&stage, &broker, &trust, "planner").await;
    let files = enrolled(&stage, &broker, &trust, "files").await;
    stage.stop();
    copy_all(&stage.path("broker"), &stage.path("other"));
    stage.kill_and_restart();
    let scope = ["fs.read@tool://files path=under:/data"];
    let grant = Grant::of("user:alice@dev.sublet.example", &scope, Duration::from_secs(300));
    let mut held = planner.ask(&grant.unwrap()).await.unwrap();
    let options =
        Options { require_inclusion: true, staleness_ms_max: 60_000, ..Options::default() };
    let tool = Tool::start(TOOL, files, options).unwrap();
    tool.ready(PATIENCE).await.unwrap();
    let checker = tool.checker();
    let call = checker.call("fs.read", Arguments::from_json(ARGS.as_bytes()).unwrap());
    let shown = held.credentials_for(TOOL, "fs.read", ARGS).unwrap();
    assert_eq!(checker.check(&shown, &call).unwrap_err().code(), "not_in_log");
    held.get_inclusion_proof().await.unwrap();
    let shown = held.credentials_for(TOOL, "fs.read", ARGS).unwrap();
    let _ = checker.check(&shown, &call).unwrap();
    assert!(tool.flushed(PATIENCE).await);

    let told = reported(&stage).json();
    assert!(told["heads"][0]["shown_to"].as_str().unwrap().ends_with("/agent/files"));
    assert_eq!(told["heads"][0]["consistent"], "holds");
    let again: Vec<_> =
        told["uses"].as_array().unwrap().iter().map(|used| &used["decided_again"]).collect();
    assert_eq!(again, ["not_shown", "reproduced"], "what a tool demands beyond leaves no inputs");

    // The other history is put in its place, and grows beyond.
    stage.stop();
    std::fs::remove_dir_all(stage.path("broker")).unwrap();
    std::fs::rename(stage.path("other"), stage.path("broker")).unwrap();
    stage.kill_and_restart();
    for number in 0..12 {
        stage.sublet(&["agent", "create", &format!("agent/n{number}")]).ok();
    }
    // The tool has nothing to do with it; it hears of a revocation, and says how far it knows.
    stage.sublet(&["agent", "suspend", "agent/n1", "--reason", "x"]).ok();
    let told = reported(&stage);
    assert!(told.code != 0 && told.err.contains("rewritten or forked"), "{told:?}");
    let said: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(said["heads"][0]["consistent"], "contradicted");
}
