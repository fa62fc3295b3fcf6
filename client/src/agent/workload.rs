//! SPIFFE's Workload API: the SVIDs that a workload gets on its host, without a secret of its own.
//!
//! Owns: asking the socket, and storing the X.509-SVID and its successors where TLS reads them.
//! Does not own: enrolling with an SVID (`enrollment`, `identity`).
//!
//! Invariants: private keys are written for their owner alone; what the socket returns is trusted
//! by nobody before the broker has verified it.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sublet_proto::spiffe::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use sublet_proto::spiffe::{JwtsvidRequest, X509svidRequest, X509svidResponse};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use zeroize::Zeroizing;

use crate::agent::enrollment::Proof;
use crate::broker::repeats::back_off;
use crate::broker::tls::Tls;
use crate::broker::unreachable::unreachable;
use crate::error::Error;
use crate::files;
use crate::ports::Ports;

const SVID: &str = "svid.pem";

/// The wait after the first failure to follow, in milliseconds. It doubles with each further
/// failure, up to 32 s.
const BACK_OFF_MS: u64 = 500;

/// The deadline for one answer of the socket.
const DEADLINE: Duration = Duration::from_secs(10);

/// Fetches a JWT-SVID for this audience and returns it as a credential for enrollment. `socket` has
/// the form of SPIFFE_ENDPOINT_SOCKET: `unix:///run/agent.sock` or `tcp://127.0.0.1:8000`.
pub async fn jwt_svid(socket: &str, audience: &str) -> Result<Proof, Error> {
    let mut api = connect(socket).await?;
    let (audience, spiffe_id) = (vec![audience.to_owned()], String::new());
    let request = asked(JwtsvidRequest { audience, spiffe_id });
    let answer = api.fetch_jwtsvid(request).await.map_err(|refusal| refused(socket, &refusal))?;
    let svid = answer.into_inner().svids.into_iter().next();
    let svid = svid.ok_or_else(|| Error::answer("the Workload API has no JWT-SVID"))?;
    Ok(Proof::jwt_svid(&svid.svid))
}

/// Fetches the workload's X.509-SVID, stores it as `svid.pem` in `directory`, and returns TLS
/// settings that show it. The authorities of `tls` are kept.
pub async fn x509_svid(socket: &str, directory: &Path, tls: &Tls) -> Result<Tls, Error> {
    let mut stream = x509_stream(socket).await?;
    let first = tokio::time::timeout(DEADLINE, stream.message()).await;
    let first = first.map_err(|_| Error::deadline("the Workload API", DEADLINE))?;
    let first = first.map_err(|refusal| refused(socket, &refusal))?.unwrap_or_default();
    keep(first, directory)?;
    let (svid, workload_api) = (directory.join(SVID), Some(socket.to_owned()));
    Ok(Tls { certificate: Some(svid.clone()), key: Some(svid), ca: tls.ca.clone(), workload_api })
}

/// Stores each following X.509-SVID that the Workload API sends. The future never ends; dropping it
/// stops the work.
pub(crate) async fn follow_x509(socket: &str, directory: &Path, ports: &Ports) {
    let mut failures = 0u32;
    loop {
        let followed = async {
            let mut stream = x509_stream(socket).await?;
            while let Some(next) =
                stream.message().await.map_err(|refusal| refused(socket, &refusal))?
            {
                keep(next, directory)?;
                failures = 0;
            }
            Err::<(), _>(Error::local("workload_api", "the Workload API ended"))
        };
        if let Err(failure) = followed.await {
            tracing::warn!(%failure, "the next X.509-SVID is not known");
        }
        failures = failures.saturating_add(1);
        tokio::time::sleep(back_off(ports, failures, BACK_OFF_MS)).await;
    }
}

async fn x509_stream(socket: &str) -> Result<Streaming<X509svidResponse>, Error> {
    let mut api = connect(socket).await?;
    let answer = api.fetch_x509svid(asked(X509svidRequest {})).await;
    Ok(answer.map_err(|refusal| refused(socket, &refusal))?.into_inner())
}

