//! What is served as gRPC, and that every gRPC answer which says no brings a code of ours, also where no
//! method of the broker was asked: a peer that speaks HTTP/2 by hand, against the real binary.

use std::time::Duration;

use tonic::codegen::Bytes;
use tonic::codegen::http::{HeaderMap, Request};
use tonic_types::StatusExt as _;

use crate::stage::Stage;

/// The answer to one request: the HTTP status, and where it is one of gRPC its status and our code.
struct Answer {
    http: u16,
    headers: HeaderMap,
    grpc: Option<(tonic::Code, String)>,
}

/// Sends a request over HTTP/2. `None` as a body never ends.
async fn ask(
    stage: &Stage,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Answer {
    let address = stage.endpoint.trim_start_matches("http://");
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(format!("http://broker{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (answer, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
    if let Some(body) = body {
        // Where it was refused already there is nobody to send to.
        let _ = stream.send_data(Bytes::copy_from_slice(body), true);
    }
    let answer = tokio::time::timeout(Duration::from_secs(8), answer).await.unwrap().unwrap();
    let grpc = tonic::Status::from_header_map(answer.headers()).map(|status| {
        let info = status.get_details_error_info();
        let info = info.unwrap_or_else(|| panic!("{method} {path}: no ErrorInfo in {status:?}"));
        assert_eq!(info.domain, "sublet");
        (status.code(), info.reason)
    });
    Answer { http: answer.status().as_u16(), headers: answer.headers().clone(), grpc }
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const EMPTY: &[u8] = &[0, 0, 0, 0, 0];
const BUNDLE: &str = "/sublet.v1.Identity/GetTrustBundle";

// SPEC 8.4.2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_post_with_the_content_type_of_grpc_is_served_as_grpc() {
    let stage = Stage::set();
    for kind in ["application/grpc", "application/grpc+proto"] {
        let answer = ask(&stage, "POST", BUNDLE, &[("content-type", kind)], Some(EMPTY)).await;
        assert!(answer.http == 200 && answer.grpc.is_none(), "{kind}: {:?}", answer.grpc);
    }
    for path in [BUNDLE, "/sublet.v1.Admin/GetStatus", "/grpc.health.v1.Health/Check"] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = ask(&stage, method, path, &[GRPC], Some(EMPTY)).await;
            assert_eq!((answer.http, answer.grpc), (405, None), "{method} {path}");
            assert_eq!(answer.headers["allow"], "POST");
        }
        for kind in
            ["application/json", "application/grpc-web", "application/grpc+json", "text/plain"]
        {
            let answer = ask(&stage, "POST", path, &[("content-type", kind)], Some(EMPTY)).await;
            assert_eq!((answer.http, answer.grpc), (415, None), "{kind} {path}");
        }
        assert_eq!(ask(&stage, "POST", path, &[], Some(EMPTY)).await.http, 415);
    }
    assert_eq!(ask(&stage, "GET", "/nothing", &[], Some(b"")).await.http, 404);
    assert_eq!(ask(&stage, "GET", "/checkpoint", &[], Some(b"")).await.http, 401);
}

// SPEC 8.4.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_no_of_the_transport_has_a_code() {
    use tonic::Code;
    let stage = Stage::set();
    let unknown = (Code::Unimplemented, "unimplemented".to_owned());
    for path in
        ["/sublet.v1.Admin/Nothing", "/sublet.v1.Nothing/Call", "/other.Service/Call", "/grpc.x/y"]
    {
        let answer = ask(&stage, "POST", path, &[GRPC], Some(EMPTY)).await;
        assert_eq!(answer.grpc, Some(unknown.clone()), "{path}");
    }
    let bad = Some((Code::InvalidArgument, "bad_field".to_owned()));
    // A message of another form: a text where a number is expected. Refused by the library.
    let text = [0, 0, 0, 0, 3, 0x0a, 1, b'x'];
    let watch = ask(&stage, "POST", "/sublet.v1.Revocation/Watch", &[GRPC], Some(&text)).await;
    assert_eq!(watch.grpc, bad);
    let number = [0, 0, 0, 0, 2, 0x08, 1];
    let health = ask(&stage, "POST", "/grpc.health.v1.Health/Check", &[GRPC], Some(&number)).await;
    assert_eq!(health.grpc, bad);
    // No frame, half of one, one that says it is compressed, and a head that says so.
    for body in [&b""[..], &[0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 1]] {
        assert_eq!(ask(&stage, "POST", BUNDLE, &[GRPC], Some(body)).await.grpc, bad, "{body:?}");
    }
    let gzip = [GRPC, ("grpc-encoding", "gzip")];
    assert_eq!(ask(&stage, "POST", BUNDLE, &gzip, Some(EMPTY)).await.grpc, bad);
    // A service that the standard health service does not know.
    let name = [&[0, 0, 0, 0, 3, 0x0a, 1], &b"x"[..]].concat();
    let health = ask(&stage, "POST", "/grpc.health.v1.Health/Check", &[GRPC], Some(&name)).await;
    assert_eq!(health.grpc, Some((Code::NotFound, "not_found".to_owned())));
    // A caller that waits for less than its own message takes.
    let soon = [GRPC, ("grpc-timeout", "300m")];
    let late = ask(&stage, "POST", BUNDLE, &soon, None).await;
    assert_eq!(late.grpc, Some((Code::Unavailable, "deadline".to_owned())));
}
