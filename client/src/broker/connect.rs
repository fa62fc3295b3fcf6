//! The connection to a broker.
//!
//! Owns: the channel with its limits and deadlines, one generic unary call with its retries, one
//! generic stream. Does not own: who calls (`credential`), what is called (`rpc`).
//!
//! Invariants: every call has one deadline over all of its attempts; a call is retried only if
//! nobody decided it, with the same message bytes (and so the same idempotency key) and a new
//! proof; the bytes that the proof covers are the bytes that are sent. docs/FORMATS, "On the wire".

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prost::Message;
use sublet_core::base::bytes::sha256;
use sublet_core::base::key::Thumbprint;
use sublet_core::base::limits;
use sublet_proto::credentials::{self, Credentials};
use sublet_proto::{ANSWER_METADATA, NOT_KEPT};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use crate::broker::credential::Credential;
use crate::broker::repeats::{ATTEMPTS_MAX, BACK_OFF_MS, RepeatBudget, asked, back_off};
use crate::broker::tls::Tls;
use crate::broker::trace;
use crate::broker::unreachable::{at, unreachable};
use crate::error::Error;
use crate::ports::Ports;

/// The default deadline of one call, including its retries.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);

/// The deadline for establishing a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// A broker, as its callers see it. Clones are cheap and share the connection.
#[derive(Clone, Debug)]
pub struct Broker {
    endpoint: String,
    tls: Tls,
    connection: Arc<RwLock<Connection>>,
    ports: Ports,
    deadline: Duration,
    /// The keys of callers whose last answer the broker did not keep, because it keeps no more
    /// answers for them.
    unkept: Arc<Mutex<HashSet<Thumbprint>>>,
    repeats: Arc<RepeatBudget>,
}

/// When a call whose answer was lost may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Always: the call only reads, or repeating it changes nothing.
    Always,
    /// Only while the broker keeps this caller's answers. Otherwise the request could be granted
    /// twice.
    WhereKept,
}

/// The current connection.
#[derive(Debug)]
struct Connection {
    channel: Channel,
    /// SHA-256 over the TLS files that the connection was made with.
    files: [u8; 32],
}

impl Broker {
    /// Connects to `http://HOST:PORT` (for loopback), `https://HOST:PORT` or `unix:PATH`. A broker
    /// that cannot be reached is an error.
    pub async fn connect(endpoint: &str) -> Result<Self, Error> {
        Broker::connect_by(endpoint, &Tls::default()).await
    }

    /// Connects with these TLS settings.
    pub async fn connect_by(endpoint: &str, tls: &Tls) -> Result<Self, Error> {
        let (files, connecting) = (tls.digest()?, prepare(endpoint, tls)?);
        let connected = tokio::time::timeout(CONNECT_DEADLINE, connecting.connect()).await;
        let channel = connected
            .map_err(|_| Error::deadline("connect", CONNECT_DEADLINE))?
            .map_err(|error| unreachable(endpoint, tls, &error))?;
        Ok(Broker::over(endpoint, tls, Connection { channel, files }))
    }

    /// Returns a broker that is connected with the first call. Must be called inside a Tokio
    /// runtime.
    pub fn lazy(endpoint: &str) -> Result<Self, Error> {
        Broker::lazy_by(endpoint, &Tls::default())
    }

    /// Returns a broker that is connected with the first call, with these TLS settings. Must be
    /// called inside a Tokio runtime.
    pub fn lazy_by(endpoint: &str, tls: &Tls) -> Result<Self, Error> {
        let (files, channel) = (tls.digest()?, prepare(endpoint, tls)?.connect_lazy());
        Ok(Broker::over(endpoint, tls, Connection { channel, files }))
    }

    fn over(endpoint: &str, tls: &Tls, connection: Connection) -> Self {
        let (endpoint, tls) = (endpoint.to_owned(), tls.clone());
        let (ports, connection) = (Ports::system(), Arc::new(RwLock::new(connection)));
        let (deadline, unkept, repeats) = (DEADLINE_DEFAULT, Arc::default(), Arc::default());
        Broker { endpoint, tls, connection, ports, deadline, unkept, repeats }
    }

    /// Returns the same broker with another clock and random source.
    #[must_use]
    pub fn with_ports(self, ports: Ports) -> Self {
        Broker { ports, ..self }
    }

