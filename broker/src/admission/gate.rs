//! Letting requests in: credentials first, then the body, within what is left to the caller.
//!
//! Owns: the order, for every request of the broker. Does not own: what a credential is worth
//! (`authenticate`), how much is left (`budget`, `pool`), what is asked (`service`).
//!
//! Invariants: a call that needs a proof has its body read only when its headers hold one; what is
//! refused here was not read; whatever is held for a request is given back when its answer begins, and
//! its connection and call when the answer ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::Full;
use sublet_core::bytes::sha256;
use sublet_core::no::{No, Overload};
use sublet_proto::PROOF_METADATA;
use sublet_proto::credentials::Credentials;
use sublet_proto::digest::MessageDigest;
use tonic::body::Body;
use tonic::codegen::http::request::Parts;
use tonic::codegen::http::{HeaderMap, Request, Response, StatusCode};
use tonic::codegen::{Bytes, Service};
use tonic::metadata::MetadataMap;

use super::Admission;
use super::account::Account;
use super::body::{self, Answered, Bounded, NotTaken};
use super::bounds::{REQUEST_BYTES, UNPROVEN_ANSWER_DEADLINE};
use super::budget::Held;
use super::notices::Bound;
use super::pool::{Full as Of, Taken};
use super::route::{Content, Proof, Route};
use crate::authenticate::{self, Introduced};
use crate::broker::Broker;
use crate::listen::Via;
use crate::{oauth, publish, respond};

/// Puts the gate in front of a service.
#[derive(Clone)]
pub(crate) struct GateLayer {
    broker: Arc<Broker>,
    admission: Arc<Admission>,
}

impl GateLayer {
    pub(crate) fn new(broker: Arc<Broker>, admission: Arc<Admission>) -> Self {
        GateLayer { broker, admission }
    }
}

impl<S> tower::Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, layer: self.clone() }
    }
}

/// The service that [`GateLayer`] makes.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    inner: S,
    layer: GateLayer,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let layer = self.layer.clone();
        Box::pin(async move {
            let via = request.extensions().get::<Via>().cloned().unwrap_or_default();
            let in_flight = via.link().map(|link| link.begin());
            let (parts, content) = request.into_parts();
            let route = Route::of(&parts.method, parts.uri.path(), layer.broker.config.dev);
            let (let_in, proof) = (layer.let_in(parts, content, &via, route).await, route.proof);
            let (answer, call) = match let_in {
                Ok((request, held, call)) => {
                    let answer = inner.call(request).await?;
                    drop(held);
                    (answer, call)
                }
                Err(no) => (refusal(&no, proof, route.content), None),
            };
            let until = call.as_ref().filter(|_| !route.lasts);
            let until = until.map(|_| Box::pin(tokio::time::sleep(UNPROVEN_ANSWER_DEADLINE)));
            Ok(answer.map(|inner| {
                Body::new(Answered { inner, until, _in_flight: in_flight, _call: call })
            }))
        })
    }
}

/// A request that was let in, its bytes, and its place among the calls of strangers.
type LetIn = (Request<Body>, Held, Option<Taken>);

