//! Enrolment through SPIFFE's Workload API: a server of our own making on a Unix socket, which gives what
//! it is told and refuses whoever does not say the word.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sublet_client::identity::Identity;
use sublet_proto::spiffe::spiffe_workload_api_server::{
    SpiffeWorkloadApi, SpiffeWorkloadApiServer,
};
use sublet_proto::spiffe::{
    Jwtsvid, JwtsvidRequest, JwtsvidResponse, X509svid, X509svidRequest, X509svidResponse,
};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

use crate::enrol::{jwk, token};
use crate::pki::{Authority, Leaf};
use crate::transport::{broker, by_tls};

const WEB: &str = "spiffe://prod.example/ns/shop/sa/web";

/// Gives the SVID of this moment, and tells of each that follows.
struct Host {
    svid: watch::Receiver<Arc<Leaf>>,
}

fn told(svid: &Leaf) -> X509svidResponse {
    let svid = X509svid {
        spiffe_id: WEB.into(),
        x509_svid: der(&svid.certificate),
        x509_svid_key: der(&svid.key),
        bundle: Vec::new(),
    };
    X509svidResponse { svids: vec![svid] }
}

fn check<M>(request: &Request<M>) -> Result<(), Status> {
    match request.metadata().get("workload.spiffe.io") {
        Some(word) if word == "true" => Ok(()),
        _ => Err(Status::invalid_argument("security header missing from request")),
    }
}

/// The DER values of a PEM text, one behind the other.
fn der(pem: &str) -> Vec<u8> {
    use base64::Engine as _;
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Host {
    type FetchX509SVIDStream = ReceiverStream<Result<X509svidResponse, Status>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        check(&request)?;
        let (next, stream) = tokio::sync::mpsc::channel(1);
        let mut svid = self.svid.clone();
        tokio::spawn(async move {
            loop {
                let now = told(&svid.borrow_and_update().clone());
                if next.send(Ok(now)).await.is_err() || svid.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        check(&request)?;
        let audience = request.get_ref().audience.first().cloned().unwrap_or_default();
        let svid = token("spire", 9, &json!({"sub": WEB, "aud": [audience]}));
        let svid = Jwtsvid { spiffe_id: WEB.into(), svid };
        Ok(Response::new(JwtsvidResponse { svids: vec![svid] }))
    }
}

fn serve(socket: &Path, svid: Leaf) -> watch::Sender<Arc<Leaf>> {
    let (next, svid) = watch::channel(Arc::new(svid));
    let listener = UnixListener::bind(socket).unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(SpiffeWorkloadApiServer::new(Host { svid }));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_enrols_with_what_its_host_gives_it() {
    let (authority, prod) = (Authority::new(), Authority::new());
    let issuer = "[[issuer]]\nname = \"spiffe://prod.example\"\nx509_bundle = \"prod.pem\"\n\
        jwks_file = \"bundle.json\"\n";
    let bundle = json!({"keys": [jwk("spire", 9)]}).to_string();
    let files = [("prod.pem", prod.pem.as_str()), ("bundle.json", &bundle)];
    let stage = broker(&authority, issuer, &files);
    by_tls(&stage, &["profile", "apply", "default.toml"]).ok();
    let _next = serve(&stage.path("api.sock"), prod.svid(&[WEB]));
    let socket = format!("unix:{}", stage.path("api.sock").display());
    let asked = tokio::task::spawn_blocking(move || {
        for kind in ["jwt", "x509"] {
            let enrol =
                ["agent", "enroll", "--workload-api", kind, "--socket", &socket, "--out", kind];
            let said = by_tls(&stage, &enrol).ok();
            assert!(said.contains("spiffe://acme.example/agent/shop/web"), "{said}");
            stage.sublet(&["agent", "renew", "--as", kind]).ok();
        }
        let gone = ["agent", "enroll", "--workload-api", "jwt", "--out", "gone", "--socket"];
        let gone = |socket: &str| by_tls(&stage, &[&gone[..], &[socket]].concat());
        gone("unix:nowhere.sock").fails(1, "[unreachable]");
        gone("/run/api.sock").fails(1, "[bad_endpoint]");
    });
    asked.await.unwrap();
}

/// An SVID lives for an hour or less: an agent shows the one of this moment, whoever signed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_shows_the_svid_that_its_host_gives_it_now() {
    let (authority, prod, next) = (Authority::new(), Authority::new(), Authority::new());
    let issuer = "[[issuer]]\nname = \"spiffe://prod.example\"\nx509_bundle = \"prod.pem\"\n";
    let mut stage = broker(&authority, issuer, &[("prod.pem", prod.pem.as_str())]);
    by_tls(&stage, &["profile", "apply", "default.toml"]).ok();
    let host = serve(&stage.path("api.sock"), prod.svid(&[WEB]));
    let socket = format!("unix:{}", stage.path("api.sock").display());
    let enrol = ["agent", "enroll", "--workload-api", "x509", "--socket", &socket, "--out", "web"];
    by_tls(&stage, &enrol).ok();
    let identity = Identity::load(stage.path("web")).unwrap();
    let _renewal = identity.keep_renewed();
    identity.renew().await.unwrap();
    // The host gives it another, by another authority, and the one before is nobody's any more.
    let file = stage.path("web/svid.pem");
    let before = std::fs::read(&file).unwrap();
    host.send_replace(Arc::new(next.svid(&[WEB])));
    let changed = async {
        while std::fs::read(&file).unwrap() == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
    std::fs::write(stage.path("prod.pem"), &next.pem).unwrap();
    stage.restart_configured();
    identity.renew().await.unwrap();
    // A command asks the host by itself.
    host.send_replace(Arc::new(next.svid(&[WEB])));
    stage.sublet(&["agent", "renew", "--as", "web"]).ok();
}
