//! An agent that has changed its key: what the old one is still good for at the broker, and how what it holds
//! is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sublet_broker::config::Config;
use sublet_broker::serve::bind_with;
use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Caller as _;
use sublet_client::broker::credential::Credential;
use sublet_client::ports::{Clock, Ports, SystemClock, SystemRandom};
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity, files};
use sublet_core::base::id::UnixMillis;
use sublet_core::base::key_file::KeyLock;
use sublet_core::capability::Scope;
use sublet_proto::convert::scope_message;
use sublet_proto::v1;

use crate::stage::Stage;
use crate::walk::{enroll, issue};

const READ: [&str; 1] = ["fs.read@tool://files path=under:/data"];

/// The time of everybody here, and how far it was put on.
#[derive(Default)]
struct Shifted(AtomicI64);

impl Shifted {
    fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> UnixMillis {
        SystemClock.now().plus_ms(self.0.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        SystemClock.monotonic_ms() + u64::try_from(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A broker in this process, with agents of these names in directories.
async fn fleet(
    home: &std::path::Path,
    clock: &Arc<Shifted>,
    names: [&str; 2],
) -> (Broker, [Identity; 2]) {
    let config = Config::dev(home.join("broker"), "127.0.0.1:0".parse().unwrap()).unwrap();
    let bound = bind_with(config, clock.clone(), Arc::new(SystemRandom)).await.unwrap();
    let endpoint = format!("http://{}", bound.address);
    let domain = bound.broker.domain().clone();
    tokio::spawn(bound.serve(std::future::pending()));
    let ports = Ports { clock: clock.clone(), entropy: Arc::new(SystemRandom) };
    let broker = Broker::connect(&endpoint).await.unwrap().with_ports(ports);
    let key = files::read_key(&home.join("broker/admin.pem"), &KeyLock::open()).unwrap();
    let admin = Credential::admin(Arc::new(key), domain);
    let profile = v1::Profile {
        name: "default".into(),
        principals: vec!["user:*@dev.sublet.example".into()],
        ttl_seconds_max: 3_600,
        hops_max: 4,
        offline_hops_max: 1,
        fan_out_max: 100,
        allow_json: scope_message(&Scope::from_texts(&READ).unwrap()),
        enroll: Vec::new(),
        consent_required: false,
    };
    let request = v1::ApplyProfileRequest { profile: Some(profile), idempotency_key: Vec::new() };
    broker.apply_profile(&admin, request).await.unwrap();
    let mut identities = Vec::new();
    for name in names {
        let request = v1::CreateAgentRequest {
            agent_id: format!("spiffe://dev.sublet.example/agent/{name}"),
            profile: "default".into(),
            join_ttl_seconds: 600,
            idempotency_key: Vec::new(),
        };
        let join = broker.create_agent(&admin, request).await.unwrap().join_token;
        identities.push(Identity::enroll(&broker, &join, home.join(name)).await.unwrap());
    }
    (broker, identities.try_into().unwrap())
}

/// Whoever kept the key of before, with a token that was handed to it; and the agent, which has both.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_before_opens_nothing_at_the_broker_and_its_agent_goes_on_by_name() {
    let (home, clock) = (tempfile::tempdir().unwrap(), Arc::new(Shifted::default()));
    let (broker, [planner, reader]) = fleet(home.path(), &clock, ["planner", "reader"]).await;
    let grant = Grant::of("user:alice@dev.sublet.example", &READ, Duration::from_secs(900));
    let held = planner.ask(&grant.unwrap().hops(3).offline_hops(1)).await.unwrap();
    let text = held.presentation().to_text();
    let trust = Trust::open(&home.path().join("broker/trust.json"), clock.now()).unwrap();
    // A copy of the directory: the key, the token, and no identity that is renewed or rotated.
    let ports = Ports { clock: clock.clone(), entropy: Arc::new(SystemRandom) };
    let copied: Arc<dyn sublet_core::base::sign::Signer> = planner.key();
    let copy = Delegation::open(&text, copied, &trust).unwrap();
    let mut copy = copy.with_broker(broker.clone()).with_ports(ports);
    planner.rotate_key().await.unwrap();
    copy.record().await.expect("for a minute calls in flight go on");
    clock.pass(60_500);
    let terms = Attenuation::of(&READ, Duration::from_secs(60)).unwrap();
    for refused in [
        copy.record().await.unwrap_err(),
        copy.delegate_to_agent(&reader.id(), &terms).await.unwrap_err(),
        copy.revoke(copy.id(), "a thief's").await.unwrap_err(),
        broker.key_of(&copy.as_caller(), &reader.id()).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), "former_key", "{refused}");
        assert!(refused.to_string().contains("show the agent's identity token"), "{refused}");
    }
    // The agent's own: opened before the rotation, and opened anew.
    for (seconds, mut held) in [(50, held), (40, planner.open(&text).unwrap())] {
        let terms = Attenuation::of(&READ, Duration::from_secs(seconds)).unwrap();
        held.record().await.unwrap();
        held.get_inclusion_proof().await.unwrap();
        let handed = held.delegate_to_agent(&reader.id(), &terms).await.unwrap();
        let there = reader.open(&handed.to_text()).unwrap();
        let mut helper = held.spawn_helper("scout", &terms).unwrap();
        helper.record().await.unwrap();
        held.revoke(there.id(), "done").await.unwrap();
    }
    let ended = planner.revoke_former_keys("it leaked").await.unwrap();
    assert_eq!((ended.keys.len(), ended.hops, ended.left), (1, 1, 0));
    let mut held = planner.open(&text).unwrap();
    assert_eq!(held.record().await.unwrap_err().code(), "key_revoked");
    assert!(planner.credential().is_ok());
    planner.renew().await.unwrap();
}

#[test]
fn rotate_key_revoke_old_ends_what_the_old_keys_hold_and_says_what() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    let rotate = |more: &[&str]| {
        stage.sublet(
            &[&["agent", "rotate-key", "--as", "planner", "--output", "json"], more].concat(),
        )
    };
    let record = || stage.sublet(&["record", "--as", "planner", "--token", "root.token"]);
    assert!(rotate(&[]).json().get("revoked").is_none(), "a rotation ends nothing");
    record().ok();
    let ended = rotate(&["--revoke-old", "--reason", "a laptop was lost"]).json();
    assert_eq!(ended["revoked"].as_array().unwrap().len(), 2, "each key of before: {ended}");
    assert_eq!((&ended["hops_ended"], &ended["keys_left"]), (&1.into(), &0.into()));
    record().fails(2, "[key_revoked]");
    issue(&stage);
    record().ok();
    let words = stage.sublet(&["agent", "rotate-key", "--as", "planner", "--revoke-old"]).ok();
    assert!(words.contains("revoked hops  1, and every hop below them"), "{words}");
    let run = stage.sublet(&["agent", "rotate-key", "--as", "planner", "--reason", "x"]);
    assert_eq!(run.code, 64, "{run:?}");
}
