//! A tower layer in front of a tool, for axum, tonic or any other service. A call that is refused
//! never reaches the service behind it. SPEC sections 4 to 7; docs/FORMATS, "On the wire".
//!
//! Owns: reading credentials from headers or metadata, reading the body within a limit, asking the
//! checker, passing [`Allowed`] on, and refusing in the form of the transport. Does not own: the
//! decision (`checker`), what a request means (the tool says it).
//!
//! Invariants: the service behind the layer receives exactly the bytes that were checked; a request
//! whose meaning the tool does not know is refused; each body is decided once; for a JSON tool each
//! path is one action.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::json;
use sublet_core::authorize::Permit;
use sublet_core::base::bytes::sha256;
use sublet_core::base::json::Json;
use sublet_core::base::limits;
use sublet_core::evidence::call::Arguments;
use sublet_core::refusal::{Malformed, Refusal};
use sublet_proto::credentials;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

use crate::error;
use crate::tool::checker::Checker;

/// The permit of the call: who makes it, on whose behalf, by which hop. A [`Guard`] puts it into
/// the extensions of each request that it lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed(pub Arc<Permit>);

impl std::ops::Deref for Allowed {
    type Target = Permit;

    fn deref(&self) -> &Permit {
        &self.0
    }
}

/// The meaning of a request: its action and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    action: String,
    arguments: Arguments,
    /// The body that the tool receives instead of the request's; `None` passes the request's body
    /// on.
    body: Option<Bytes>,
}

impl Meaning {
    /// Returns a call whose arguments are a JSON object. The tool receives the canonical (RFC 8785)
    /// bytes of the object, which the proof covers.
    pub fn json(action: impl Into<String>, object: &[u8]) -> Result<Self, Malformed> {
        let arguments = Arguments::from_json(object)?;
        let body = Some(Bytes::from(arguments.evidence()));
        Ok(Meaning { action: action.into(), arguments, body })
    }

    /// Returns a call whose arguments are a message. The proof covers the message's bytes; `fields`
    /// holds what the tool read from it, by name.
    pub fn message(
        action: impl Into<String>,
        message: &[u8],
        fields: Vec<(&str, Json)>,
    ) -> Result<Self, Malformed> {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let fields =
            Json::object(fields).map_err(sublet_core::evidence::call::BadArguments::from)?;
        let arguments = Arguments::from_digest(sha256(message), &fields)?;
        Ok(Meaning { action: action.into(), arguments, body: None })
    }
}

type Reads = dyn Fn(&Parts, &[u8]) -> Result<Meaning, Malformed> + Send + Sync;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Http,
    Grpc,
}

/// The layer. It calls its [`Checker`] for every request.
///
/// ```no_run
/// use std::sync::Arc;
/// use axum::{Router, extract::Extension, routing::post};
/// use sublet_client::{Allowed, Checker, Guard};
///
/// async fn read(Extension(allowed): Extension<Allowed>) -> String {
///     format!("{} reads for {}", allowed.holder, allowed.principal)
/// }
///
/// fn router(checker: Arc<Checker>) -> Router {
///     // POST /fs/read is the action fs.read; its JSON body holds the arguments.
///     Router::new().route("/fs/read", post(read)).layer(Guard::json(checker))
/// }
/// ```
#[derive(Clone)]
pub struct Guard {
    checker: Arc<Checker>,
    reads: Arc<Reads>,
    transport: Transport,
}

impl Guard {
    /// Returns a guard for HTTP where each path is one action and the JSON body holds the
    /// arguments: `POST /fs/read` is `fs.read`. A path must be `/segment/segment…` with segments of
    /// `A-Z a-z 0-9 _ -`. Everything that the proof does not cover is refused: another method, a
    /// query, a header that asks for another method.
    pub fn json(checker: Arc<Checker>) -> Self {
        Guard::http(checker, |parts, body| {
            if parts.method != http::Method::POST || parts.uri.query().is_some() {
                let detail =
                    "POST without a query is expected: arguments are in the body".to_owned();
                return Err(Malformed::Field { field: "request", detail });
            }
            if let Some(name) =
                METHOD_OVERRIDES.iter().find(|name| parts.headers.contains_key(**name))
            {
                let detail =
                    format!("{name} asks for another method, which no proof is for: leave it out");
                return Err(Malformed::Field { field: "request", detail });
            }
            Meaning::json(action(parts.uri.path())?, body)
        })
    }

