//! What is served as gRPC, and the answers of the transport itself, each with a stable code.
//!
//! Owns: telling gRPC from HTTP, the deadline of a call, and the refusals that no service makes. Does
//! not own: who is let in (`admission`), the text of a refusal (`respond`).
//!
//! Invariants: only a POST with gRPC's content type, in protobuf and not compressed, reaches a service.
//! Every gRPC refusal carries `google.rpc.ErrorInfo`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sublet_core::refusal::Refusal;
use sublet_proto::convert::field;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::observe::calls;
use crate::request::respond;

/// How long a call may take until its answer begins.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// How much earlier than the caller's own deadline a call is ended. The broker then answers with a code;
/// the library would end the call without one.
const A_MOMENT: Duration = Duration::from_millis(5);

/// Methods of standard services that are served here.
const OTHERS: [&str; 3] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// The kind of a request, by path and content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// A gRPC method that exists.
    Method,
    /// A gRPC method that does not exist.
    NoMethod,
    /// A request over HTTP.
    Http,
}

impl Asked {
    fn of(path: &str, headers: &HeaderMap) -> Self {
        let ours = path.starts_with("/sublet.v1.");
        match (ours && calls::known(path).is_some()) || OTHERS.contains(&path) {
            true => Asked::Method,
            false if ours || path.starts_with("/grpc.") => Asked::NoMethod,
            // No HTTP path here takes a gRPC message.
            false if is_grpc(headers) => Asked::NoMethod,
            false => Asked::Http,
        }
    }
}

/// Returns whether the content type is that of gRPC with protobuf messages.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kind.is_some_and(|kind| {
        ["application/grpc", "application/grpc+proto"]
            .iter()
            .any(|one| kind.eq_ignore_ascii_case(one))
    })
}