    /// Returns the same broker with another deadline for each call.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Broker { deadline, ..self }
    }

    /// Prepares a new connection, for this broker and its clones, if the TLS files have changed;
    /// certificates live only for hours. Returns whether they had changed. Must be called inside a
    /// Tokio runtime.
    pub fn refresh_certificates(&self) -> Result<bool, Error> {
        let files = self.tls.digest()?;
        if self.connection.read().unwrap_or_else(PoisonError::into_inner).files == files {
            return Ok(false);
        }
        let channel = prepare(&self.endpoint, &self.tls)?.connect_lazy();
        let mut connection = self.connection.write().unwrap_or_else(PoisonError::into_inner);
        *connection = Connection { channel, files };
        Ok(true)
    }

    /// Returns the broker's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the TLS settings.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Returns the clock and random source in use.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Makes one unary call, with retries while nobody decided it and retrying is safe. Without
    /// `who` no credential is shown.
    pub(crate) async fn unary<Q, R>(
        &self,
        method: &'static str,
        who: Option<&Credential>,
        message: &Q,
        repeats: Repeats,
    ) -> Result<R, Error>
    where
        Q: Message + Clone + Default + 'static,
        R: Message + Default + 'static,
    {
        let digest = sha256(&message.encode_to_vec());
        let caller = who.filter(|_| repeats == Repeats::WhereKept).map(Credential::thumbprint);
        let attempts = self.attempts(method, caller, || async {
            let request = self.request(method, who, message.clone(), &digest)?;
            let mut grpc = self.grpc().await.map_err(Error::unsent)?;
            let path = PathAndQuery::from_static(method);
            let answer = grpc.unary(request, path, ProstCodec::<Q, R>::default()).await;
            let answer = answer.map_err(|refusal| self.failure(&refusal))?;
            if let Some(caller) = caller {
                self.note(caller, answer.metadata());
            }
            Ok(answer.into_inner())
        });
        match tokio::time::timeout(self.deadline, attempts).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::deadline(method, self.deadline)),
        }
    }

    /// Opens a stream, without retries. The deadline covers the opening.
    pub(crate) async fn stream<Q, R>(
        &self,
        method: &'static str,
        who: Option<&Credential>,
        message: &Q,
    ) -> Result<Streaming<R>, Error>
    where
        Q: Message + Clone + Default + 'static,
        R: Message + Default + 'static,
    {
        let digest = sha256(&message.encode_to_vec());
        let opening = async {
            let request = self.request(method, who, message.clone(), &digest)?;
            let mut grpc = self.grpc().await?;
            let path = PathAndQuery::from_static(method);
            let answer = grpc.server_streaming(request, path, ProstCodec::<Q, R>::default()).await;
            answer.map(tonic::Response::into_inner).map_err(|refusal| self.failure(&refusal))
        };
        match tokio::time::timeout(self.deadline, opening).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::deadline(method, self.deadline)),
        }
    }

    /// Builds the request with fresh credentials for exactly these message bytes.
    fn request<Q>(
        &self,
        method: &str,
        who: Option<&Credential>,
        message: Q,
        digest: &[u8; 32],
    ) -> Result<Request<Q>, Error> {
        let mut request = Request::new(message);
        if let Some(traceparent) = trace::current() {
            request.metadata_mut().insert(trace::HEADER, traceparent);
        }
        let credentials: Option<Credentials> =
            who.map(|who| who.credentials(method, *digest, &self.ports)).transpose()?;
        if let Some(credentials) = credentials {
            check_size(&credentials)?;
            credentials::into_metadata(&credentials, request.metadata_mut());
        }
        Ok(request)
    }

    /// Converts a status to an error. If no broker was reached, the message names the address.
    fn failure(&self, status: &tonic::Status) -> Error {
        let failure = Error::from_status(status);
        match failure.code().as_str() {
            "unreachable" => at(failure, &self.endpoint, &self.tls),
            _ => failure,
        }
    }

    async fn grpc(&self) -> Result<tonic::client::Grpc<Channel>, Error> {
        let channel = {
            let connection = self.connection.read().unwrap_or_else(PoisonError::into_inner);
            connection.channel.clone()
        };
        let mut grpc = tonic::client::Grpc::new(channel);
        let away = |error| unreachable(&self.endpoint, &self.tls, &error);
        grpc.ready().await.map_err(away)?;
        Ok(grpc)
    }

    /// Notes whether the broker keeps this caller's answers.
    fn note(&self, caller: Thumbprint, metadata: &MetadataMap) {
        let answer = metadata.get(ANSWER_METADATA).map(|value| value.as_bytes());
        let mut unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Some(answer) if answer == NOT_KEPT.as_bytes() => unkept.insert(caller),
            _ => unkept.remove(&caller),
        };
    }

    fn is_kept(&self, caller: &Thumbprint) -> bool {
        !self.unkept.lock().unwrap_or_else(PoisonError::into_inner).contains(caller)
    }

    /// Makes the attempts of one call. If `kept` is set, a lost answer is only retried while the
    /// broker keeps that caller's answers.
    async fn attempts<R, F: Future<Output = Result<R, Error>>>(
        &self,
        method: &str,
        kept: Option<Thumbprint>,
        attempt: impl Fn() -> F,
    ) -> Result<R, Error> {
        let mut made = 1;
        self.repeats.called();
        loop {
            let wait = match attempt().await {
                // The broker is overloaded and decided nothing.
                Err(failure) if failure.retry_after().is_some() && made < ATTEMPTS_MAX => {
                    let after = failure.retry_after().unwrap_or_default();
                    if !self.repeats.take() {
                        return Err(failure.after(made));
                    }
                    tracing::debug!(method, made, code = %failure.code(), "trying again later");
                    asked(&self.ports, after)
                }
                Err(failure)
                    if failure.is_retriable()
                        && failure.retry_after().is_none()
                        && failure.was_sent()
                        && kept.is_some_and(|caller| !self.is_kept(&caller)) =>
                {
                    return Err(failure.not_repeated().after(made));
                }
                Err(failure) if failure.is_retriable() && made < ATTEMPTS_MAX => {
                    tracing::debug!(method, made, code = %failure.code(), "trying again");
                    back_off(&self.ports, made, BACK_OFF_MS)
                }
                done => return done.map_err(|failure| failure.after(made)),
            };
            tokio::time::sleep(wait).await;
            made = made.saturating_add(1);
        }
    }
}