impl GateLayer {
    async fn let_in(
        &self,
        mut parts: Parts,
        content: Body,
        via: &Via,
        route: Route,
    ) -> Result<LetIn, No> {
        let introduced = self.introduced(&mut parts, via, route.proof)?;
        let connection = via.link().map(|link| link.bytes());
        let budget = &self.admission.bytes;
        let (mut held, call) = match &introduced {
            Some(introduced) => {
                let account = Account::of(introduced.caller());
                (budget.proven(connection, account, route.must_have_room), None)
            }
            None if route.content == Content::Nothing && self.reads_the_ledger(&parts.headers) => {
                (budget.proven(connection, Some(Account::Ledger), false), None)
            }
            None => {
                let address = via.network().map(Account::Network);
                let call = self.stranger(address.clone(), via, route)?;
                (budget.unproven(connection, address, route.must_have_room), Some(call))
            }
        };
        if let Some(introduced) = introduced {
            parts.extensions.insert(introduced);
        }
        let full = |full| self.no_room(full, via);
        held.grow(header_bytes(&parts.headers)).map_err(|no| full(no.into()))?;
        let bytes = match route.content {
            Content::Nothing => return Ok((Request::from_parts(parts, Body::empty()), held, call)),
            Content::Messages => {
                held.grow(route.bytes_max).map_err(|no| full(no.into()))?;
                let bounded = Body::new(Bounded::new(content, route.bytes_max));
                return Ok((Request::from_parts(parts, bounded), held, call));
            }
            Content::Form => body::form(content, route.bytes_max, &mut held).await,
            Content::Message => body::message(content, route.bytes_max, &mut held).await,
        };
        let bytes: Bytes = bytes.map_err(full)?;
        if route.content == Content::Message {
            let message = bytes.get(body::FRAME_BYTES..).unwrap_or_default();
            parts.extensions.insert(MessageDigest(sha256(message)));
        }
        Ok((Request::from_parts(parts, Body::new(Full::new(bytes))), held, call))
    }

    /// Who is shown by the headers alone; `None` where nobody has to be.
    fn introduced(
        &self,
        parts: &mut Parts,
        via: &Via,
        proof: Proof,
    ) -> Result<Option<Arc<Introduced>>, No> {
        let path = parts.uri.path().to_owned();
        let credentials = match proof {
            Proof::None => return Ok(None),
            Proof::IfShown if !parts.headers.contains_key(PROOF_METADATA) => return Ok(None),
            Proof::Headers => Credentials::from_headers(&parts.headers),
            Proof::Metadata | Proof::IfShown => {
                let metadata = MetadataMap::from_headers(std::mem::take(&mut parts.headers));
                let credentials = Credentials::from_metadata(&metadata);
                parts.headers = metadata.into_headers();
                credentials
            }
        };
        let introduced = authenticate::introduce(&self.broker, credentials, via, &path)?;
        Ok(Some(Arc::new(introduced)))
    }

    /// Whether the bearer token of the ledger is shown, which makes a caller without a call proof.
    fn reads_the_ledger(&self, headers: &HeaderMap) -> bool {
        publish::may_read(headers, &self.broker.keys.ledger_bearer)
    }

    /// A place among the calls of those who have not proven themselves.
    fn stranger(&self, address: Option<Account>, via: &Via, route: Route) -> Result<Taken, No> {
        let pool = match route.must_have_room {
            true => &self.admission.reserved_calls,
            false => &self.admission.unproven_calls,
        };
        let mut call = pool.open(address);
        // On loopback alone: its watchers have a bound of their own.
        let units = usize::from(!(self.broker.config.dev && route.lasts));
        let Err(full) = call.grow(units) else { return Ok(call) };
        let (bound, whose) = match full {
            Of::Each => (Bound::AddressCalls, "this address"),
            Of::All => (Bound::UnprovenCalls, "all addresses"),
        };
        self.admission.notices.met(bound, &via.peer(), pool.used());
        Err(Overload::Calls(whose).into())
    }

    fn no_room(&self, not: NotTaken, via: &Via) -> No {
        match not {
            NotTaken::No(no) => no,
            NotTaken::NoRoom(full) => {
                self.admission.notices.met(full.0, &via.peer(), self.admission.bytes());
                Overload::from(full).into()
            }
        }
    }
}

/// What headers cost while they are held.
fn header_bytes(headers: &HeaderMap) -> usize {
    let each = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    each.fold(REQUEST_BYTES, usize::saturating_add)
}

/// In the words of whoever asked: gRPC, OAuth, or HTTP.
fn refusal(no: &No, proof: Proof, content: Content) -> Response<Body> {
    match (proof, content) {
        (Proof::Headers, _) | (_, Content::Form) => oauth::refusal(no).map(Body::new),
        (_, Content::Nothing) => {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
        }
        _ => respond::status(no).into_http(),
    }
}