    /// Returns a guard for HTTP where the tool reads the meaning from head and body. The proof
    /// covers only the audience, the action and the arguments that `reads` returns, so it must
    /// return everything of the head that the tool acts on.
    pub fn http(
        checker: Arc<Checker>,
        reads: impl Fn(&Parts, &[u8]) -> Result<Meaning, Malformed> + Send + Sync + 'static,
    ) -> Self {
        Guard { checker, reads: Arc::new(reads), transport: Transport::Http }
    }

    /// Returns a guard for unary gRPC where the tool reads the meaning from the full method path
    /// and the message's bytes.
    pub fn grpc(
        checker: Arc<Checker>,
        reads: impl Fn(&str, &[u8]) -> Result<Meaning, Malformed> + Send + Sync + 'static,
    ) -> Self {
        let reads = move |parts: &Parts, message: &[u8]| reads(parts.uri.path(), message);
        Guard { checker, reads: Arc::new(reads), transport: Transport::Grpc }
    }

    fn check(&self, parts: &Parts, body: &[u8]) -> Result<(Allowed, Option<Bytes>), Refusal> {
        let (credentials, asked) = match self.transport {
            Transport::Http => (credentials::from_headers(&parts.headers)?, body),
            Transport::Grpc => {
                let metadata = MetadataMap::from_headers(parts.headers.clone());
                (credentials::from_metadata(&metadata)?, message(body)?)
            }
        };
        let Meaning { action, arguments, body } = (self.reads)(parts, asked)?;
        let permit = self.checker.check(&credentials, &self.checker.call(action, arguments))?;
        Ok((Allowed(Arc::new(permit)), body))
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        if self.transport == Transport::Grpc {
            return error::status(refusal).into_http();
        }
        let status = match refusal {
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Refusal::Deny(_) => StatusCode::FORBIDDEN,
            Refusal::Overload(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Fault(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        // The detail of a fault is internal and is not sent to the caller.
        let detail = error::status(refusal).message().to_owned();
        let text = json!({"code": refusal.code(), "message": detail}).to_string();
        let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// Headers that make frameworks treat a POST as another method.
const METHOD_OVERRIDES: [&str; 3] =
    ["x-http-method-override", "x-http-method", "x-method-override"];

/// Returns the action of a path: `/fs/read` is `fs.read`. Every other form of path is refused, so
/// no two paths are one action.
fn action(path: &str) -> Result<String, Malformed> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let segment = |s: &str| !s.is_empty() && s.bytes().all(plain);
    match path.strip_prefix('/') {
        Some(segments) if segments.split('/').all(segment) => Ok(segments.replace('/', ".")),
        _ => {
            let detail = "/fs/read is expected for the action fs.read: segments of letters, digits, _ and -, \
                        and no slash at the end";
            Err(Malformed::Field { field: "path", detail: detail.to_owned() })
        }
    }
}

/// Returns the message inside gRPC's frame: one byte of flags (0: not compressed) and a length of
/// four bytes.
fn message(body: &[u8]) -> Result<&[u8], Malformed> {
    match body.split_first_chunk::<5>() {
        Some(([0, a, b, c, d], message))
            if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() =>
        {
            Ok(message)
        }
        _ => {
            let detail = "one uncompressed message is needed".to_owned();
            Err(Malformed::Field { field: "message", detail })
        }
    }
}

impl<S> tower::Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.clone() }
    }
}

/// The service that [`Guard`] makes.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, R> tower::Service<Request<B>> for Guarded<S>
where
    S: tower::Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (ready, guard) = (self.inner.clone(), self.guard.clone());
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            // gRPC's frame adds five bytes.
            let whole = Limited::new(body, limits::CALL_BYTES_MAX + 5).collect().await;
            let Ok(whole) = whole else {
                let detail = format!(
                    "larger than {} bytes, or it did not arrive whole",
                    limits::CALL_BYTES_MAX
                );
                return Ok(guard.refuse(&Malformed::Field { field: "body", detail }.into()));
            };
            let body = whole.to_bytes();
            let (allowed, checked) = match guard.check(&parts, &body) {
                Ok(allowed) => allowed,
                Err(refusal) => return Ok(guard.refuse(&refusal)),
            };
            parts.extensions.insert(allowed);
            let body = checked.unwrap_or(body);
            if parts.headers.contains_key(header::CONTENT_LENGTH) {
                parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            let answer = inner.call(Request::from_parts(parts, Full::new(body))).await?;
            Ok(answer.map(Body::new))
        })
    }
}
