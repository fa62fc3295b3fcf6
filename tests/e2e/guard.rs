//! The layer in front of a tool, in axum and in tonic: what is not allowed does not reach it, and what
//! reaches it is what was checked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::routing::post;
use axum::{Extension, Json, Router};
use prost::Message as _;
use serde_json::{Value, json};
use sublet_client::agent::delegation::Delegation;
use sublet_client::tool::guard::Meaning;
use sublet_client::{Allowed, Guard, Options, Tool};
use sublet_client::{Grant, Identity};
use sublet_core::evidence::call::Arguments;
use sublet_core::refusal::Malformed;
use sublet_proto::credentials;
use sublet_proto::demo::files_client::FilesClient;
use sublet_proto::demo::files_server::{Files, FilesServer};
use sublet_proto::demo::{
    ListRequest, ListResponse, ReadRequest, ReadResponse, WriteRequest, WriteResponse,
};
use tonic::{Request, Response, Status};
use tower::Layer as _;

use crate::stage::Stage;
use crate::walk::enroll;

const TOOL: &str = "tool://files";
const PATH: &str = r#"{"path":"/data/q3"}"#;

/// A tool that runs, and a token that it takes.
async fn tool(stage: &Stage) -> (Tool, Delegation) {
    enroll(stage, "planner");
    enroll(stage, "files");
    let tool = Identity::load(stage.path("files")).unwrap();
    let tool = Tool::start(TOOL, tool, Options::default()).unwrap();
    tool.ready(Duration::from_secs(10)).await.unwrap();
    let planner = Identity::load(stage.path("planner")).unwrap();
    let scope = ["fs.read@tool://files path=under:/data"];
    let grant = Grant::of("user:alice@dev.sublet.example", &scope, Duration::from_secs(300));
    (tool, planner.ask(&grant.unwrap()).await.unwrap())
}

fn post_to(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, String)],
    body: &str,
) -> (u16, Value) {
    request(address, "POST", path, headers, body)
}

fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&'static str, String)],
    body: &str,
) -> (u16, Value) {
    let mut socket = TcpStream::connect(address).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: tool\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarded_axum_service_sees_allowed_calls_and_no_others() {
    let stage = Stage::set();
    let (tool, held) = tool(&stage).await;
    let reached = Arc::new(AtomicUsize::new(0));
    let counted = reached.clone();
    let read = move |Extension(allowed): Extension<Allowed>, body: String| {
        counted.fetch_add(1, Ordering::Relaxed);
        let (who, whom) = (allowed.holder.to_string(), allowed.principal.to_string());
        std::future::ready(Json(json!({"by": who, "for": whom, "body": body})))
    };
    let app = Router::new().route("/fs/read", post(read)).layer(Guard::json(tool.checker()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let asked = tokio::task::spawn_blocking(move || {
        let shown = |action: &str, args: &str| {
            credentials::to_headers(&held.credentials_for(TOOL, action, args).unwrap())
        };
        let headers = shown("fs.read", PATH);
        // What the tool receives are the canonical bytes that were checked.
        let (status, answer) =
            post_to(address, "/fs/read", &headers, "{ \"path\" : \"/data/q3\" }");
        assert_eq!((status, answer["body"].as_str()), (200, Some(PATH)));
        assert_eq!(answer["by"], "spiffe://dev.sublet.example/agent/planner");
        assert_eq!(answer["for"], "user:alice@dev.sublet.example");
        let refused = |headers: &[(&'static str, String)], path: &str, body: &str| {
            let (status, answer) = post_to(address, path, headers, body);
            (status, answer["code"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(refused(&headers, "/fs/read", PATH), (401, "proof_replayed".into()));
        let other = r#"{"path":"/data/q4"}"#;
        assert_eq!(
            refused(&shown("fs.read", PATH), "/fs/read", other),
            (401, "wrong_arguments".into())
        );
        let outside = r#"{"path":"/etc/passwd"}"#;
        assert_eq!(
            refused(&shown("fs.read", outside), "/fs/read", outside),
            (403, "not_allowed".into())
        );
        assert_eq!(
            refused(&shown("fs.write", PATH), "/fs/write", PATH),
            (403, "not_allowed".into())
        );
        assert_eq!(refused(&[], "/fs/read", PATH), (401, "credentials_missing".into()));
        assert_eq!(
            refused(&[("sublet-proof", "%%".into())], "/fs/read", PATH),
            (400, "proof_malformed".into())
        );
        // What a caller shows has one form; a part that this tool does not know is refused by name.
        for part in ["sublet-receipt", "sublet-token-bin", "sublet-further", "sublet-budget"] {
            let mut more = shown("fs.read", PATH);
            more.push((part, "AAAA".into()));
            let (status, answer) = post_to(address, "/fs/read", &more, PATH);
            assert_eq!((status, answer["code"].as_str()), (400, Some("bad_part")));
            let detail = answer["message"].as_str().unwrap();
            assert!(detail.starts_with(&format!("{part}: ")), "{detail}");
        }
        let twice = r#"{"path":"/data/q3","path":"/etc"}"#;
        assert_eq!(refused(&shown("fs.read", PATH), "/fs/read", twice).0, 400);
        // A query, and another method, are under no proof.
        let asked = shown("fs.read", PATH);
        assert_eq!(refused(&asked, "/fs/read?path=/etc", PATH), (400, "bad_field".into()));
        let (status, answer) = request(address, "PUT", "/fs/read", &asked, PATH);
        assert_eq!((status, answer["code"].as_str()), (400, Some("bad_field")));
        let large = format!("{{\"path\":\"/data/{}\"}}", "x".repeat(1_100_000));
        assert_eq!(refused(&shown("fs.read", PATH), "/fs/read", &large), (400, "bad_field".into()));
    });
    asked.await.unwrap();
    assert_eq!(reached.load(Ordering::Relaxed), 1);
}

/// A tool with a catch-all route, as a framework has that reads paths in its own way: whatever is let
/// through reaches it.
// SPEC 4.8.2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_path_is_one_action_and_every_other_spelling_of_it_is_refused() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "files");
    let tool = Identity::load(stage.path("files")).unwrap();
    let tool = Tool::start(TOOL, tool, Options::default()).unwrap();
    tool.ready(Duration::from_secs(10)).await.unwrap();
    let planner = Identity::load(stage.path("planner")).unwrap();
    let scope = ["fs.@tool://files path=under:/data"];
    let grant = Grant::of("user:alice@dev.sublet.example", &scope, Duration::from_secs(300));
    let held = planner.ask(&grant.unwrap()).await.unwrap();
    let reached = Arc::new(AtomicUsize::new(0));
    let counted = reached.clone();
    let app = Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Json(json!({})))
    });
    let app = app.layer(Guard::json(tool.checker()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let asked = tokio::task::spawn_blocking(move || {
        let shown = |action: &str| {
            credentials::to_headers(&held.credentials_for(TOOL, action, PATH).unwrap())
        };
        let headers = shown("fs.read");
        // The proof is of fs.read; each path is one that some server takes for that, or for another.
        for path in
            ["/fs/read/", "//fs/read", "/fs//read", "/fs.read", "/fs/re%61d", "/fs/read;x=1"]
        {
            let (status, answer) = post_to(address, path, &headers, PATH);
            assert_eq!((status, answer["code"].as_str()), (400, Some("bad_field")), "{path}");
            assert!(answer["message"].as_str().unwrap().starts_with("path: "), "{answer}");
        }
        // Under the prefix fs., with a proof of the very action that the path was taken for.
        for (path, action) in [
            ("/fs/read/../../admin", "fs.read.......admin"),
            ("/fs/%2e%2e/x", "fs.%2e%2e.x"),
            ("/fs/..", "fs..."),
            ("/fs/.", "fs.."),
            ("/fs/", "fs"),
            ("/", ""),
        ] {
            let (status, answer) = post_to(address, path, &shown(action), PATH);
            assert_eq!((status, answer["code"].as_str()), (400, Some("bad_field")), "{path}");
        }
        for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
            let with = [&headers[..], &[(name, "DELETE".to_owned())]].concat();
            let (status, answer) = post_to(address, "/fs/read", &with, PATH);
            assert_eq!((status, answer["code"].as_str()), (400, Some("bad_field")), "{name}");
        }
        // None of them has spent the proof.
        assert_eq!(post_to(address, "/fs/read", &headers, PATH).0, 200);
    });
    asked.await.unwrap();
    assert_eq!(reached.load(Ordering::Relaxed), 1);
}

/// Whoever writes the meaning of a request may get an action wrong; the decision refuses it all the same.
// SPEC 4.8.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_names_no_one_action_is_refused_by_the_decision() {
    let stage = Stage::set();
    let (tool, _) = tool(&stage).await;
    let planner = Identity::load(stage.path("planner")).unwrap();
    let scope = ["fs.@tool://files path=under:/data"];
    let grant = Grant::of("user:alice@dev.sublet.example", &scope, Duration::from_secs(300));
    let held = planner.ask(&grant.unwrap()).await.unwrap();
    let checker = tool.checker();
    let said = |action: &str| {
        let arguments = Arguments::from_json(PATH.as_bytes()).unwrap();
        let shown = held.credentials_for(TOOL, action, PATH).unwrap();
        match checker.check(&shown, &checker.call(action, arguments)) {
            Ok(_) => "granted".to_owned(),
            Err(refusal) => refusal.code().to_owned(),
        }
    };
    assert_eq!(said("fs.read"), "granted");
    for action in ["fs.", "fs.read.", "fs..read", "fs.../../admin", "fs.%2e%2e.x", "fs.re ad"] {
        assert_eq!(said(action), "call_not_exact", "{action}");
    }
}

struct Reader(Arc<AtomicUsize>);

#[tonic::async_trait]
impl Files for Reader {
    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadResponse>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let allowed = request.extensions().get::<Allowed>().unwrap().clone();
        let content = format!("{} for {}", allowed.holder, allowed.principal).into_bytes();
        Ok(Response::new(ReadResponse { content }))
    }

    async fn write(&self, _: Request<WriteRequest>) -> Result<Response<WriteResponse>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(Status::unimplemented("it reads"))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(Status::unimplemented("it reads"))
    }
}

fn reads(method: &str, message: &[u8]) -> Result<Meaning, Malformed> {
    let unknown = |detail: String| Malformed::Field { field: "method", detail };
    match method {
        "/sublet.demo.v1.Files/Read" => {
            let read = ReadRequest::decode(message).map_err(|bad| unknown(bad.to_string()))?;
            let path = sublet_core::base::json::Json::Str(read.path);
            Meaning::message("fs.read", message, vec![("path", path)])
        }
        other => Err(unknown(format!("{other} is no method of this tool"))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarded_tonic_service_sees_allowed_calls_and_no_others() {
    let stage = Stage::set();
    let (tool, held) = tool(&stage).await;
    let reached = Arc::new(AtomicUsize::new(0));
    let service =
        Guard::grpc(tool.checker(), reads).layer(FilesServer::new(Reader(reached.clone())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    let mut client = FilesClient::connect(address).await.unwrap();
    let read = |path: &str| ReadRequest { path: path.into() };
    let shown = held.request(TOOL, "fs.read", read("/data/q3")).unwrap();
    let answer = client.read(shown).await.unwrap().into_inner().content;
    assert_eq!(
        String::from_utf8(answer).unwrap(),
        "spiffe://dev.sublet.example/agent/planner for user:alice@dev.sublet.example"
    );
    let code = |status: Status| sublet_client::Error::from_status(&status).code().to_owned();
    let outside = held.request(TOOL, "fs.read", read("/etc/passwd")).unwrap();
    assert_eq!(code(client.read(outside).await.unwrap_err()), "not_allowed");
    let mut swapped = held.request(TOOL, "fs.read", read("/data/q3")).unwrap();
    swapped.get_mut().path = "/data/q4".into();
    assert_eq!(code(client.read(swapped).await.unwrap_err()), "wrong_arguments");
    let bare = client.read(Request::new(read("/data/q3"))).await.unwrap_err();
    assert_eq!(code(bare), "credentials_missing");
    // A method whose meaning nobody said is refused, and not let through.
    let list = held.request(TOOL, "fs.list", ListRequest { path: "/data".into() }).unwrap();
    assert_eq!(code(client.list(list).await.unwrap_err()), "bad_field");
    assert_eq!(reached.load(Ordering::Relaxed), 1);
}
