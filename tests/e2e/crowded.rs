//! Valid calls while the CPU is four times oversubscribed: not one is refused. The broker is a real
//! process and the revocation view follows it. SUBLET_CHECKS sets how many calls (2,000 here;
//! 100,000 for the long run, with --release).

use std::sync::Arc;
use std::time::Duration;

use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::broker::connect::Broker;
use sublet_client::ports::Ports;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::follow::Follower;
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::evidence::call::Arguments;

use crate::stage::{MACHINE, Stage};

const TOOL: &str = "tool://files";

/// The root's holder, and helpers below it of which the last is not recorded.
async fn chain(identity: &Identity, broker: &Broker) -> Vec<Delegation> {
    let scope = ["fs.read@tool://files path=under:/data"];
    let grant = Grant::of("user:alice@dev.sublet.example", &scope, Duration::from_secs(900));
    let grant = grant.unwrap().hops(4).offline_hops(1);
    let root = identity.ask(&grant).await.unwrap().with_broker(broker.clone());
    let terms = Attenuation::of(&scope, Duration::from_secs(600)).unwrap();
    let mut recorded = root.spawn_helper("scout", &terms).unwrap();
    recorded.record().await.unwrap();
    // Whichever second it is by now, it ends no later than the one above it.
    let end = recorded.token().expires();
    let offline = recorded.spawn_helper("deep", &terms.no_later_than(end)).unwrap();
    vec![root, recorded, offline]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_valid_call_is_refused_while_the_cpu_is_oversubscribed() {
    let checks: usize =
        std::env::var("SUBLET_CHECKS").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let _alone = MACHINE.lock().await;
    let stage = Stage::set();
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let join = stage.sublet(&["agent", "create", "agent/planner"]).ok();
    let identity =
        Identity::enroll_trusting(&broker, &join, stage.path("planner"), &trust).await.unwrap();
    let holders = chain(&identity, &broker).await;
    let follower = Follower::start(broker, None, trust.clone());
    follower.ready(Duration::from_secs(10)).await.unwrap();
    let options = Options::default();
    let checker = Arc::new(Checker::new(TOOL, trust, follower.view(), options));

    let threads = 4 * std::thread::available_parallelism().unwrap().get();
    let work = move |thread: usize| {
        let mut refused = Vec::new();
        for call in (thread..checks).step_by(threads) {
            let held = &holders[call % holders.len()];
            let arguments = format!(r#"{{"path":"/data/{call}"}}"#);
            let shown = held.credentials_for(TOOL, "fs.read", &arguments).unwrap();
            let arguments = Arguments::from_json(arguments.as_bytes()).unwrap();
            let verdict = checker.check(&shown, &checker.call("fs.read", arguments));
            refused.extend(verdict.err().map(|refusal| refusal.to_string()));
        }
        refused
    };
    let running: Vec<_> = (0..threads)
        .map(|thread| {
            let work = work.clone();
            tokio::task::spawn_blocking(move || work(thread))
        })
        .collect();
    let mut refused = Vec::new();
    for thread in running {
        refused.extend(thread.await.unwrap());
    }
    println!("{checks} calls from {threads} threads, {} refused", refused.len());
    assert_eq!(refused, Vec::<String>::new());
}
