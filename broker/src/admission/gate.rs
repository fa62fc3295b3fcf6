//! The gate in front of every request of the broker.
//!
//! Owns: letting each request in or refusing it, and how long it holds what it was given. Does not own:
//! the order of letting in (`enter`), the operation (`service`).
//!
//! Invariants: bytes and turn are given back when the answer begins. The connection's count and the
//! call's place are given back when the answer ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sublet_core::refusal::Refusal;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, StatusCode};

use super::Admission;
use super::body::Answered;
use super::bounds::UNPROVEN_ANSWER_DEADLINE;
use super::enter::{Entrance, LetIn};
use super::route::{Content, Proof, Route};
use super::timed::in_turn;
use crate::broker::Broker;
use crate::request::respond;
use crate::transport::listen::Via;
use crate::transport::oauth;

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
    S::Error: Send,
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
            let GateLayer { broker, admission } = &layer;
            let route = Route::of(&parts.method, parts.uri.path(), broker.config.dev);
            let entrance = Entrance { broker, admission, via: &via, route };
            let (answer, call) = match entrance.let_in(parts, content).await {
                Ok(LetIn { request, turn, ticket, held, call }) => {
                    let answer = in_turn(turn, inner.call(request)).await?;
                    drop((ticket, held));
                    (answer, call)
                }
                Err(refused) => (refusal(&refused, route.proof, route.content), None),
            };
            let until = call.as_ref().filter(|_| !route.lasts);
            let until = until.map(|_| Box::pin(tokio::time::sleep(UNPROVEN_ANSWER_DEADLINE)));
            Ok(answer.map(|inner| {
                Body::new(Answered { inner, until, _in_flight: in_flight, _call: call })
            }))
        })
    }
}

/// Returns the refusal in the form of the protocol: gRPC, OAuth or HTTP.
fn refusal(refusal: &Refusal, proof: Proof, content: Content) -> Response<Body> {
    match (proof, content) {
        (Proof::Headers, _) | (_, Content::Form) => oauth::refusal(refusal).map(Body::new),
        (_, Content::Nothing) => {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
        }
        _ => respond::status(refusal).into_http(),
    }
}
