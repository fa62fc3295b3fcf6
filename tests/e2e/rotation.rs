//! A fleet with identities of seconds, while keys of agents and of the broker change: no valid
//! call is refused, and nothing is allowed under a credential that has ended. The broker is a process;
//! agents renew by themselves. SUBLET_FLEET_SECONDS and SUBLET_FLEET_AGENTS set how long and how many
//! (600 and 200 for the long run, with --release, where identities live five seconds).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Caller as _;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::follow::Follower;
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::Signer as _;
use sublet_core::evidence::call::Arguments;
use sublet_core::token::mint;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse};
use sublet_proto::v1;

use crate::stage::Stage;

const TOOL: &str = "tool://files";
const SCOPE: [&str; 1] = ["fs.read@tool://files path=under:/data"];
const PROFILE: &str = "name = \"default\"\nprincipals = [\"user:*@acme.example\"]\n\
    ttl_seconds_max = 60\nhops_max = 4\noffline_hops_max = 1\n\
    allow = [\"fs.read@tool://files path=under:/data\"]\n";

/// How long a delegation lives here, in seconds.
const TTL: u64 = 6;

/// How much of it a hop leaves.
const MARGIN: u64 = 3;

/// What happened, counted by everybody.
#[derive(Default)]
struct Counts {
    valid: AtomicU64,
    ended: AtomicU64,
    stop: AtomicBool,
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// The agents of a broker.
async fn fleet(stage: &Stage, agents: u64) -> (Vec<Identity>, Trust) {
    std::fs::write(stage.path("default.toml"), PROFILE).unwrap();
    stage.sublet(&["profile", "apply", "default.toml"]).ok();
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let mut identities = Vec::new();
    for number in 0..agents {
        let join = stage.sublet(&["agent", "create", &format!("agent/a{number}")]).ok();
        let place = stage.path(&format!("a{number}"));
        let identity = Identity::enroll_trusting(&broker, &join, place, &trust).await;
        identities.push(identity.unwrap());
    }
    (identities, trust)
}

fn call(checker: &Checker, held: &Delegation) -> Result<(), String> {
    let arguments = r#"{"path":"/data/q3"}"#;
    let shown =
        held.credentials_for(TOOL, "fs.read", arguments).map_err(|refusal| refusal.to_string())?;
    let arguments = Arguments::from_json(arguments.as_bytes()).unwrap();
    let allowed = checker.check(&shown, &checker.call("fs.read", arguments));
    allowed.map(drop).map_err(|refusal| format!("{}: {refusal}", refusal.code()))
}

/// What an agent had, and may use no more.
enum Ended {
    Token(Box<Delegation>),
    Identity(Credential),
}

/// One agent: asks for authority, hands it on, uses it; and tries what has ended a second ago.
async fn work(
    identity: Identity,
    next: Identity,
    checker: Arc<Checker>,
    counts: Arc<Counts>,
    pace: Duration,
) {
    let mut past: VecDeque<(i64, Ended)> = VecDeque::new();
    let now = || Ports::system().clock.now().seconds();
    while !counts.stop.load(Ordering::Relaxed) {
        let began = now();
        let credential = identity.credential().unwrap();
        past.push_back((identity.expires(), Ended::Identity(credential)));
        let who = identity.id();
        let grant = Grant::of("user:alice@acme.example", &SCOPE, Duration::from_secs(TTL));
        let root = identity.ask(&grant.unwrap().hops(2).offline_hops(1)).await;
        let root = root.unwrap_or_else(|refusal| panic!("{who} is not issued to: {refusal}"));
        let terms = Attenuation::of(&SCOPE, Duration::from_secs(TTL - MARGIN)).unwrap();
        let handed = root.delegate_to_agent(&next.id(), &terms).await;
        let helper = root.spawn_helper("scout", &terms);
        // A round that took longer than a hop of it lives was refused in good order.
        if now() - began >= (TTL - MARGIN).min(MARGIN) as i64 {
            continue;
        }
        let handed = handed.unwrap_or_else(|refusal| panic!("{who} cannot delegate: {refusal}"));
        let helper = helper.unwrap();
        // The other one may have changed its key since: then it has the old one beside it.
        let there = next.open(&handed.to_text()).unwrap();
        for held in [root, helper, there] {
            let called = call(&checker, &held);
            // One that ended meanwhile was refused in good order, or just not yet.
            if held.token().expires() > now() {
                assert_eq!(called, Ok(()), "a valid call of {}", held.holder());
                counts.valid.fetch_add(1, Ordering::Relaxed);
            }
            past.push_back((held.token().expires(), Ended::Token(Box::new(held))));
        }
        while past.front().is_some_and(|(ends, _)| *ends <= now()) {
            let refused = match past.pop_front().unwrap().1 {
                Ended::Token(held) => call(&checker, &held).unwrap_err(),
                Ended::Identity(credential) => {
                    let broker = identity.broker().unwrap();
                    broker.key_of(&credential, &who).await.unwrap_err().code().to_owned()
                }
            };
            assert!(refused.starts_with("expired"), "{who}: {refused}");
            counts.ended.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(pace).await;
    }
}

/// Every key of the broker, prepared, announced and activated.
async fn turn_all(stage: &Stage, lead: u64) {
    let uses = ["delegation", "identity", "receipt", "ledger", "feed"];
    let lead = format!("{lead}s");
    for use_ in uses {
        stage.sublet(&["trust", "prepare", use_, "--lead", &lead]).ok();
    }
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap().current();
    let prepared = trust.keys().iter().filter(|key| key.state == KeyState::Prepared);
    for key in prepared {
        let id = key.id.to_string();
        let args = ["trust", "activate", &id, "--reason", "a test"];
        let mut done = stage.sublet(&args);
        while done.err.contains("[key_too_soon]") {
            done = stage.sublet(&args);
        }
        done.ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_agents_and_of_the_broker_change_and_no_valid_call_is_refused() {
    let (seconds, agents) =
        (from_environment("SUBLET_FLEET_SECONDS", 16), from_environment("SUBLET_FLEET_AGENTS", 6));
    // On a machine that builds and tests beside it, a renewal may have to wait for its turn.
    let long = std::env::var_os("SUBLET_FLEET_SECONDS").is_some();
    let ttl = if long { 5 } else { 16 };
    let stage = Stage::configured(&format!("identity_ttl_seconds = {ttl}\n"), &[]);
    let stage = Arc::new(stage);
    let (identities, trust) = fleet(&stage, agents).await;
    let renewals: Vec<_> = identities.iter().map(Identity::keep_renewed).collect();
    let watcher: Arc<Identity> = Arc::new(identities[0].clone());
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let follower = Follower::start(broker, Some(watcher), trust.clone());
    follower.ready(Duration::from_secs(10)).await.unwrap();
    let checker = Checker::new(TOOL, trust.clone(), follower.view(), Options::default());
    let (checker, counts) = (Arc::new(checker), Arc::new(Counts::default()));
    // Two cores do some hundred rounds a second.
    let pace = Duration::from_millis((agents * 10).max(500));
    let working: Vec<_> = (0..identities.len())
        .map(|one| {
            let next = identities[(one + 1) % identities.len()].clone();
            let (one, counts) = (identities[one].clone(), counts.clone());
            let work = work(one, next, checker.clone(), counts, pace);
            tokio::spawn(work)
        })
        .collect();

    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(seconds / 4)).await;
        for identity in &identities {
            identity.rotate_key().await.unwrap();
        }
        let (turning, handle) = (stage.clone(), tokio::runtime::Handle::current());
        // Longer than the watcher and every agent need to hear of it: half an identity's life.
        let turned =
            tokio::task::spawn_blocking(move || handle.block_on(turn_all(&turning, ttl / 2 + 2)));
        turned.await.unwrap();
        tokio::time::sleep(Duration::from_secs(seconds / 4)).await;
    }
    counts.stop.store(true, Ordering::Relaxed);
    for agent in working {
        agent.await.unwrap();
    }
    let (valid, ended) =
        (counts.valid.load(Ordering::Relaxed), counts.ended.load(Ordering::Relaxed));
    let renewed: u64 = renewals.iter().map(|renewal| renewal.status().renewals).sum();
    println!(
        "{agents} agents: {valid} valid calls, 0 refused; {ended} under an ended credential, 0 \
         allowed; {renewed} renewals"
    );
    assert!(valid >= agents * 4 && ended >= agents && renewed >= agents * 2);
    let bundle = trust.current();
    let retired = bundle.of(KeyUse::Delegation, KeyState::Retired).count();
    assert_eq!((retired, bundle.of(KeyUse::Bundle, KeyState::Retired).count()), (2, 2));
}

/// A broker that is killed between any two steps goes on with the keys that it had; its ledger is one
/// history under two keys; and what a compromised key signed is dead at once, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tainted_root_kills_what_it_signed_and_the_ledger_goes_on_under_another_key() {
    let mut stage = Stage::configured("", &[]);
    let (identities, trust) = fleet(&stage, 1).await;
    let identity = &identities[0];
    let grant = || Grant::of("user:alice@acme.example", &SCOPE, Duration::from_secs(60)).unwrap();
    let before = identity.ask(&grant()).await.unwrap();
    turn_all(&stage, 1).await;
    let after = identity.ask(&grant()).await.unwrap();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let follower = Follower::start(broker, Some(Arc::new(identity.clone())), trust.clone());
    follower.ready(Duration::from_secs(10)).await.unwrap();
    let checker = Checker::new(TOOL, trust.clone(), follower.view(), Options::default());
    assert_eq!((call(&checker, &before), call(&checker, &after)), (Ok(()), Ok(())));

    let mut heads = follower.watch();
    stage.sublet(&["trust", "taint", "1", "--reason", "found on a laptop", "--yes"]).ok();
    let told = heads.wait_for(|now| now.position.sequence > 0);
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
    let refused = call(&checker, &before).unwrap_err();
    assert!(refused.starts_with("key_tainted"), "{refused}");
    assert_eq!(call(&checker, &after), Ok(()));

    let shown = stage.sublet(&["status"]).ok();
    assert!(shown.contains("tainted") && shown.contains("retired"), "{shown}");
    stage.sublet(&["audit", "mirror", "copy"]).ok();
    stage.kill();
    // What was published last was lost: the store knows it.
    let published = std::fs::read_to_string(&stage.trust).unwrap();
    std::fs::write(&stage.trust, published.replace('{', "{ ")).unwrap();
    stage.restart_configured();
    assert_eq!(std::fs::read_to_string(&stage.trust).unwrap(), published);
    identity.ask(&grant()).await.unwrap();
    stage.sublet(&["audit", "mirror", "copy"]).ok();
    stage.sublet(&["audit", "verify", "copy"]).ok();
    let told = stage.sublet(&["audit", "replay", "--all"]).ok();
    assert!(told.contains("found on a laptop"), "{told}");
}

/// The root of identities is compromised: agents have others in place of theirs, by the keys that the
/// broker knows them by, and nobody enrolls anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tainted_root_of_identities_stops_no_agent() {
    let stage = Stage::configured("", &[]);
    let (identities, _) = fleet(&stage, 3).await;
    let [one, two, three] = &identities[..] else { panic!("three") };
    let (before, renewing) = (one.credential().unwrap(), three.keep_renewed());
    let status = stage.sublet(&["status", "--output", "json"]).json();
    let keys = status["keys"].as_array().unwrap();
    let root = keys.iter().find(|key| key["use"] == "identity").unwrap()["id"].to_string();
    stage.sublet(&["trust", "taint", &root, "--reason", "found on a laptop", "--yes"]).ok();
    // The identities of before are worth nothing but for that.
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let listed = broker.list_delegations(&before, v1::ListDelegationsRequest::default()).await;
    assert_eq!(listed.unwrap_err().code(), "key_tainted");
    let grant = || Grant::of("user:alice@acme.example", &SCOPE, Duration::from_secs(60)).unwrap();
    one.ask(&grant()).await.unwrap();
    two.renew().await.unwrap();
    two.renew().await.unwrap();
    two.ask(&grant()).await.unwrap();
    // A service that renews itself and hears of it does not wait for half of an hour.
    three.refresh_trust().await.unwrap();
    let mut standing = renewing.watch();
    let renewed = standing.wait_for(|standing| standing.renewals == 1);
    tokio::time::timeout(Duration::from_secs(20), renewed).await.unwrap().unwrap();
    three.ask(&grant()).await.unwrap();
    // From the disk, by a process that knows of it, a command that has yet to hear, and the copy of one.
    assert!(stage.sublet(&["status"]).ok().contains("tainted"));
    for (number, identity) in identities.iter().enumerate() {
        let loaded = Identity::load(identity.directory().path()).unwrap();
        loaded.ask(&grant()).await.unwrap();
        stage.sublet(&["whoami", "--as", &format!("a{number}")]).ok();
    }
    let again = broker.list_delegations(&before, v1::ListDelegationsRequest::default()).await;
    assert_eq!(again.unwrap_err().code(), "key_tainted", "and stay so");
}