/// Refuses credentials that are larger than the header list may be. Base64 adds a third; HTTP/2
/// counts 32 more bytes for each header.
fn check_size(credentials: &Credentials) -> Result<(), Error> {
    let Credentials { token, receipt, proof, inclusion } = credentials;
    let parts =
        [token.as_deref(), receipt.as_deref(), Some(proof.as_slice()), inclusion.as_deref()];
    let bytes = parts
        .iter()
        .map(|part| part.map_or(0, <[u8]>::len).div_ceil(3).saturating_mul(4).saturating_add(64))
        .fold(1024usize, usize::saturating_add);
    if bytes > limits::HEADER_LIST_BYTES_MAX as usize {
        let detail = format!(
            "token, receipt and proofs are {bytes} bytes as headers; at most {} are accepted",
            limits::HEADER_LIST_BYTES_MAX
        );
        return Err(Error::local("credentials_too_large", detail));
    }
    Ok(())
}

fn prepare(endpoint: &str, tls: &Tls) -> Result<Endpoint, Error> {
    let bad = |detail: String| {
        Error::local("bad_endpoint", format!("{endpoint:?} is no broker's address: {detail}"))
    };
    let known = ["http://", "https://", "unix:"];
    if !known.iter().any(|scheme| endpoint.starts_with(scheme)) {
        return Err(bad("https://HOST:PORT, http://HOST:PORT or unix:PATH is expected".to_owned()));
    }
    if !endpoint.starts_with("https://") && *tls != Tls::default() {
        return Err(bad("TLS settings are only for https://HOST:PORT".to_owned()));
    }
    let prepared = Endpoint::from_shared(endpoint.to_owned())
        .map_err(|error| bad(error.to_string()))?
        .connect_timeout(CONNECT_DEADLINE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX);
    if endpoint.starts_with("https://") {
        return prepared.tls_config(tls.config()?).map_err(|error| bad(reason(&error)));
    }
    Ok(prepared)
}

/// Returns an error's text with all of its causes, as transport errors say little by themselves.
fn reason(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bad_address_and_a_broker_that_is_not_there_are_told_apart() {
        let failure = Broker::connect("nowhere").await.unwrap_err();
        assert_eq!(failure.code(), "bad_endpoint");
        let failure = Broker::connect("http://127.0.0.1:1").await.unwrap_err();
        assert_eq!(failure.code(), "unreachable");
        assert!(failure.message().contains("refused"), "{failure}");
    }

    #[test]
    fn what_no_peer_would_take_is_not_sent() {
        let large = Credentials { token: Some(vec![0; 60 * 1024]), ..Default::default() };
        assert_eq!(check_size(&large).unwrap_err().code(), "credentials_too_large");
        let fits = Credentials { token: Some(vec![0; 40 * 1024]), ..Default::default() };
        assert_eq!(check_size(&fits), Ok(()));
    }
}
