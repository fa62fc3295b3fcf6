//! The wiring: opens a broker, binds its sockets and serves until it is told to stop.

use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use sublet_core::base::limits;
use sublet_core::refusal::Fault;
use sublet_core::trust::bundle::{BadBundle, TrustBundle};
use sublet_ledger::policy::Policy;
use sublet_proto::v1::admin_server::AdminServer;
use sublet_proto::v1::audit_server::AuditServer;
use sublet_proto::v1::delegation_server::DelegationServer;
use sublet_proto::v1::identity_server::IdentityServer;
use sublet_proto::v1::revocation_server::RevocationServer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::admission::{
    Admission, Bounds, CONNECTION_WINDOW_BYTES, GateLayer, STREAM_WINDOW_BYTES, STREAMS_MAX,
    descriptors,
};
use crate::broker::Broker;
use crate::config::Config;
use crate::enroll::Methods;
use crate::enroll::login::Logins;
use crate::keys::{self, KeyRing};
use crate::ledger::publish;
use crate::ledger::witness;
use crate::maintenance::retain;
use crate::maintenance::rotate;
use crate::observe::metrics::{self, Calls, CountLayer};
use crate::observe::traces::{TraceLayer, Traces};
use crate::request::pipeline;
use crate::request::refusals::COUNTED_EVERY;
use crate::revocation::feed::HEARTBEAT;
use crate::service::admin::AdminService;
use crate::service::audit::AuditService;
use crate::service::delegation::DelegationService;
use crate::service::identity::IdentityService;
use crate::service::revocation::RevocationService;
use crate::store::reached::KEPT_EVERY;
use crate::store::{self, CheckpointSigner};
use crate::transport::grpc::TransportLayer;
use crate::transport::listen::{self, Sockets};
use crate::transport::oauth;
use crate::transport::tls::{self, Tls};
use sublet_host::files;
use sublet_host::ports::{Clock, RandomSource, SystemClock, SystemRandom};

/// After how many heartbeats with the same batch in work the store counts as hanging: ten, so five seconds.
const HANGING_BEATS: u32 = 10;