/// Whoever stole the root of identities makes some of its own: it is nobody, as before, and leaves nothing
/// behind. And an agent that was given one a moment before hears of the taint with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thief_of_the_root_is_nobody_and_an_answer_that_crosses_the_taint_is_no_dead_end() {
    let stage = Stage::configured("", &[]);
    let (identities, trust) = fleet(&stage, 2).await;
    let [one, two] = &identities[..] else { panic!("two") };
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    // The agent was granted another identity, and the answer was lost.
    let (id, key) = (two.token().id().0, [7; 16]);
    std::fs::write(stage.path("a1/renewal.key"), [id.as_slice(), &key].concat()).unwrap();
    let request = v1::RenewRequest { idempotency_key: key.to_vec() };
    broker.renew(&two.credential().unwrap(), request).await.unwrap();

    let status = stage.sublet(&["status", "--output", "json"]).json();
    let keys = status["keys"].as_array().unwrap();
    let root = keys.iter().find(|key| key["use"] == "identity").unwrap()["id"].as_u64().unwrap();
    stage
        .sublet(&["trust", "taint", &root.to_string(), "--reason", "found on a laptop", "--yes"])
        .ok();
    let grant = || Grant::of("user:alice@acme.example", &SCOPE, Duration::from_secs(60)).unwrap();
    two.ask(&grant()).await.unwrap();

    let open = KeyLock::open();
    let stolen = files::read_key(&stage.path("own/keys/identity.pem"), &open).unwrap();
    let thief = Arc::new(Ports::system().new_key().unwrap());
    let block = one.token().root().clone();
    let forged = mint::root(block, thief.public_key(), KeyId(root as u32), &stolen);
    let shown = Credential::identity(thief, Arc::new(forged.unwrap()));
    let records = || stage.sublet(&["status", "--output", "json"]).json()["ledger_size"].clone();
    let before = records();
    let request = v1::RenewRequest { idempotency_key: vec![8; 16] };
    let refused = broker.renew(&shown, request).await.unwrap_err();
    assert_eq!((refused.code().as_str(), records()), ("key_tainted", before));
    one.ask(&grant()).await.unwrap();
    assert!(trust.current().key(KeyId(root as u32)).is_some());
}

