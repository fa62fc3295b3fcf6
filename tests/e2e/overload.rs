//! A broker that is asked for more than it can do: whoever floods it waits and is refused, and whoever does
//! not is served. With the real binary. SPEC 5.11; docs/RELIABILITY, "Overload". The figures are those of
//! `cargo bench -p sublet --bench overload`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sublet_client::Grant;
use sublet_client::agent::delegation::Attenuation;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::ports::Ports;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::HopId;
use sublet_core::decide::Target;
use sublet_proto::credentials;
use sublet_proto::v1;
use sublet_proto::v1::delegation_client::DelegationClient;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::records::{Records, credential};
use crate::stage::{MACHINE, Stage};

/// Agents that flood. Each has 256 calls in flight, and room for 62 at the slowest pace.
const FLOODING: usize = 8;

/// Connections of each.
const CONNECTIONS: usize = 2;

/// Hops of the chain that each of them shows: 14 signatures.
const HOPS: u32 = 6;

/// What a caller who does nothing wrong may wait, whatever others do, in ms: a debug build beside other tests.
const SERVED_WITHIN: i64 = 3_000;

fn now() -> i64 {
    i64::try_from(Ports::system().clock.monotonic_ms()).unwrap()
}

/// Waits until so many were counted.
async fn reaches(count: &AtomicUsize, least: usize) {
    let began = now();
    while count.load(Ordering::SeqCst) < least {
        assert!(now() - began < 60_000, "only {}", count.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn channel(endpoint: &str) -> Channel {
    Endpoint::from_shared(endpoint.to_owned()).unwrap().connect().await.unwrap()
}

/// One call of ListDelegations, not sent again whatever comes back.
async fn once(channel: &Channel, who: &Credential) -> Result<(), Status> {
    let message = v1::ListDelegationsRequest { page_token: Vec::new(), page_size: 1 };
    let digest = sha256(&prost::Message::encode_to_vec(&message));
    let method = "/sublet.v1.Delegation/ListDelegations";
    let mut request = Request::new(message);
    let credentials = who.credentials(method, digest, &Ports::system()).unwrap();
    credentials::into_metadata(&credentials, request.metadata_mut());
    DelegationClient::new(channel.clone()).list_delegations(request).await.map(drop)
}

/// Agents that flood, each the holder of a chain of so many hops to itself: much work for the broker, and
/// little for who shows it.
async fn flooding(fleet: &Records) -> Vec<Credential> {
    let profile = format!(
        "name = \"default\"\nprincipals = [\"user:*@{}\"]\nttl_seconds_max = 600\nhops_max = 8\n\
         offline_hops_max = 8\nallow = [\"fs.@tool://files *=any\"]\n",
        fleet.trust.domain()
    );
    std::fs::write(fleet.stage.path("long.toml"), profile).unwrap();
    fleet.stage.sublet(&["profile", "apply", "long.toml"]).ok();
    let principal = format!("user:alice@{}", fleet.trust.domain());
    let scope = ["fs.read@tool://files *=any"];
    let mut all = Vec::new();
    for number in 0..FLOODING {
        let grant = Grant::of(&principal, &scope, Duration::from_secs(600)).unwrap();
        let agent = fleet.agent(&format!("flooding-{number}")).await;
        let mut held = agent.ask(&grant.hops(HOPS).offline_hops(HOPS)).await.unwrap();
        for _ in 0..HOPS {
            let terms = Attenuation::of(&scope, Duration::from_secs(300)).unwrap();
            held = held.narrow(&terms.hops_max(HOPS).offline_hops_max(HOPS)).unwrap();
        }
        all.push(held.as_caller());
    }
    all
}

/// What became of a flood.
#[derive(Default)]
struct Flood {
    stop: AtomicBool,
    good: AtomicUsize,
    busy: AtomicUsize,
    other: AtomicUsize,
    /// Refusals that did not say when to come again.
    undated: AtomicUsize,
}

impl Flood {
    fn note(&self, answer: &Result<(), Status>) {
        let count = match answer {
            Ok(()) => &self.good,
            Err(refusal) if refusal.code() == Code::ResourceExhausted => {
                let details = refusal.get_error_details();
                let code = details.error_info().map(|info| info.reason.clone());
                let delay = details.retry_info().and_then(|info| info.retry_delay);
                if code.as_deref() != Some("busy") || delay.is_none() {
                    self.undated.fetch_add(1, Ordering::SeqCst);
                }
                &self.busy
            }
            Err(_) => &self.other,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Floods a broker by all of these until it is told to stop: in a thread of its own, so that who is measured
/// beside it does not wait for it here.
fn flood(endpoint: &str, all: &[Credential], flood: &Arc<Flood>) -> std::thread::JoinHandle<()> {
    let (endpoint, all, flood) = (endpoint.to_owned(), all.to_vec(), flood.clone());
    in_a_thread(async move {
        let (mut tasks, mut channels) = (JoinSet::new(), Vec::new());
        for who in all.iter().flat_map(|who| [who; CONNECTIONS]) {
            let channel = channel(&endpoint).await;
            // The connection is the agent's from its first proof on.
            once(&channel, who).await.unwrap();
            channels.push((channel, who));
        }
        for (channel, who) in channels {
            for _ in 0..128 {
                let (channel, who, flood) = (channel.clone(), who.clone(), flood.clone());
                tasks.spawn(async move {
                    while !flood.stop.load(Ordering::SeqCst) {
                        flood.note(&once(&channel, &who).await);
                    }
                });
            }
        }
        tasks.join_all().await;
    })
}

fn in_a_thread(work: impl Future<Output = ()> + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(work);
    })
}

// SPEC 5.11, 5.11.6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_floods_the_broker_is_told_to_come_later_and_others_are_served() {
    let _alone = MACHINE.lock().await;
    let fleet = Records::of(Stage::set()).await;
    let (honest, flooding) = (fleet.agent("honest").await, flooding(&fleet).await);
    let seen = Arc::new(Flood::default());
    let flood = flood(&fleet.stage.endpoint, &flooding, &seen);
    reaches(&seen.busy, 100).await;
    let mut longest = 0;
    for number in 0..10u8 {
        let began = now();
        honest.renew().await.unwrap();
        fleet.root(&honest).await;
        let target = Target::Hop(HopId([number; 32]));
        fleet.broker.revoke_target(&fleet.admin, &target, "x", Vec::new()).await.unwrap();
        longest = longest.max(now() - began);
    }
    // Whoever comes on a new connection, too.
    let began = now();
    fleet.agent("new").await;
    let new = now() - began;
    seen.stop.store(true, Ordering::SeqCst);
    flood.join().unwrap();
    let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    println!(
        "{FLOODING} flooding agents: {} served, {} refused; renew, issue and revoke together {longest} ms at most; a new \
         agent {new} ms",
        count(&seen.good),
        count(&seen.busy)
    );
    assert_eq!((count(&seen.other), count(&seen.undated)), (0, 0));
    assert!(longest <= SERVED_WITHIN && new <= SERVED_WITHIN, "{longest} {new}");
}

/// A caller that is refused waits as long as it is told and asks again; of all its calls one in ten at most.
// SPEC 5.11.6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_comes_again_when_it_is_told_to_and_no_more_than_one_call_in_ten() {
    let _alone = MACHINE.lock().await;
    let fleet = Records::of(Stage::set()).await;
    let (flooding, seen) = (flooding(&fleet).await, Arc::new(Flood::default()));
    let flood = flood(&fleet.stage.endpoint, &flooding, &seen);
    reaches(&seen.busy, 100).await;
    // The same agent's, by the SDK: some of them are refused until they are given up.
    let broker = Broker::connect(&fleet.stage.endpoint).await.unwrap();
    let request = || v1::ListDelegationsRequest { page_token: Vec::new(), page_size: 1 };
    let (mut calls, mut attempts, mut late, mut refused) = (0u32, 0u32, 0u32, 0u32);
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let (broker, who) = (broker.clone(), flooding[0].clone());
        let request = request();
        asking.spawn(async move { broker.list_delegations(&who, request).await });
    }
    while let Some(answer) = asking.join_next().await {
        calls += 1;
        match answer.unwrap() {
            Ok(_) => attempts += 1,
            Err(failure) => {
                assert_eq!(failure.code(), "busy", "{failure}");
                assert!(failure.retry_after().is_some() && failure.is_retriable());
                attempts += failure.attempts();
                late += u32::from(failure.attempts() > 1);
                refused += 1;
            }
        }
    }
    seen.stop.store(true, Ordering::SeqCst);
    flood.join().unwrap();
    println!("{calls} calls, {attempts} attempts at least, {late} given up after more than one");
    assert!(refused > 0, "the agent whose calls these are has no room left");
    assert!(attempts <= calls + calls / 10 + 10, "{attempts} attempts of {calls} calls");
    // With nobody flooding it is served at once.
    broker.list_delegations(&flooding[0], request()).await.unwrap();
}

/// Proofs that do not hold are charged to whoever sends them: a connection that was an agent's, and one of
/// the same address that nobody has proven itself on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_that_do_not_hold_keep_nobody_else_from_being_served() {
    let _alone = MACHINE.lock().await;
    let fleet = Records::of(Stage::set()).await;
    let (honest, other) = (fleet.agent("honest").await, fleet.agent("other").await);
    // Its token with another's key: every signature of the token is checked, and the last one fails.
    let stolen = Credential::identity(other.key(), honest.token());
    let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (endpoint, told, count) = (fleet.stage.endpoint.clone(), stop.clone(), failed.clone());
    let flood = in_a_thread(async move {
        let (mut tasks, mut channels) = (JoinSet::new(), Vec::new());
        for number in 0..4 {
            let channel = channel(&endpoint).await;
            if number % 2 == 0 {
                once(&channel, &credential(&other)).await.unwrap();
            }
            channels.push(channel);
        }
        for channel in channels {
            for _ in 0..128 {
                let (channel, stolen) = (channel.clone(), stolen.clone());
                let (told, count) = (told.clone(), count.clone());
                tasks.spawn(async move {
                    while !told.load(Ordering::SeqCst) {
                        let refusal = once(&channel, &stolen).await.unwrap_err();
                        let expected = [Code::Unauthenticated, Code::ResourceExhausted];
                        assert!(expected.contains(&refusal.code()), "{refusal}");
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        }
        tasks.join_all().await;
    });
    reaches(&failed, 500).await;
    let mut longest = 0;
    for _ in 0..5 {
        let began = now();
        honest.renew().await.unwrap();
        fleet.root(&honest).await;
        longest = longest.max(now() - began);
    }
    // A new agent comes from the same address, on a connection of its own.
    let began = now();
    fleet.agent("new").await;
    let new = now() - began;
    stop.store(true, Ordering::SeqCst);
    flood.join().unwrap();
    println!("honest agent {longest} ms at most, a new one {new} ms");
    assert!(longest <= SERVED_WITHIN && new <= SERVED_WITHIN, "{longest} {new}");
}
