//! Traces: OpenTelemetry spans that show what a call waited for, sent to a collector. docs/FORMATS, "Traces".
//!
//! Owns: one span for each call and one for each of its steps, and sending them over OTLP. Does not own:
//! what the steps do; the trace-id in the ledger (`store`).
//!
//! Invariants: no span names an agent, a principal or a target. No call waits for the collector. Spans
//! that the collector does not take in time are dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{
    FutureExt as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use sublet_core::base::id::TrustDomain;
use tonic::codegen::http::header::{HeaderMap, HeaderName, HeaderValue};
use tonic::codegen::http::{Request, Response};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::config::{BadConfig, TracesConfig};
use crate::observe::calls;

/// The most spans that wait to be sent, at about 500 bytes each.
const SPANS_MAX: usize = 8192;

/// How long one attempt to send may take. The last one delays the end of the broker by at most this.
const SEND_DEADLINE: Duration = Duration::from_secs(3);

/// Sends the spans of a broker. Clones share it.
#[derive(Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: Arc<TraceContextPropagator>,
}

impl Traces {
    /// Prepares sending to the configured collector. It connects with the first spans. Call it inside a
    /// Tokio runtime. An error if the configuration is not valid.
    pub fn open(config: &TracesConfig, domain: &TrustDomain) -> Result<Self, BadConfig> {
        let bad =
            |detail: String| BadConfig::Value(format!("traces: {}: {detail}", config.collector));
        let mut endpoint = Endpoint::from_shared(config.collector.clone())
            .map_err(|error| bad(error.to_string()))?
            .connect_timeout(SEND_DEADLINE)
            .timeout(SEND_DEADLINE);
        if config.collector.starts_with("https://") {
            let tls = client_tls(config)?;
            endpoint = endpoint.tls_config(tls).map_err(|error| bad(error.to_string()))?;
        }
        let exporter =
            SpanExporter::builder().with_tonic().with_channel(endpoint.connect_lazy()).build();
        let exporter = exporter.map_err(|error| bad(error.to_string()))?;
        let batches = BatchConfigBuilder::default().with_max_queue_size(SPANS_MAX).build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let sampled = Sampler::TraceIdRatioBased(config.ratio);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::ParentBased(Box::new(sampled)))
            .with_resource(resource(domain))
            .build();
        let tracer = provider.tracer("sublet-broker");
        Ok(Traces { provider, tracer, propagator: Arc::default() })
    }

    /// Sends the waiting spans, within a few seconds. Blocks.
    pub fn end(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SEND_DEADLINE) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }

    /// Starts the span of a call. Its parent is the caller's span in `traceparent`. The header then
    /// names the new span, so that the ledger records the trace-id.
    fn call(&self, method: &str, headers: &mut HeaderMap) -> Context {
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(headers));
        let span = self
            .tracer
            .span_builder(method.to_owned())
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("rpc.method", method.to_owned())])
            .start_with_context(&self.tracer, &parent);
        let context = parent.with_span(span);
        self.propagator.inject_context(&context, &mut HeadersMut(headers));
        context
    }
}

/// Returns the TLS settings for the collector's certificate.
fn client_tls(config: &TracesConfig) -> Result<ClientTlsConfig, BadConfig> {
    let tls = ClientTlsConfig::new();
    let Some(path) = &config.ca else { return Ok(tls.with_webpki_roots()) };
    let pem = std::fs::read(path).map_err(|error| BadConfig::Read { path: path.clone(), error })?;
    Ok(tls.ca_certificate(Certificate::from_pem(pem)))
}

fn resource(domain: &TrustDomain) -> Resource {
    Resource::builder()
        .with_service_name("sublet-broker")
        .with_attribute(KeyValue::new("service.namespace", domain.to_string()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A step of a call: a span that ends when this is dropped.
pub(crate) struct Step(
    #[expect(dead_code, reason = "its end is when it is dropped")] Option<Context>,
);

/// Starts a step of the current call. Does nothing outside a call.
pub(crate) fn step(traces: Option<&Traces>, name: &'static str) -> Step {
    let Some(traces) = traces else { return Step(None) };
    let call = Context::current();
    if !call.span().is_recording() {
        return Step(None);
    }
    let span = traces.tracer.start_with_context(name, &call);
    Step(Some(call.with_span(span)))
}

/// Runs work inside the span of the current call.
pub(crate) fn within_the_call<F: Future>(work: F) -> impl Future<Output = F::Output> {
    work.with_context(Context::current())
}

/// Gives each call its span.
#[derive(Clone)]
pub(crate) struct TraceLayer(pub(crate) Option<Traces>);

impl<S> tower::Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner, traces: self.0.clone() }
    }
}

/// The service that [`TraceLayer`] makes.
#[derive(Clone)]
pub(crate) struct Traced<S> {
    inner: S,
    traces: Option<Traces>,
}

impl<S, B, R> tower::Service<Request<B>> for Traced<S>
where
    S: tower::Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let method = calls::known(request.uri().path());
        let (Some(traces), Some(method)) = (&self.traces, method) else {
            return Box::pin(self.inner.call(request));
        };
        let context = traces.call(&method, request.headers_mut());
        let answer = self.inner.call(request).with_context(context.clone());
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                let outcome = calls::outcome(answer);
                let span = context.span();
                span.set_attribute(KeyValue::new("sublet.outcome", outcome));
                if outcome == "fault" {
                    span.set_status(Status::Error { description: "fault".into() });
                }
            }
            answer
        })
    }
}

/// Headers for the propagator to read: `traceparent` only. `tracestate` can be long, and its sender
/// chooses it.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).filter(|_| key == "traceparent")?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Headers for the propagator to write.
struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_caller_is_read_but_its_trace() {
        let mut headers = HeaderMap::new();
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", HeaderValue::from_static(traceparent));
        headers.insert("tracestate", HeaderValue::from_static("tenant=acme"));
        let read = TraceContextPropagator::new().extract(&Headers(&headers));
        let span = read.span().span_context().clone();
        assert_eq!(span.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.trace_state().header(), "");
    }
}
