//! Sending, in a closed loop and in an open one. Everything here runs inside a `LocalSet`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use h2::client::SendRequest;
use sublet_core::base::id::HopId;
use sublet_core::decide::Target;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_local};
use tonic::codegen::Bytes;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::fleet::{Fleet, Prepared};

/// Streams that a broker takes on one connection (`STREAMS_MAX`).
const STREAMS: usize = 128;

/// Between two revocations, and between two questions for health.
const PROBE: Duration = Duration::from_millis(25);

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);

/// What came of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) offered: usize,
    pub(crate) good: usize,
    pub(crate) refused: usize,
    pub(crate) blocked: usize,
    pub(crate) failed: usize,
}

/// What came of everybody's while a broker was flooded. Times are sorted.
pub(crate) struct Flooded {
    pub(crate) flood: Counts,
    pub(crate) honest: Counts,
    pub(crate) revoke: Vec<Duration>,
    pub(crate) health: Vec<Duration>,
}

async fn connect(endpoint: &str) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(endpoint.trim_start_matches("http://")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_max_send_streams(STREAMS).max_concurrent_reset_streams(STREAMS);
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

/// Sends one, and counts what comes back.
async fn send(sender: &mut SendRequest<Bytes>, one: Prepared, counts: &RefCell<Counts>) {
    counts.borrow_mut().offered += 1;
    let answer = async {
        let (answer, mut stream) = sender.send_request(one.head, false).ok()?;
        stream.send_data(one.body, true).ok()?;
        let answer = answer.await.ok()?;
        if let Some(status) = answer.headers().get("grpc-status") {
            return Some(status.clone());
        }
        let mut body = answer.into_body();
        while let Some(chunk) = body.data().await {
            let length = chunk.ok()?.len();
            let _ = body.flow_control().release_capacity(length);
        }
        body.trailers().await.ok()??.get("grpc-status").cloned()
    };
    let status = answer.await;
    let mut counts = counts.borrow_mut();
    match status.as_ref().map(|status| status.as_bytes()) {
        Some(b"0") => counts.good += 1,
        // RESOURCE_EXHAUSTED
        Some(b"8") => counts.refused += 1,
        other => {
            if counts.failed == 0 {
                eprintln!("failed: {other:?}");
            }
            counts.failed += 1;
        }
    }
}

/// Each agent has so many in flight, one after the other, until the time is over.
pub(crate) async fn closed(
    endpoint: &str,
    requests: Vec<Vec<Prepared>>,
    in_flight: usize,
    time: Duration,
) -> Counts {
    let counts: Rc<RefCell<Counts>> = Rc::default();
    let mut workers = JoinSet::new();
    let mut senders = Vec::new();
    for _ in &requests {
        senders.push(connect(endpoint).await);
    }
    let until = Instant::now() + time;
    for (requests, sender) in requests.into_iter().zip(senders) {
        let requests = Rc::new(RefCell::new(requests));
        for _ in 0..in_flight {
            let (requests, counts, mut sender) = (requests.clone(), counts.clone(), sender.clone());
            workers.spawn_local(async move {
                while Instant::now() < until {
                    let Some(one) = requests.borrow_mut().pop() else { break };
                    send(&mut sender, one, &counts).await;
                }
            });
        }
    }
    while workers.join_next().await.is_some() {}
    counts.take()
}

/// An agent that does nothing wrong: two in flight; where it is refused it waits a little.
pub(crate) async fn honest(endpoint: &str, requests: Vec<Prepared>, time: Duration) -> Counts {
    let (counts, sender): (Rc<RefCell<Counts>>, _) = (Rc::default(), connect(endpoint).await);
    let mut workers = JoinSet::new();
    let (requests, until) = (Rc::new(RefCell::new(requests)), Instant::now() + time);
    for _ in 0..2 {
        let (requests, counts, mut sender) = (requests.clone(), counts.clone(), sender.clone());
        workers.spawn_local(async move {
            while Instant::now() < until {
                let Some(one) = requests.borrow_mut().pop() else { break };
                let refused = counts.borrow().refused;
                send(&mut sender, one, &counts).await;
                if counts.borrow().refused > refused {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    while workers.join_next().await.is_some() {}
    counts.take()
}

/// So many requests a second of all agents together, whatever comes back; what would wait for a stream is
/// not sent.
async fn open(endpoint: &str, requests: Vec<Vec<Prepared>>, rate: f64, time: Duration) -> Counts {
    let counts: Rc<RefCell<Counts>> = Rc::default();
    let mut agents = Vec::new();
    for requests in requests {
        let in_flight: Rc<RefCell<usize>> = Rc::default();
        agents.push((connect(endpoint).await, requests, in_flight));
    }
    let began = Instant::now();
    let (mut sent, mut ticks) = (0usize, tokio::time::interval(TICK));
    while began.elapsed() < time {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * rate) as usize;
        while sent < due {
            let at = sent % agents.len();
            let (sender, requests, in_flight) = &mut agents[at];
            sent += 1;
            let Some(one) = requests.pop() else { continue };
            if *in_flight.borrow() >= STREAMS {
                let mut counts = counts.borrow_mut();
                counts.offered += 1;
                counts.blocked += 1;
                continue;
            }
            *in_flight.borrow_mut() += 1;
            let (mut sender, counts, in_flight) =
                (sender.clone(), counts.clone(), in_flight.clone());
            spawn_local(async move {
                send(&mut sender, one, &counts).await;
                *in_flight.borrow_mut() -= 1;
            });
        }
    }
    // What is on the way still is nobody's.
    counts.take()
}

/// A flood, and what others have meanwhile.
pub(crate) async fn flooded(
    fleet: &Fleet,
    endpoint: &str,
    requests: Vec<Vec<Prepared>>,
    honest_requests: Vec<Prepared>,
    rate: f64,
    time: Duration,
) -> Flooded {
    let (flood, honest, revoke, health) = tokio::join!(
        open(endpoint, requests, rate, time),
        honest(endpoint, honest_requests, time),
        revoke(fleet, time),
        health(endpoint, time),
    );
    Flooded { flood, honest, revoke, health }
}

async fn revoke(fleet: &Fleet, time: Duration) -> Vec<Duration> {
    let (until, mut times, mut number) = (Instant::now() + time, Vec::new(), 0u64);
    let mut ticks = tokio::time::interval(PROBE);
    while Instant::now() < until {
        ticks.tick().await;
        number += 1;
        let mut hop = [0; 32];
        hop[..8].copy_from_slice(&number.to_be_bytes());
        let (target, began) = (Target::Hop(HopId(hop)), Instant::now());
        fleet.broker.revoke_target(&fleet.admin, &target, "load", Vec::new()).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times
}

async fn health(endpoint: &str, time: Duration) -> Vec<Duration> {
    let channel = Endpoint::from_shared(endpoint.to_owned()).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let (until, mut times) = (Instant::now() + time, Vec::new());
    let mut ticks = tokio::time::interval(PROBE);
    while Instant::now() < until {
        ticks.tick().await;
        let began = Instant::now();
        client.check(HealthCheckRequest { service: String::new() }).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times
}
