//! Metrics for Prometheus, on a listener of their own. docs/FORMATS, "Metrics".
//!
//! Owns: counting calls by method and outcome, and reading other numbers when they are scraped. Does not
//! own: what the numbers count.
//!
//! Invariants: no label names an agent, a principal or a target. Methods and outcomes are few and known.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sublet_core::base::id::UnixMillis;
use sublet_core::refusal::Fault;
use sublet_core::trust::rotation::USES;
use tokio::net::TcpListener;
use tonic::codegen::http;

use crate::admission::Admission;
use crate::broker::Broker;
use crate::observe::calls::{known, outcome};
use crate::transport::listen::Scrapes;
use sublet_host::ports::Clock;

/// The bounds of the duration buckets, in seconds: from answers out of memory to those that wait for the
/// disk.
const BUCKETS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Use {
    r#use: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AtBound {
    bound: String,
}

/// The numbers that are counted while calls run.
#[derive(Clone)]
pub(crate) struct Calls {
    total: Family<Call, Counter>,
    seconds: Family<Method, Histogram>,
    clock: Arc<dyn Clock>,
}

impl Calls {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(BUCKETS);
        Calls { total: Family::default(), seconds: Family::new_with_constructor(seconds), clock }
    }

    fn count(&self, method: &str, outcome: &str, began: UnixMillis) {
        // In whole milliseconds; 0 if the clock was set back.
        let millis = u32::try_from(self.clock.now().since(began)).unwrap_or(0);
        let method = method.to_owned();
        self.seconds
            .get_or_create(&Method { method: method.clone() })
            .observe(f64::from(millis) / 1000.0);
        self.total.get_or_create(&Call { method, outcome: outcome.to_owned() }).inc();
    }

    /// Returns all metrics as text. A fault if the store cannot be read.
    fn text(&self, broker: &Broker, admission: &Admission) -> Result<String, Fault> {
        let mut registry = Registry::with_prefix("sublet");
        registry.register("calls", "Calls of the broker by outcome", self.total.clone());
        registry.register("call_seconds", "How long they took", self.seconds.clone());
        let now = broker.ports.clock.now();
        let mut gauge = |name: &str, help: &str, value: i64| {
            let gauge: Gauge = Gauge::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        };
        let deltas = broker.log.store.feed()?.len();
        let (agents, delegations, hops, sessions, sequence, answers) = {
            let state = broker.log.store.view()?;
            let (agents, delegations, hops) = state.counts();
            let (sessions, sequence) = (state.sessions().count(), state.revocation_sequence());
            (agents, delegations, hops, sessions, sequence, state.answers().len())
        };
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        gauge("agents", "Agents known", count(agents));
        gauge("delegations", "Delegations known", count(delegations));
        gauge("live_hops", "Recorded hops that have not expired", count(hops));
        gauge("sessions", "Sessions of authority that are remembered", count(sessions));
        gauge("revocations", "Number of the last revocation", number(sequence));
        let size = broker.log.store.published()?.tree.size();
        gauge("ledger_records", "Records in the ledger", number(size));
        let unauthenticated = broker.refused.unauthenticated.load(Ordering::Relaxed);
        gauge(
            "unauthenticated",
            "Calls without a valid proof since the start",
            number(unauthenticated),
        );
        let dead = broker.refused.dead.load(Ordering::Relaxed);
        gauge(
            "dead",
            "Calls by callers that are not alive any more, since the start",
            number(dead),
        );
        gauge("answers", "Answers kept for repeated requests", count(answers));
        gauge("feed_deltas", "Deltas of the feed that a new tool is sent", count(deltas));
        let trust = broker.trust()?;
        let bundle = trust.bundle();
        let left = bundle.expires().since(now) / 1000;
        gauge("trust_bundle_seconds_left", "Until the trust bundle is over", left);
        let ends = Family::<Use, Gauge>::default();
        for use_ in USES {
            let left = bundle.active(use_).map_or(0, |key| key.not_after.since(now) / 1000);
            ends.get_or_create(&Use { r#use: use_.name().to_owned() }).set(left);
        }
        registry.register("key_seconds_left", "Until the key that signs is over", ends);
        register_admission(&mut registry, admission);
        let mut text = String::new();
        encode(&mut text, &registry)
            .map_err(|error| Fault::Internal(format!("metrics: {error}")))?;
        Ok(text)
    }
}

/// Adds what peers use of each bound, and how often each bound was met.
fn register_admission(registry: &mut Registry, admission: &Admission) {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let mut gauge = |name: &str, help: &str, value: usize| {
        let gauge: Gauge = Gauge::default();
        gauge.set(count(value));
        registry.register(name, help, gauge);
    };
    let (open, proven) = admission.tcp.counts();
    gauge("connections", "TCP connections", open);
    gauge("connections_proven", "Those on which a caller has proven itself", proven);
    gauge("request_bytes", "Bytes of requests in flight", admission.bytes());
    let (entered, at_work) = admission.calls();
    gauge("calls_in_lanes", "Calls that have a turn or wait for one", entered);
    gauge("calls_at_work", "Those that have a turn", at_work);
    let (closed, refused) = (Family::<AtBound, Counter>::default(), Family::default());
    for (bound, met) in admission.met() {
        let family = if bound.closes() { &closed } else { &refused };
        family.get_or_create(&AtBound { bound: bound.name().to_owned() }).inc_by(met);
    }
    registry.register("connections_closed", "Connections closed, by the bound", closed);
    registry.register("requests_refused", "Requests refused, by the bound", refused);
}

/// Serves the metrics until the broker ends.
pub(crate) async fn serve(
    listener: TcpListener,
    broker: Arc<Broker>,
    admission: Arc<Admission>,
    calls: Calls,
) {
    let scrapes = Scrapes::new(listener, admission.metrics.clone());
    let state = (broker, admission, calls);
    let app = axum::Router::new().route("/metrics", get(show)).with_state(state);
    if let Err(error) = axum::serve(scrapes, app).await {
        tracing::error!(%error, "metrics are not served any more");
    }
}

/// Answers one scrape. Each scrape is a connection of its own, so that none is closed during the next one.
async fn show(
    State((broker, admission, calls)): State<(Arc<Broker>, Arc<Admission>, Calls)>,
) -> Response {
    match calls.text(&broker, &admission) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind), (header::CONNECTION, "close")], text).into_response()
        }
        Err(fault) => {
            tracing::error!(%fault, "metrics");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Counts the calls that pass through it.
#[derive(Clone)]
pub(crate) struct CountLayer(pub(crate) Calls);

impl<S> tower::Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count { inner, calls: self.0.clone() }
    }
}

/// The service that [`CountLayer`] makes.
#[derive(Clone)]
pub(crate) struct Count<S> {
    inner: S,
    calls: Calls,
}

impl<S, B, R> tower::Service<http::Request<B>> for Count<S>
where
    S: tower::Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = known(request.uri().path());
        let (calls, began, answer) =
            (self.calls.clone(), self.calls.clock.now(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await;
            if let (Some(method), Ok(answer)) = (method, &answer) {
                calls.count(&method, outcome(answer), began);
            }
            answer
        })
    }
}
