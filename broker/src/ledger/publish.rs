//! The ledger over HTTP, with the paths of C2SP tlog-tiles: `/checkpoint`, `/tile/…`. SPEC 9.7.
//!
//! Owns: paths, caching, who may read (a caller with the bearer token of `ledger.bearer`). Does not own:
//! the bytes (`store::Published`).
//!
//! Invariants: only what a signed checkpoint covers is served. Without the token nothing is served, and
//! the answer does not tell whether the path exists. Payloads are never served.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sublet_core::base::bytes::sha256;
use sublet_ledger::tile::{Resource, WIDTH};

use crate::broker::Broker;
use crate::request::authenticate;
use crate::transport::listen::Via;

/// The caching of a full tile or bundle, which never changes.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

/// The caching of the checkpoint and of partial tiles, which change.
const NOT_AT_ALL: &str = "no-store";

/// Returns the routes of the ledger.
pub(crate) fn routes(broker: Arc<Broker>) -> Router {
    Router::new()
        .route("/checkpoint", get(serve))
        .route("/tile/{*rest}", get(serve))
        .with_state(broker)
}

async fn serve(State(broker): State<Arc<Broker>>, request: Request) -> Response {
    let via = request.extensions().get::<Via>().cloned().unwrap_or_default();
    if let Err(refusal) = authenticate::certificate(&broker, &via) {
        return (StatusCode::UNAUTHORIZED, format!("{refusal}\n")).into_response();
    }
    if !may_read(request.headers(), &broker.keys.ring.ledger_bearer) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "a bearer token is needed\n").into_response();
    }
    via.reads_the_ledger();
    let path = request.uri().path().trim_start_matches('/');
    let Some(resource) = Resource::from_path(path) else { return nothing() };
    let read = tokio::task::spawn_blocking(move || {
        let reader = broker.log.store.reader();
        broker.log.store.published()?.content(resource, reader.as_ref())
    });
    match read.await {
        Ok(Ok(Some(bytes))) => found(resource, bytes),
        Ok(Ok(None)) => nothing(),
        Ok(Err(fault)) => {
            tracing::error!(%fault, "the ledger cannot be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Returns whether the request has the bearer token. Hashes are compared, so the time taken reveals
/// nothing of the token.
pub(crate) fn may_read(headers: &HeaderMap, bearer_hash: &[u8; 32]) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|value| value.strip_prefix("Bearer "));
    token.is_some_and(|token| sha256(token.as_bytes()) == *bearer_hash)
}

fn found(resource: Resource, bytes: Vec<u8>) -> Response {
    let (kind, cache) = match resource {
        Resource::Checkpoint => ("text/plain; charset=utf-8", NOT_AT_ALL),
        Resource::Tile { width: WIDTH, .. } | Resource::Entries { width: WIDTH, .. } => {
            ("application/octet-stream", FOR_EVER)
        }
        Resource::Tile { .. } | Resource::Entries { .. } => {
            ("application/octet-stream", NOT_AT_ALL)
        }
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], bytes).into_response()
}

/// The answer for a path that does not exist. gRPC paths were answered before (`transport`).
pub(crate) async fn unknown() -> StatusCode {
    StatusCode::NOT_FOUND
}

fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "not in this log\n").into_response()
}