/// Two processes with one directory: one went on while the roots changed, the other was idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_process_takes_what_another_has_renewed_under_a_root_of_after() {
    let stage = Stage::configured("", &[]);
    let (identities, trust) = fleet(&stage, 1).await;
    turn_all(&stage, 1).await;
    stage.sublet(&["agent", "rotate-key", "--as", "a0"]).ok();
    let loaded = Identity::load(stage.path("a0")).unwrap();
    assert!(loaded.trust().current() != trust.current());
    // It has not been told, and shows what is there by now.
    let grant = Grant::of("user:alice@acme.example", &SCOPE, Duration::from_secs(60)).unwrap();
    let held = identities[0].ask(&grant).await.unwrap();
    assert_eq!(held.token().holder_key(), loaded.key().public_key());
    assert_eq!(identities[0].token().id(), loaded.token().id());
    identities[0].renew().await.unwrap();
}

/// The feed brought the bundle to the memory of a tool; its disk has it with the next renewal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_heard_by_the_feed_is_on_its_disk_before_an_identity_needs_it() {
    let stage = Stage::configured("", &[]);
    let (identities, _) = fleet(&stage, 1).await;
    let identity = &identities[0];
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let who = Arc::new(identity.clone());
    let follower = Follower::start(broker.clone(), Some(who), identity.trust().clone());
    follower.ready(Duration::from_secs(10)).await.unwrap();
    turn_all(&stage, 1).await;
    let now = Trust::new(
        sublet_core::trust::bundle::TrustBundle::open(
            &broker.trust_bundle().await.unwrap(),
            Ports::system().clock.now(),
        )
        .unwrap(),
    );
    let mut heads = follower.watch();
    let told = heads.wait_for(|_| identity.trust().current() == now.current());
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap().unwrap();
    identity.renew().await.unwrap();
    drop(follower);
    let loaded = Identity::load(stage.path("a0")).unwrap();
    assert_eq!(loaded.trust().current(), now.current());
    assert_eq!(loaded.token().id(), identity.token().id());
    // A bundle that was lost from the disk comes back with the next renewal.
    std::fs::remove_file(stage.path("a0/trust.json")).unwrap();
    identity.renew().await.unwrap();
    let again = Identity::load(stage.path("a0")).unwrap();
    assert_eq!(again.trust().current(), now.current());
}

