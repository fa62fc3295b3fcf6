//! Spans, as a collector of OpenTelemetry gets them: a collector of our own, the real binary.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;

use crate::stage::Stage;

const PROFILE: &str = "name = \"default\"\nprincipals = [\"user:*@acme.example\"]\n\
    ttl_seconds_max = 900\nhops_max = 4\noffline_hops_max = 1\n\
    allow = [\"fs.@tool://files path=under:/data\"]\n";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    fn start(&self, runtime: &Runtime) -> String {
        let service = TraceServiceServer::new(self.clone());
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(service);
            tokio::spawn(server.serve_with_incoming(incoming));
            format!("http://{address}")
        })
    }

    fn spans(&self) -> Vec<Span> {
        let got = self.0.lock().unwrap().clone();
        let resources = got.into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|of| of.scope_spans).flat_map(|of| of.spans).collect()
    }

    /// All that came, as text.
    fn text(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn outcome(span: &Span) -> String {
    let outcome = span.attributes.iter().find(|pair| pair.key == "sublet.outcome");
    format!("{:?}", outcome.and_then(|pair| pair.value.clone()))
}

fn traced(collector: &str) -> Stage {
    let config = format!("[traces]\ncollector = \"{collector}\"\n");
    let stage = Stage::configured(&config, &[("default.toml", PROFILE)]);
    stage.sublet(&["profile", "apply", "default.toml"]).ok();
    let join = stage.sublet(&["agent", "create", "agent/planner"]).ok();
    std::fs::write(stage.path("join"), join).unwrap();
    stage.sublet(&["agent", "enroll", "--join-token", "join", "--out", "planner"]).ok();
    stage
}

fn issue<'a>(scope: &'a str, out: &'a str) -> Vec<&'a str> {
    let who = ["issue", "--as", "planner", "--on-behalf-of", "user:alice@acme.example"];
    [&who[..], &["--allow", scope, "--out", out, "--output", "json"]].concat()
}

#[test]
fn each_call_is_a_span_below_its_caller_and_names_nobody() {
    let (runtime, collector) = (Runtime::new().unwrap(), Collector::default());
    let mut stage = traced(&collector.start(&runtime));
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let within = [("TRACEPARENT", traceparent.as_str())];
    let granted = issue("fs.read@tool://files path=under:/data", "a.token");
    let delegation =
        stage.sublet_with(&within, &granted).json()["delegation"].as_str().unwrap().to_owned();
    let wide = issue("db.drop@tool://files *=any", "b.token");
    stage.sublet_with(&within, &wide).fails(2, "db.drop");
    // Said to be part of a trace that is none: one of the broker's own.
    let other = stage.sublet_with(&[("TRACEPARENT", "none")], &granted).json();
    // The ledger has the trace's id beside what was done.
    let replayed = |id: &str| stage.sublet(&["audit", "replay", id, "--output", "json"]).json();
    assert_eq!(replayed(&delegation)["hops"][0]["trace"], TRACE);
    let other = replayed(other["delegation"].as_str().unwrap())["hops"][0]["trace"].clone();

    assert!(stage.stop().success());
    let spans = collector.spans();
    let calls: Vec<&Span> =
        spans.iter().filter(|span| hex(&span.parent_span_id) == PARENT).collect();
    let names: Vec<&str> = calls.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["Delegation/Issue", "Delegation/Issue"]);
    assert!(calls.iter().all(|span| hex(&span.trace_id) == TRACE));
    assert!(outcome(calls[0]).contains("\"ok\""), "{}", outcome(calls[0]));
    assert!(outcome(calls[1]).contains("\"deny\""), "{}", outcome(calls[1]));
    // Below each call the steps of its road; a refusal has nothing to sign.
    let steps = |call: &Span| {
        let below = spans.iter().filter(|span| span.parent_span_id == call.span_id);
        let mut steps: Vec<&Span> = below.collect();
        steps.sort_by_key(|span| span.start_time_unix_nano);
        for step in &steps {
            let inside = call.start_time_unix_nano <= step.start_time_unix_nano
                && step.end_time_unix_nano <= call.end_time_unix_nano;
            assert!(inside, "{step:?}");
        }
        steps.iter().map(|span| span.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(steps(calls[0]), ["authenticate", "decide", "sign", "record"]);
    assert_eq!(steps(calls[1]), ["authenticate", "decide", "record"]);
    let own = spans.iter().find(|span| other == hex(&span.trace_id).as_str()).unwrap();
    assert_ne!(hex(&own.trace_id), TRACE);
    // The words of a call are few: no agent, no user, no tool, no id of a token.
    let text = collector.text();
    for word in ["planner", "alice", "spiffe", "files", "db.drop", "/data", delegation.as_str()] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(text.contains("acme.example") && text.contains("sublet-broker"));
}

#[test]
fn a_collector_that_does_not_answer_holds_nobody_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), gone] {
        let mut stage = traced(&format!("http://{address}"));
        stage.sublet(&issue("fs.read@tool://files path=under:/data", "a.token")).ok();
        assert!(stage.stop().success());
    }
}

#[test]
fn traces_that_cannot_be_sent_are_said_before_anyone_is_served() {
    let home = tempfile::tempdir().unwrap();
    let refused = |traces: &str, words: &str| {
        let config =
            format!("trust_domain = \"acme.example\"\ndata = \"own\"\n[traces]\n{traces}\n");
        std::fs::write(home.path().join("sublet.toml"), config).unwrap();
        let run = crate::stage::sublet_in(home.path(), &["serve", "--config", "sublet.toml"]);
        assert_ne!(run.code, 0);
        assert!(run.err.contains(words), "{run:?}");
    };
    refused("collector = \"not a place\"", "not a place");
    refused("collector = \"http://127.0.0.1:1\"\nratio = 1.5", "traces.ratio is 0 to 1");
    refused("collector = \"https://127.0.0.1:1\"\nca = \"none.pem\"", "none.pem");
    refused("collector = \"http://127.0.0.1:1\"\nsecret = \"x\"", "secret");
}
