//! Enrolment through SPIFFE's Workload API: a server of our own making on a Unix socket, which gives what
//! it is told and refuses whoever does not say the word.

use std::path::Path;

use serde_json::json;
use sublet_proto::spiffe::spiffe_workload_api_server::{
    SpiffeWorkloadApi, SpiffeWorkloadApiServer,
};
use sublet_proto::spiffe::{
    Jwtsvid, JwtsvidRequest, JwtsvidResponse, X509svid, X509svidRequest, X509svidResponse,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

use crate::enrol::{jwk, token};
use crate::pki::{Authority, Leaf};
use crate::transport::{broker, by_tls};

const WEB: &str = "spiffe://prod.example/ns/shop/sa/web";

struct Host {
    svid: Leaf,
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
        let (told, stream) = tokio::sync::mpsc::channel(1);
        let svid = X509svid {
            spiffe_id: WEB.into(),
            x509_svid: der(&self.svid.certificate),
            x509_svid_key: der(&self.svid.key),
            bundle: Vec::new(),
        };
        told.try_send(Ok(X509svidResponse { svids: vec![svid] })).unwrap();
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

fn serve(socket: &Path, svid: Leaf) {
    let listener = UnixListener::bind(socket).unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(SpiffeWorkloadApiServer::new(Host { svid }));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
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
    serve(&stage.path("api.sock"), prod.svid(&[WEB]));
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