/// An admin who does not wait for the answer leaves nothing half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_whose_caller_hung_up_is_completed_or_not_begun() {
    let stage = Stage::configured("", &[]);
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let key = files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
    let admin = Credential::admin(Arc::new(key), trust.domain());
    for (hangs_up, use_) in (0u64..).zip(["delegation", "identity", "receipt", "ledger", "feed"]) {
        let prepare = v1::PrepareKey { r#use: use_.to_owned(), lead_seconds: Some(3600) };
        let request = v1::RotateBrokerKeyRequest {
            step: Some(v1::rotate_broker_key_request::Step::Prepare(prepare)),
            reason: String::new(),
            idempotency_key: vec![hangs_up as u8; 16],
        };
        let call = broker.rotate_broker_key(&admin, request);
        let _ = tokio::time::timeout(Duration::from_millis(2 * hangs_up), call).await;
    }
    // What is on the disk is what is listed, both as keys and as what is published.
    let settled = async {
        loop {
            let listed = broker.trust_bundle().await.unwrap();
            let bundle = sublet_core::trust::bundle::SignedBundle::read(listed.clone()).unwrap();
            let keys = std::fs::read_dir(stage.path("own/keys")).unwrap().count();
            let published = std::fs::read(&stage.trust).unwrap();
            if keys == bundle.bundle().keys().len() && published == listed {
                break keys;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let keys = tokio::time::timeout(Duration::from_secs(30), settled).await.unwrap();
    assert!((7..=12).contains(&keys));
}

/// The private half of a key that is to sign next week is missing: it never signs, and another does.
#[test]
fn a_key_that_was_announced_and_is_gone_is_never_activated() {
    let mut stage = Stage::configured("", &[]);
    stage.sublet(&["trust", "prepare", "feed"]).ok();
    stage.stop();
    let keys = std::fs::read_dir(stage.path("own/keys")).unwrap();
    let announced = keys
        .map(|file| file.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("feed-"));
    std::fs::rename(announced.unwrap(), stage.path("elsewhere.pem")).unwrap();
    stage.start_configured("sublet.toml", "own", "admin/key.pem");
    stage.sublet(&["trust", "activate", "8", "--now"]).fails(1, "[internal]");
    // It is told why, and there is a way on.
    stage.sublet(&["trust", "retire", "8"]).ok();
    stage.sublet(&["trust", "prepare", "feed", "--lead", "1s"]).ok();
    stage.sublet(&["trust", "activate", "9", "--now"]).ok();
}

#[tokio::test]
async fn a_step_that_is_repeated_or_refused_leaves_no_key_behind() {
    let stage = Stage::configured("", &[]);
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let key = files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
    let admin = Credential::admin(Arc::new(key), trust.domain());
    let keys = || std::fs::read_dir(stage.path("own/keys")).unwrap().count();
    let use_ = "feed".to_owned();
    let prepare = v1::PrepareKey { r#use: use_, lead_seconds: Some(3600) };
    let request = v1::RotateBrokerKeyRequest {
        step: Some(v1::rotate_broker_key_request::Step::Prepare(prepare)),
        reason: String::new(),
        idempotency_key: vec![5; 16],
    };
    assert_eq!(keys(), 7);
    for _ in 0..3 {
        broker.rotate_broker_key(&admin, request.clone()).await.unwrap();
        assert_eq!(keys(), 8);
    }
    // The same idempotency key for something else.
    let other = v1::RotateBrokerKeyRequest { reason: "another".into(), ..request };
    assert_eq!(
        broker.rotate_broker_key(&admin, other).await.unwrap_err().code(),
        "idempotency_conflict"
    );
    assert_eq!(keys(), 8);
    // Somebody who is no admin has none made.
    let (identities, _) = fleet(&stage, 1).await;
    let request = v1::RotateBrokerKeyRequest { idempotency_key: vec![6; 16], ..Default::default() };
    let step = v1::rotate_broker_key_request::Step::Taint(8);
    let request = v1::RotateBrokerKeyRequest { step: Some(step), ..request };
    let refused = broker.rotate_broker_key(&identities[0].credential().unwrap(), request).await;
    assert_eq!((refused.unwrap_err().code().as_str(), keys()), ("forbidden", 8));
}
