//! `sublet bench`: durable delegations a second through gRPC, compared with plain Ed25519 checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sublet_client::agent::delegation::Attenuation;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::base::bytes::sha256;
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::token::Presentation;
use sublet_core::token::mint::Recipient;
use sublet_proto::credentials::{self, Credentials};
use sublet_proto::v1;
use sublet_proto::v1::delegation_client::DelegationClient;
use tonic::transport::{Channel, Endpoint};

use crate::cli_error::CliError;
use crate::context::Context;
use crate::demo::fleet::BrokerProcess;
use crate::print;

/// The number of connections that carry the load.
const CONNECTIONS: usize = 4;

/// The number of delegations prepared for each second: more than two cores have done so far.
const PREPARED_PER_SECOND: u64 = 8_000;

/// The longest run: a proof is valid for 30 seconds, and the preparation takes part of them.
const SECONDS_MAX: u64 = 15;

const METHOD: &str = "/sublet.v1.Delegation/Delegate";

/// Measure how many durable delegations a second a broker makes
///
/// Starts a broker on sled in a temporary directory, or measures the one of SUBLET_BROKER as its admin. Prints
/// rate and latency, and the rate of plain Ed25519 checks on one core for comparison.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of concurrent requests, 1 to 1024
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Duration in seconds, 1 to 15
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// One request, signed before the measurement.
struct Prepared {
    message: v1::DelegateRequest,
    credentials: Credentials,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    if !(1..=SECONDS_MAX).contains(&args.seconds) || !(1..=1024).contains(&args.in_flight) {
        return Err(CliError::usage("--seconds must be 1 to 15, and --in-flight 1 to 1024"));
    }
    let home = tempfile::tempdir().map_err(|error| CliError::local(error.to_string()))?;
    let (own, endpoint, admin, trust);
    if context.broker.is_some() {
        own = None;
        (endpoint, admin, trust) =
            (context.broker.clone().unwrap_or_default(), context.admin()?, context.trust()?);
    } else {
        let process = BrokerProcess::start(&home.path().join("broker"), "127.0.0.1:0").await?;
        trust = Trust::open(std::path::Path::new(&process.trust), Ports::system().clock.now())?;
        let key = sublet_client::files::read_key(
            std::path::Path::new(&process.admin_key),
            &KeyLock::open(),
        )?;
        admin = Credential::admin(Arc::new(key), trust.domain());
        endpoint = process.endpoint.clone();
        own = Some(process);
    }
    let identity = enroll(&endpoint, &admin, &trust, home.path()).await?;
    let checks = ed25519_checks_a_second()?;
    let prepared =
        Arc::new(prepare(&identity, args.seconds.saturating_mul(PREPARED_PER_SECOND)).await?);
    eprintln!(
        "note: {} delegations are signed; sending {} at a time for {} s",
        prepared.len(),
        args.in_flight,
        args.seconds
    );
    let spent = || own.as_ref().and_then(|process| processor_time(process.id()));
    let before = spent();
    let measured = load(&endpoint, prepared, &args).await?;
    let processor = spent().zip(before).map(|(after, before)| after.saturating_sub(before));
    drop(own);
    report(context, &args, measured, processor, checks)
}

async fn enroll(
    endpoint: &str,
    admin: &Credential,
    trust: &Trust,
    home: &std::path::Path,
) -> Result<Identity, CliError> {
    let broker = Broker::connect(endpoint).await?;
    let name = sublet_core::base::text::base64url(Ports::system().entropy.nonce()?.0);
    let request = v1::CreateAgentRequest {
        agent_id: format!("spiffe://{}/bench/{name}", trust.domain()),
        profile: "default".into(),
        join_ttl_seconds: 60,
        idempotency_key: Vec::new(),
    };
    let join_token = broker.create_agent(admin, request).await?.join_token;
    Ok(Identity::enroll_trusting(&broker, &join_token, home.join("agent"), trust).await?)
}

async fn prepare(identity: &Identity, count: u64) -> Result<Vec<Prepared>, CliError> {
    let principal = format!("user:bench@{}", identity.trust().domain());
    let ttl = Duration::from_secs(600);
    let scope = ["fs.read@tool://files path=under:/data limit=range:1..1000 mode=one_of:raw,text"];
    let held = identity.ask(&Grant::of(&principal, &scope, ttl)?.hops(4)).await?;
    let terms = Attenuation::of(
        &["fs.read@tool://files path=under:/data/q3 limit=range:1..10 mode=exactly:raw"],
        Duration::from_secs(300),
    )?;
    let key = Ports::system()
        .new_key()
        .map_err(sublet_core::refusal::Refusal::from)?
        .public_key()
        .clone();
    let credential = Credential::identity(identity.key(), identity.token());
    (0..count)
        .map(|worker| {
            // Hops that are equal in everything and of one second would have the same id.
            let to = Recipient::Helper { label: format!("worker-{worker}"), key: key.clone() };
            let Presentation { token, .. } = held.delegate_offline(to, &terms)?;
            let message = v1::DelegateRequest { token };
            let digest = sha256(&prost::Message::encode_to_vec(&message));
            let credentials = credential.credentials(METHOD, digest, identity.ports())?;
            Ok(Prepared { message, credentials })
        })
        .collect()
}