/// Stores the first SVID of an answer, which is the default identity (Workload API section 5.2.1).
/// Certificate and key are in one file, so a reader never gets a pair that does not match.
fn keep(answer: X509svidResponse, directory: &Path) -> Result<(), Error> {
    let svid = answer.svids.into_iter().next();
    let svid = svid.ok_or_else(|| Error::answer("the Workload API has no X.509-SVID"))?;
    let key = Zeroizing::new(svid.x509_svid_key);
    let chain = split(&svid.x509_svid).filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| Error::answer("its X.509-SVID is no certificate"))?;
    let chain: String = chain.into_iter().map(|one| pem("CERTIFICATE", one)).collect();
    let key = Zeroizing::new(pem("PRIVATE KEY", &key));
    let text = Zeroizing::new([chain.as_str(), &key].concat());
    files::create_directory(directory)?;
    files::replace(&directory.join(SVID), text.as_bytes())
}

async fn connect(socket: &str) -> Result<SpiffeWorkloadApiClient<Channel>, Error> {
    let bad = |detail: String| {
        let detail = format!("{socket:?} is no address of a Workload API: {detail}");
        Error::local("bad_endpoint", detail)
    };
    let address = match socket.strip_prefix("tcp://") {
        Some(address) => format!("http://{address}"),
        None if socket.starts_with("unix:") => socket.to_owned(),
        None => return Err(bad("unix:PATH or tcp://IP:PORT is expected".to_owned())),
    };
    let endpoint = Endpoint::from_shared(address).map_err(|error| bad(error.to_string()))?;
    let endpoint = endpoint.connect_timeout(DEADLINE).timeout(DEADLINE);
    let channel = tokio::time::timeout(DEADLINE, endpoint.connect()).await;
    let channel = channel.map_err(|_| Error::deadline("the Workload API", DEADLINE))?;
    let channel = channel.map_err(|error| unreachable(socket, &Tls::default(), &error))?;
    Ok(SpiffeWorkloadApiClient::new(channel))
}

/// Wraps a request with the header that protects against requests of a browser (Workload API
/// section 3).
fn asked<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

fn refused(socket: &str, status: &tonic::Status) -> Error {
    let detail = format!("the Workload API at {socket}: {}", status.message());
    Error::local("workload_api", detail)
}

/// Splits concatenated DER values; `None` when the bytes are no such sequence.
fn split(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut values = Vec::new();
    while let Some((0x30, rest)) = bytes.split_first() {
        let (first, rest) = rest.split_first()?;
        let (length, head) = match first {
            short if *short < 0x80 => (usize::from(*short), 2),
            0x81..=0x83 => {
                let count = usize::from(*first & 0x7f);
                let length = rest.get(..count)?;
                (length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)), 2 + count)
            }
            _ => return None,
        };
        let (value, behind) = bytes.split_at_checked(length.checked_add(head)?)?;
        values.push(value);
        bytes = behind;
    }
    bytes.is_empty().then_some(values)
}

/// Returns a PEM text (RFC 7468) of these DER bytes.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
    let body: String = lines.map(|line| line + "\n").collect();
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_api_that_refuses_or_has_nothing_is_named() {
        let refusal = refused("unix:/spire", &tonic::Status::permission_denied("no identity"));
        assert_eq!(refusal.code(), "workload_api");
        assert!(refusal.message().contains("unix:/spire: no identity"), "{refusal}");
        let directory = tempfile::tempdir().unwrap();
        let empty = keep(X509svidResponse::default(), directory.path()).unwrap_err();
        assert_eq!(empty.code(), "bad_answer");
    }

    #[test]
    fn a_chain_is_split_where_its_certificates_end_or_not_at_all() {
        let one = [&[0x30, 0x03][..], &[1, 2, 3]].concat();
        let long = [&[0x30, 0x81, 0x80][..], &[7; 0x80]].concat();
        let both = [one.clone(), long.clone()].concat();
        assert_eq!(split(&both), Some(vec![one.as_slice(), long.as_slice()]));
        assert_eq!(split(&[]), Some(vec![]));
        for broken in [&both[..both.len() - 1], &[0x30, 0x84, 1, 0, 0, 0], &[0x31, 0], &[0x30]] {
            assert_eq!(split(broken), None);
        }
        assert!(pem("X", &[0; 100]).lines().all(|line| line.len() <= 64));
    }
}