/// Returns the refusal of a request by its headers alone; `None` if it goes on.
fn refused(method: &Method, asked: Asked, headers: &HeaderMap) -> Option<Response<Body>> {
    if asked == Asked::Http {
        return None;
    }
    if method != Method::POST {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "gRPC is served to POST\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Some(answer);
    }
    if !is_grpc(headers) {
        let detail = "gRPC is served to the content type application/grpc\n";
        return Some(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    if asked == Asked::NoMethod {
        return Some(respond::no_such_method().into_http());
    }
    let encoding = headers.get("grpc-encoding").map(HeaderValue::as_bytes);
    let compressed = encoding.is_some_and(|encoding| encoding != b"identity");
    compressed.then(|| {
        let refusal: Refusal =
            field("grpc-encoding", "messages are not compressed".to_owned()).into();
        respond::status(&refusal).into_http()
    })
}

fn plain(status: StatusCode, detail: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::new(detail.to_owned()));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// Returns how long a call may take: the caller's own time (`grpc-timeout`), or the broker's bound if
/// that is shorter.
fn deadline(headers: &HeaderMap) -> Duration {
    let asked = headers.get("grpc-timeout").and_then(|value| value.to_str().ok());
    let asked = asked.and_then(timeout).map(|asked| asked.saturating_sub(A_MOMENT));
    asked.map_or(CALL_DEADLINE, |asked| asked.min(CALL_DEADLINE))
}

/// Reads a timeout: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). `None` if it is not valid.
fn timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let fine = (1..=8).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| fine)?;
    match unit {
        "H" => Some(Duration::from_secs(number.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(number.saturating_mul(60))),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Returns the answer of a service or of the gRPC library. A refusal without a code gets one.
fn coded(answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers();
    let refuses = headers.get("grpc-status").is_some_and(|status| status != "0");
    if !refuses || headers.contains_key("grpc-status-details-bin") {
        return answer;
    }
    match respond::of_answer(headers) {
        Some(status) => respond::of_the_library(&status).into_http(),
        None => answer,
    }
}

/// Puts this in front of a service.
#[derive(Clone)]
pub(crate) struct TransportLayer;

impl<S> tower::Layer<S> for TransportLayer {
    type Service = Transport<S>;

    fn layer(&self, inner: S) -> Transport<S> {
        Transport { inner }
    }
}

/// The service that [`TransportLayer`] makes.
#[derive(Clone)]
pub(crate) struct Transport<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Transport<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = Asked::of(request.uri().path(), request.headers());
        if let Some(answer) = refused(request.method(), asked, request.headers()) {
            return Box::pin(async move { Ok(answer) });
        }
        let until = deadline(request.headers());
        let answer = tokio::time::timeout(until, self.inner.call(request));
        Box::pin(async move {
            match (answer.await, asked) {
                (Ok(answer), Asked::Http) => answer,
                (Ok(answer), _) => answer.map(coded),
                (Err(_), Asked::Http) => {
                    Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n"))
                }
                (Err(_), _) => Ok(respond::late().into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (tonic::codegen::http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn grpc_is_a_post_of_protobuf_to_a_method_that_there_is() {
        let issue = "/sublet.v1.Delegation/Issue";
        let status = |method: &Method, path: &str, pairs: &[(&'static str, &'static str)]| {
            let headers = headers(pairs);
            let refused = refused(method, Asked::of(path, &headers), &headers);
            refused.map(|answer| {
                let code = tonic::Status::from_header_map(answer.headers()).map(|s| s.code());
                (answer.status().as_u16(), code)
            })
        };
        let (get, post) = (Method::GET, Method::POST);
        let grpc = ("content-type", "application/grpc");
        assert_eq!(status(&post, issue, &[grpc]), None);
        assert_eq!(status(&post, issue, &[("content-type", "application/grpc+proto")]), None);
        assert_eq!(status(&post, issue, &[grpc, ("grpc-encoding", "identity")]), None);
        assert_eq!(status(&get, issue, &[grpc]), Some((405, None)));
        for kind in ["application/grpc+json", "application/grpc-web", "application/json", ""] {
            assert_eq!(
                status(&post, issue, &[("content-type", kind)]),
                Some((415, None)),
                "{kind}"
            );
        }
        assert_eq!(status(&post, issue, &[]), Some((415, None)));
        let compressed = status(&post, issue, &[grpc, ("grpc-encoding", "gzip")]);
        assert_eq!(compressed, Some((200, Some(Code::InvalidArgument))));
        for path in
            ["/sublet.v1.Admin/Nothing", "/grpc.health.v1.Health/List", "/other.Service/Call"]
        {
            let none = status(&post, path, &[grpc]);
            assert_eq!(none, Some((200, Some(Code::Unimplemented))), "{path}");
        }
        assert_eq!(status(&get, "/checkpoint", &[]), None);
        assert_eq!(status(&post, "/token", &[("content-type", "text/plain")]), None);
    }

    #[test]
    fn a_caller_says_how_long_it_waits_and_no_longer_than_the_bound() {
        let of = |text: &'static str| deadline(&headers(&[("grpc-timeout", text)]));
        assert_eq!(of("2S"), Duration::from_millis(1_995));
        assert_eq!(
            (of("1M"), of("99999999H"), of("900000000m")),
            (CALL_DEADLINE, CALL_DEADLINE, CALL_DEADLINE)
        );
        assert_eq!(
            (of("1m"), of("0n"), of("5000u")),
            (Duration::ZERO, Duration::ZERO, Duration::ZERO)
        );
        for bad in ["", "S", "1", "-1S", "1s", "x1S"] {
            assert_eq!(of(bad), CALL_DEADLINE, "{bad}");
        }
    }

    #[test]
    fn what_the_library_says_without_a_code_gets_one() {
        let coded = |status: tonic::Status| {
            let answer = coded(status.into_http());
            let status = tonic::Status::from_header_map(answer.headers()).unwrap();
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.domain, "sublet");
            (status.code(), info.reason)
        };
        let internal = tonic::Status::internal("failed to decode Protobuf message");
        assert_eq!(coded(internal), (Code::InvalidArgument, "bad_field".into()));
        let none = tonic::Status::not_found("service not registered");
        assert_eq!(coded(none), (Code::NotFound, "not_found".into()));
        assert_eq!(
            coded(tonic::Status::unimplemented("")),
            (Code::Unimplemented, "unimplemented".into())
        );
        assert_eq!(coded(tonic::Status::cancelled("")), (Code::Unavailable, "deadline".into()));
        assert_eq!(coded(tonic::Status::out_of_range("")), (Code::OutOfRange, "transport".into()));
        // A refusal that has a code keeps it.
        assert_eq!(coded(respond::late()), (Code::Unavailable, "deadline".into()));
    }
}