/// The measurement.
struct Measured {
    latencies: Vec<Duration>,
    elapsed: Duration,
    refused: usize,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the monotonic clock")]
async fn load(
    endpoint: &str,
    prepared: Arc<Vec<Prepared>>,
    args: &Args,
) -> Result<Measured, CliError> {
    let unreachable =
        |error: tonic::transport::Error| CliError::local(format!("{endpoint}: {error}"));
    let mut channels: Vec<Channel> = Vec::new();
    for _ in 0..CONNECTIONS {
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(unreachable)?;
        channels.push(endpoint.tcp_nodelay(true).connect().await.map_err(unreachable)?);
    }
    let (next, until) = (Arc::new(AtomicUsize::new(0)), Duration::from_secs(args.seconds));
    let started = Instant::now();
    let workers = (0..args.in_flight).zip(channels.iter().cycle()).map(|(_, channel)| {
        let (mut client, prepared, next) =
            (DelegationClient::new(channel.clone()), prepared.clone(), next.clone());
        tokio::spawn(async move {
            let (mut latencies, mut refused) = (Vec::new(), 0);
            while started.elapsed() < until {
                let Some(one) = prepared.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let mut request = tonic::Request::new(one.message.clone());
                credentials::into_metadata(&one.credentials, request.metadata_mut());
                let sent = Instant::now();
                match client.delegate(request).await {
                    Ok(_) => latencies.push(sent.elapsed()),
                    Err(_) => refused += 1,
                }
            }
            (latencies, refused)
        })
    });
    let (mut latencies, mut refused) = (Vec::new(), 0);
    for worker in workers.collect::<Vec<_>>() {
        let (own, refusal) = worker.await.map_err(|error| CliError::local(error.to_string()))?;
        latencies.extend(own);
        refused += refusal;
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Ok(Measured { latencies, elapsed, refused })
}

/// Returns strict Ed25519 checks a second on one core, as the scale for the other figures.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the monotonic clock")]
fn ed25519_checks_a_second() -> Result<f64, CliError> {
    let key = SecretKey::ed25519_from_seed([7; 32]);
    let signature = key.sign(b"bench").map_err(sublet_core::refusal::Fault::from)?;
    let (started, mut checks) = (Instant::now(), 0u32);
    while started.elapsed() < Duration::from_millis(500) {
        if !key.public_key().verify(b"bench", &signature) {
            return Err(CliError::local("Ed25519 does not verify on this machine"));
        }
        checks += 1;
    }
    Ok(f64::from(checks) / started.elapsed().as_secs_f64())
}

/// Returns the processor time that a process has used; `None` where the system does not tell it.
fn processor_time(process: Option<u32>) -> Option<Duration> {
    /// USER_HZ: the unit of times in /proc/PID/stat (proc(5)), the same on every Linux of today.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process?)).ok()?;
    // The name, in parentheses, may have spaces in it. utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn report(
    context: &Context,
    args: &Args,
    measured: Measured,
    processor: Option<Duration>,
    checks: f64,
) -> Result<(), CliError> {
    let rate = measured.latencies.len() as f64 / measured.elapsed.as_secs_f64();
    let percentile = |percent: usize| {
        let at = (measured.latencies.len() * percent / 100)
            .min(measured.latencies.len().saturating_sub(1));
        measured.latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    let made = (measured.latencies.len() as f64).max(1.0);
    let mut figures = vec![
        ("delegations_per_second", rate, "1/s"),
        ("p50", percentile(50), "ms"),
        ("p99", percentile(99), "ms"),
        ("in_flight", args.in_flight as f64, "requests"),
        ("acknowledged", measured.latencies.len() as f64, "delegations"),
        ("refused", measured.refused as f64, "delegations"),
        ("elapsed", measured.elapsed.as_secs_f64(), "s"),
        ("ed25519_strict_checks_per_second", checks, "1/s"),
        ("checks_per_delegation", checks / rate.max(f64::MIN_POSITIVE), "checks of one core"),
    ];
    if let Some(processor) = processor {
        let each = processor.as_secs_f64() * 1e6 / made;
        figures.push(("broker_processor_time_per_delegation", each, "us"));
    }
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|(figure, value, unit)| {
            vec![(*figure).to_owned(), format!("{value:.2}"), (*unit).to_owned()]
        })
        .collect();
    let value: Vec<Value> = figures
        .iter()
        .map(|(figure, value, unit)| json!({"figure": figure, "value": value, "unit": unit}))
        .collect();
    print::rows(context, &["FIGURE", "VALUE", "UNIT"], &rows, &Value::Array(value));
    if measured.refused > 0 {
        Err(CliError::local(format!("{} delegations were refused", measured.refused)))
    } else {
        Ok(())
    }
}
