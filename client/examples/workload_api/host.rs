//! SPIFFE's Workload API over the files of a directory: `svid.pem` and `svid-key.pem` as an X.509-SVID,
//! `svid` as a JWT-SVID. Each answer is what is in the files by then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use sublet_proto::spiffe::spiffe_workload_api_server::{
    SpiffeWorkloadApi, SpiffeWorkloadApiServer,
};
use sublet_proto::spiffe::{
    Jwtsvid, JwtsvidRequest, JwtsvidResponse, X509svid, X509svidRequest, X509svidResponse,
};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

/// How often the files are looked at for whoever follows.
const LOOK: Duration = Duration::from_millis(200);

struct Host {
    directory: PathBuf,
}

/// Serves the files of a directory on a Unix socket, for as long as it is polled.
pub(crate) async fn serve(
    socket: UnixListener,
    directory: &Path,
) -> Result<(), tonic::transport::Error> {
    let host = SpiffeWorkloadApiServer::new(Host { directory: directory.to_owned() });
    let incoming = UnixListenerStream::new(socket);
    tonic::transport::Server::builder().add_service(host).serve_with_incoming(incoming).await
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Host {
    type FetchX509SVIDStream = ReceiverStream<Result<X509svidResponse, Status>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        refuse_browsers(&request)?;
        let (told, stream) = mpsc::channel(1);
        let first = x509_svid(&self.directory)?;
        tokio::spawn(follow(self.directory.clone(), first, told));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        refuse_browsers(&request)?;
        let svid = read(&self.directory.join("svid"))?.trim().to_owned();
        if !request.get_ref().audience.iter().all(|audience| is_for(&svid, audience)) {
            return Err(Status::permission_denied("the JWT-SVID is for another audience"));
        }
        let svid = Jwtsvid { spiffe_id: String::new(), svid };
        Ok(Response::new(JwtsvidResponse { svids: vec![svid] }))
    }
}

/// Tells of an X.509-SVID, and of each that follows it.
async fn follow(
    directory: PathBuf,
    first: X509svidResponse,
    told: mpsc::Sender<Result<X509svidResponse, Status>>,
) {
    let mut last = first.clone();
    let mut sent = told.send(Ok(first)).await;
    while sent.is_ok() && !told.is_closed() {
        tokio::time::sleep(LOOK).await;
        // Files of which one is there and the other is not yet are looked at again.
        if let Ok(next) = x509_svid(&directory)
            && next != last
        {
            last = next.clone();
            sent = told.send(Ok(next)).await;
        }
    }
}

/// What only a program says, and no page that a browser shows (Workload API section 3).
fn refuse_browsers<M>(request: &Request<M>) -> Result<(), Status> {
    match request.metadata().get("workload.spiffe.io") {
        Some(word) if word == "true" => Ok(()),
        _ => Err(Status::invalid_argument("security header missing from request")),
    }
}

/// Whether a token is for this audience; of a real host it is made for it.
fn is_for(svid: &str, audience: &str) -> bool {
    let claims = svid.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Value> = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    claims.is_some_and(|claims| match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(|one| one == audience),
        one => one.is_some_and(|one| one == audience),
    })
}

fn x509_svid(directory: &Path) -> Result<X509svidResponse, Status> {
    let der_of = |name| der(&read(&directory.join(name))?);
    let (x509_svid, x509_svid_key) = (der_of("svid.pem")?, der_of("svid-key.pem")?);
    let svid = X509svid { x509_svid, x509_svid_key, ..X509svid::default() };
    Ok(X509svidResponse { svids: vec![svid] })
}

/// The DER values of a PEM text, one behind the other.
fn der(pem: &str) -> Result<Vec<u8>, Status> {
    let mut values = Vec::new();
    for block in pem.split("-----BEGIN").skip(1) {
        let body: String =
            block.lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
        values.extend(STANDARD.decode(body).map_err(|bad| Status::internal(bad.to_string()))?);
    }
    Ok(values)
}

fn read(path: &Path) -> Result<String, Status> {
    let detail = |error| format!("{}: {error}", path.display());
    std::fs::read_to_string(path).map_err(|error| Status::permission_denied(detail(error)))
}
