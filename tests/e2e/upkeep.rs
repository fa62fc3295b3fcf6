//! Credentials that rotate by themselves: of a tool that runs for long, of an agent whose broker is away for
//! a while, of a process that does nothing else.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use sublet_client::agent::renewal::RenewalStatus;
use sublet_client::tool::checker::Options;
use sublet_client::tool::runtime::Tool;
use sublet_client::{Grant, Identity};
use sublet_core::evidence::call::Arguments;
use tokio::sync::watch;

use crate::stage::{SUBLET, Stage};
use crate::walk::enroll;

const PROFILE: &str = "name = \"default\"\nprincipals = [\"user:*@acme.example\"]\n\
    ttl_seconds_max = 600\nhops_max = 4\noffline_hops_max = 1\n\
    allow = [\"fs.read@tool://files path=under:/data\"]\n";

/// How long an identity lives, in seconds: half of it is enough for a busy machine to renew it in.
const LIFE: i64 = 14;

/// A broker whose identities live so long, and agents of it.
fn broker(agents: &[&str]) -> Stage {
    let config = format!("identity_ttl_seconds = {LIFE}\n");
    let stage = Stage::configured(&config, &[("default.toml", PROFILE)]);
    stage.sublet(&["profile", "apply", "default.toml"]).ok();
    agents.iter().for_each(|name| enroll(&stage, name));
    stage
}

async fn until(
    standing: &mut watch::Receiver<RenewalStatus>,
    so: impl FnMut(&RenewalStatus) -> bool,
) -> RenewalStatus {
    let seen = tokio::time::timeout(Duration::from_secs(60), standing.wait_for(so)).await;
    seen.unwrap().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_goes_on_beyond_the_life_of_its_identity_and_of_its_broker() {
    let mut stage = broker(&["planner", "files"]);
    let planner = Identity::load(stage.path("planner")).unwrap();
    let grant = Grant::of(
        "user:alice@acme.example",
        &["fs.read@tool://files path=under:/data"],
        Duration::from_secs(300),
    );
    let held = planner.ask(&grant.unwrap()).await.unwrap();
    let identity = Identity::load(stage.path("files")).unwrap();
    let first = identity.expires();
    assert!(first - identity.ports().clock.now().seconds() <= LIFE);
    let tool = Tool::start("tool://files", identity, Options::default()).unwrap();
    tool.ready(Duration::from_secs(10)).await.unwrap();
    let mut standing = tool.renewal().watch();
    // The broker is away: the owner hears of it while there is time left.
    until(&mut standing, |now| now.renewals >= 1).await;
    stage.kill();
    let mut heads = tool.follower().watch();
    let before = heads.borrow_and_update().heads;
    let failed = until(&mut standing, |now| now.failure.is_some()).await;
    assert_eq!(failed.failure.unwrap().code(), "unreachable");
    stage.restart_configured();
    let back =
        until(&mut standing, |now| now.failure.is_none() && now.expires > first + LIFE).await;
    assert!(back.renewals >= 2, "{back:?}");
    // The feed is open again, under an identity that the tool did not have when it began.
    let heard = heads.wait_for(|now| now.heads > before);
    tokio::time::timeout(Duration::from_secs(30), heard).await.unwrap().unwrap();
    let arguments = r#"{"path":"/data/q3"}"#;
    let shown = held.credentials_for("tool://files", "fs.read", arguments).unwrap();
    let arguments = Arguments::from_json(arguments.as_bytes()).unwrap();
    let checker = tool.checker();
    let allowed = checker.check(&shown, &checker.call("fs.read", arguments));
    assert!(allowed.is_ok(), "{allowed:?}");
    // What it saw is reported under it, too.
    assert!(tool.flushed(Duration::from_secs(10)).await);
}

#[test]
fn a_process_keeps_an_identity_renewed_and_its_key_from_growing_old() {
    let stage = broker(&["planner"]);
    let key = || std::fs::read(stage.path("planner/key.pem")).unwrap();
    let before = key();
    let keep = ["agent", "renew", "--watch", "--as", "planner", "--rotate-key-every", "1s"];
    let mut child = Command::new(SUBLET);
    let child = child.args(keep).current_dir(stage.home.path()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = lines.next().unwrap().unwrap();
    assert!(
        begun.starts_with("watching spiffe://acme.example/agent/planner: valid until "),
        "{begun}"
    );
    for _ in 0..3 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with("renewed: valid until "), "{line}");
    }
    assert_ne!(key(), before, "the key is another");
    let kept = std::fs::read_dir(stage.path("planner")).unwrap();
    let names = kept.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut kept = names.filter(|name| name.starts_with("key-") && name != "key-next.pem");
    assert!(kept.next().is_some(), "and the one before is kept");
    stage.sublet(&["whoami", "--as", "planner"]).ok();
    let stopped = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(stopped.success() && child.wait().unwrap().success());
}