/// How long calls in flight and open connections may take to end when the broker stops.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// Why a broker does not start, or no longer serves.
#[derive(Debug, thiserror::Error)]
pub enum NotServing {
    /// Its keys cannot be opened.
    #[error("keys: {0}")]
    Keys(#[from] keys::BadKeys),
    /// Its trust bundle is not valid.
    #[error("its trust bundle: {0}")]
    Trust(String),
    /// Its store failed, or there is an internal fault.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// Its configuration is not valid.
    #[error("{0}")]
    Config(#[from] crate::config::BadConfig),
    /// The witness policy cannot be read.
    #[error("the policy of witnesses {0}")]
    Policy(String),
    /// The data directory cannot be used.
    #[error("the data directory {0}")]
    Data(String),
    /// The socket cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address that was to be bound.
        address: SocketAddr,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The limit of open files is too low.
    #[error("{found} descriptors are too few, {needed} are needed: raise the limit of open files")]
    Descriptors {
        /// The file descriptors that the process may open.
        found: usize,
        /// The file descriptors that the broker needs.
        needed: usize,
    },
    /// The transport ended with an error.
    #[error("serving ended: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A broker whose sockets are bound and that does not serve yet.
pub struct Bound {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The address that it listens on.
    pub address: SocketAddr,
    sockets: Sockets,
    metrics: Option<TcpListener>,
    /// The limits for connections and callers.
    admission: Arc<Admission>,
    /// The lock on the data directory. It keeps another broker out.
    alone: File,
    /// The witness policy: who is asked to cosign the ledger's checkpoints.
    policy: Option<Policy>,
}

/// Opens the keys and the store and binds the sockets, with the system's clock and random source.
/// Whatever is wrong with them is an error here, before a call is served.
pub async fn bind(config: Config) -> Result<Bound, NotServing> {
    bind_with(config, Arc::new(SystemClock), Arc::new(SystemRandom)).await
}

/// Like [`bind`], with this clock and this random source.
pub async fn bind_with(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn RandomSource>,
) -> Result<Bound, NotServing> {
    let bounds = Bounds::of(descriptors())
        .map_err(|few| NotServing::Descriptors { found: few.found, needed: few.needed })?;
    let admission = Admission::new(&bounds, !config.tls.terminated_by_proxy);
    make_private(&config)?;
    let policy = config.ledger.witness_policy.as_deref().map(read_policy).transpose()?;
    let tls = Tls::open(&config)?;
    let known = (Methods::of(&config, tls.as_ref())?, Logins::of(&config)?);
    let alone = claim(&config.data)
        .map_err(|error| NotServing::Data(format!("{}: {error}", config.data.display())))?;
    let swept = [&config.data, &config.data.join(keys::KEYS)].into_iter().try_for_each(|place| {
        files::sweep(place, None)
            .map_err(|error| NotServing::Data(format!("{}: {error}", place.display())))
    });
    swept?;
    if config.dev {
        keys::make_admin(&config.data, entropy.as_ref())?;
    }
    let (domain, now) = (&config.trust_domain, clock.now());
    let ring = KeyRing::open(&config.data, domain, now, &entropy, &config.keys)?;
    let (notary, durability) =
        (CheckpointSigner::new(ring.signers.clone()), config.store.durability);
    let store = store::open_embedded(&config.data, ring.trust.clone(), durability, notary, now)?;
    let trust = store.view()?.trust().clone();
    ring.signers.check(trust.bundle())?;
    check_time(trust.bundle(), clock.now())?;
    let listener = listening(config.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|error| NotServing::Listen { address: config.listen, error })?;
    let admin = config.admin_socket.as_deref().map(|path| {
        listen::admin_socket(path)
            .map_err(|error| NotServing::Data(format!("{}: {error}", path.display())))
    });
    let sockets = Sockets { tcp: listener, tls, admin: admin.transpose()? };
    let metrics = match config.metrics {
        Some(address) => Some(listening(address).await?),
        None => None,
    };
    let traces = config.traces.as_ref().map(|traces| Traces::open(traces, &config.trust_domain));
    let traces = traces.transpose()?;
    let broker = Broker::new(config, ring, store, known, traces, clock, entropy)?;
    pipeline::begin(&broker).await?;
    pipeline::sweep_sessions(&broker).await?;
    broker.publish_trust()?;
    Ok(Bound { broker, address, sockets, metrics, admission, alone, policy })
}

/// Refuses a trust bundle that no verifier would accept at this time.
fn check_time(bundle: &TrustBundle, now: UnixMillis) -> Result<(), NotServing> {
    let Err(bad) = bundle.check_time(now) else { return Ok(()) };
    Err(NotServing::Trust(match bad {
        BadBundle::FromFuture => {
            let ahead = bundle.issued().since(now) / 1000;
            format!(
                "it is issued {ahead} seconds ahead of this machine's clock, and until then nobody would \
                 believe what this broker signs. If the clock is wrong, set it and start again. If it is \
                 right, it was ahead when the bundle was made: wait until then, or, where no agent has \
                 enrolled yet, move the data directory away, copy admin.pub of it into an empty one, and \
                 start again, which makes new keys"
            )
        }
        bad => bad.to_string(),
    }))
}

async fn listening(address: SocketAddr) -> Result<TcpListener, NotServing> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| NotServing::Listen { address, error })
}

/// Reads the witness policy from this file.
fn read_policy(path: &Path) -> Result<Policy, NotServing> {
    let bad = |detail: String| NotServing::Policy(format!("{}: {detail}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    Policy::parse(&text).map_err(|error| bad(error.to_string()))
}

/// The file in the data directory that a running broker holds locked.
const LOCK: &str = "broker.lock";

/// Locks the data directory. The lock is held until the returned file is dropped. An error if another
/// broker holds it.
fn claim(data: &Path) -> std::io::Result<File> {
    let held = files::lock(File::create(data.join(LOCK))?)?;
    held.ok_or_else(|| std::io::Error::other("another broker is at work in it"))
}

/// Creates the data directory if it is missing, and makes it accessible to its owner only.
fn make_private(config: &Config) -> Result<(), NotServing> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let data = &config.data;
    let detail = |error: std::io::Error| NotServing::Data(format!("{}: {error}", data.display()));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(detail)?;
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700)).map_err(detail)
}

impl Bound {
    /// Serves until `stop` is ready, then lets calls in flight end. An error if the store ended first.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), NotServing> {
        let (broker, _alone) = (self.broker, self.alone);
        let (store, ended, last) =
            (broker.log.store.clone(), broker.log.store.clone(), broker.clone());
        let heartbeat = tokio::spawn(heartbeat(broker.clone()));
        let pruning = tokio::spawn(retain::run(broker.clone()));
        let rotation = tokio::spawn(rotate::run(broker.clone()));
        let counting = tokio::spawn(count_refusals(broker.clone()));
        let marking = tokio::spawn(mark_the_store(broker.clone()));
        let policy =
            self.policy.map(|policy| tokio::spawn(witness::run(broker.log.clone(), policy)));
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<DelegationServer<DelegationService>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(sublet_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|error| Fault::Internal(format!("reflection: {error}")))?;
        let routes = Routes::new(health_service)
            .add_service(reflection)
            .add_service(IdentityServer::new(IdentityService(broker.clone())))
            .add_service(DelegationServer::new(DelegationService(broker.clone())))
            .add_service(RevocationServer::new(RevocationService::new(broker.clone())))
            .add_service(AuditServer::new(AuditService(broker.clone())))
            .add_service(AdminServer::new(AdminService(broker.clone())))
            .into_axum_router()
            .merge(publish::routes(broker.clone()))
            .merge(oauth::routes(broker.clone()))
            .fallback(publish::unknown);
        let traces = broker.traces.clone();
        let calls = Calls::new(broker.ports.clock.clone());
        let admission = self.admission;
        let metrics = self.metrics.map(|listener| {
            let serving =
                metrics::serve(listener, broker.clone(), admission.clone(), calls.clone());
            tokio::spawn(serving)
        });
        let certificates = self.sockets.tls.clone().map(|tls| tokio::spawn(tls::run(tls)));
        let deadlines = tokio::spawn(admission.clone().run());
        let incoming = self.sockets.incoming(&admission);
        let mut stopping = broker.stopping.subscribe();
        let serving = Server::builder()
            // HTTP/1 serves the ledger's files and OAuth; gRPC uses HTTP/2.
            .accept_http1(true)
            .concurrency_limit_per_connection(STREAMS_MAX as usize)
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .layer(CountLayer(calls))
            .layer(TraceLayer(traces.clone()))
            .layer(TransportLayer)
            .layer(GateLayer::new(broker.clone(), admission))
            .add_routes(Routes::from(routes))
            .serve_with_incoming_shutdown(incoming, async move {
                tokio::select! {
                    () = stop => {}
                    // The supervisor of this process starts another one, which recovers.
                    () = store.ended() => {}
                }
                broker.stopping.send_replace(true);
            });
        // An open connection must not delay a restart.
        let late = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
            tokio::time::sleep(STOP_DEADLINE).await;
        };
        let served = tokio::select! {
            served = serving => served,
            () = late => {
                tracing::warn!("connections are still open, and are closed");
                Ok(())
            }
        };
        if let Some(traces) = traces {
            let _ = tokio::task::spawn_blocking(move || traces.end()).await;
        }
        heartbeat.abort();
        deadlines.abort();
        pruning.abort();
        rotation.abort();
        counting.abort();
        marking.abort();
        // Records what was counted since the last minute.
        pipeline::record_counted(&last).await;
        let _ = last.log.reached.keep(&last.log.store).await;
        policy.iter().chain(&certificates).chain(&metrics).for_each(JoinHandle::abort);
        served?;
        match ended.has_ended() {
            true => Err(Fault::Store("it took nothing any more".to_owned()).into()),
            false => Ok(()),
        }
    }
}

/// Records, once a minute, the refusals that were only counted.
async fn count_refusals(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(COUNTED_EVERY);
    loop {
        ticks.tick().await;
        pipeline::record_counted(&broker).await;
    }
}

/// Writes beside the store how far it has come, once a second. A broker then notices an older copy of
/// the store.
async fn mark_the_store(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(KEPT_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(fault) = broker.log.reached.keep(&broker.log.store).await {
            tracing::error!(%fault, "nothing beside the store says how far it has come");
        }
    }
}

/// Signs a head of the feed at least every second. Tools see by it that the broker can revoke, so no
/// head is signed when the store has ended or hangs. Also writes `trust.json` again where an earlier
/// write failed.
async fn heartbeat(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut at_work, mut beats) = (None, 0u32);
    loop {
        ticks.tick().await;
        if broker.log.store.has_ended() {
            return;
        }
        let now = broker.log.store.at_work();
        beats = if now.is_some() && now == at_work { beats.saturating_add(1) } else { 0 };
        at_work = now;
        if beats >= HANGING_BEATS {
            tracing::error!("the store hangs: no head is signed until it goes on");
            continue;
        }
        if let Err(fault) = broker.publish_trust() {
            tracing::error!(%fault, "trust.json was not written");
        }
        if let Err(fault) = broker.log.feed.publish(broker.ports.clock.now()) {
            tracing::error!(%fault, "no head was signed");
        }
    }
}
