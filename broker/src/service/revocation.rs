//! The gRPC service `sublet.v1.Revocation`.

use std::sync::Arc;

use sublet_core::decide::caller::{Authenticated, Caller};
use sublet_core::decide::{EndSessions, Ending, Operation, RestorePrincipal, Revoke, WatchFeed};
use sublet_core::refusal::{Malformed, Refusal};
use sublet_core::revocation::feed::FeedPosition;
use sublet_core::state::rows::session::{LoggedOut, SessionId};
use sublet_proto::PROOF_METADATA;
use sublet_proto::convert::{field, fixed, target};
use sublet_proto::v1;
use sublet_proto::v1::end_sessions_request::Which;
use sublet_proto::v1::revocation_server::Revocation;
use sublet_proto::v1::watch_event::Event;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::admission::Account;
use crate::broker::Broker;
use crate::request::authenticate;
use crate::request::pipeline::{self, Asked};
use crate::request::respond::{self, Answer};
use crate::revocation::places::Places;

/// The events that wait for one watcher. If a watcher reads too slowly, its stream waits and its
/// revocation view becomes stale, as it must.
const EVENTS_MAX: usize = 64;

/// The service.
pub(crate) struct RevocationService {
    broker: Arc<Broker>,
    places: Arc<Places>,
}

impl RevocationService {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        RevocationService { broker, places: Arc::default() }
    }
}

#[tonic::async_trait]
impl Revocation for RevocationService {
    type WatchStream = ReceiverStream<Result<v1::WatchEvent, Status>>;

    async fn revoke(&self, request: Request<v1::RevokeRequest>) -> Answer<v1::RevokeResponse> {
        let broker = &self.broker;
        let recorded = super::write(broker, request, |message| {
            let chain = match message.token.as_slice() {
                [] => None,
                bytes => Some(authenticate::chain(broker, bytes)?),
            };
            Ok(Revoke {
                target: target(message.target)?,
                reason: super::reason(message.reason)?,
                chain,
            })
        });
        respond::answer(recorded.await, |recorded, found| {
            let (epoch, sequence) = (broker.log.store.epoch(), found.basis.revocation_sequence);
            Ok(v1::RevokeResponse { epoch, sequence, recorded })
        })
    }

    async fn restore_principal(
        &self,
        request: Request<v1::RestorePrincipalRequest>,
    ) -> Answer<v1::RestorePrincipalResponse> {
        let broker = &self.broker;
        let recorded = super::write(broker, request, |message| {
            Ok(RestorePrincipal {
                principal: message.principal.parse().map_err(Malformed::from)?,
                reason: super::reason(message.reason)?,
            })
        });
        respond::answer(recorded.await, |restored, found| {
            Ok(v1::RestorePrincipalResponse {
                epoch: broker.log.store.epoch(),
                sequence: found.basis.revocation_sequence,
                restored_at_ms: restored.at.0,
                issues_from_ms: restored.issues_from.0,
            })
        })
    }

    async fn end_sessions(
        &self,
        request: Request<v1::EndSessionsRequest>,
    ) -> Answer<v1::EndSessionsResponse> {
        match self.end(request).await {
            Ok(answer) => Ok(Response::new(answer)),
            Err(refusal) => Err(respond::status(&refusal)),
        }
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        self.open(request).await.map_err(|refusal| respond::status(&refusal))
    }
}

impl RevocationService {
    async fn end(
        &self,
        request: Request<v1::EndSessionsRequest>,
    ) -> Result<v1::EndSessionsResponse, Refusal> {
        let broker = &self.broker;
        let which = request.get_ref().which.clone();
        let which = which.ok_or_else(|| field("which", "one is expected".to_owned()))?;
        let (caller, which) = match which {
            Which::UserToken(token) => {
                let via = authenticate::via(&request);
                let user = authenticate::user(broker, &via, &token).await?;
                let caller = Caller::user(user.login.clone());
                let (login, issued_at) = (user.login, user.issued_at);
                (caller, Ending::Login(LoggedOut { login, issued_at, own: true }))
            }
            Which::Session(id) => {
                let caller = authenticate::caller(broker, &request, EndSessions::METHOD)?;
                (caller, Ending::Session(SessionId(fixed("session", &id)?)))
            }
            Which::Principal(principal) => {
                let caller = authenticate::caller(broker, &request, EndSessions::METHOD)?;
                (caller, Ending::Principal(principal.parse().map_err(Malformed::from)?))
            }
        };
        let came = super::came(&request);
        let reason = super::reason(request.into_inner().reason)?;
        let ended =
            super::end_sessions(broker.clone(), caller, EndSessions { which, reason }, came);
        let (sessions, delegations) = ended.await??;
        let feed = broker.log.store.feed()?;
        let (epoch, sequence) = (feed.epoch(), feed.sequence());
        Ok(v1::EndSessionsResponse { sessions, delegations, epoch, sequence })
    }

    async fn open(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<<Self as Revocation>::WatchStream>, Refusal> {
        let (broker, came) = (self.broker.clone(), super::came(&request));
        // With `--dev` a caller without a proof is known by its address.
        let shows = request.metadata().contains_key(PROOF_METADATA);
        let charged = match broker.config.dev && !shows {
            true => came.from.map(Account::Network),
            false => {
                let caller = authenticate::caller(&broker, &request, WatchFeed::METHOD)?;
                let charged = pipeline::charged(&caller, came.from);
                let authenticated = Authenticated { caller, operation: WatchFeed };
                let asked = Asked { authenticated, repeatable: None, came };
                pipeline::run(&broker, asked).await?.into_outcome()?;
                charged
            }
        };
        let place = self.places.take(charged)?;
        let message = request.into_inner();
        let (events, stream) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(async move {
            let _place = place;
            let after = FeedPosition::new(message.epoch, message.sequence);
            follow(&broker, after, &events).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Sends what the watcher lacks, then every new head with its deltas, until the watcher is gone.
async fn follow(
    broker: &Broker,
    mut position: FeedPosition,
    events: &mpsc::Sender<Result<v1::WatchEvent, Status>>,
) {
    let (mut beats, mut stopping) = (broker.log.feed.beats(), broker.stopping.subscribe());
    let mut version = None;
    loop {
        beats.mark_unchanged();
        // The bundle comes before the head, because a key that is new in it may have signed the head.
        let seen =
            broker.log.feed.portion(position, broker.ports.clock.now()).and_then(|portion| {
                let trust = broker.trust()?;
                let changed =
                    version.replace(trust.bundle().version()) != Some(trust.bundle().version());
                Ok((portion, changed.then(|| Event::TrustBundle(trust.text().to_vec()))))
            });
        let (portion, trust) = match seen {
            Ok(seen) => seen,
            Err(fault) => {
                let _ = events.send(Err(respond::status(&fault.into()))).await;
                return;
            }
        };
        position = portion.position;
        let deltas = portion.deltas.into_iter().map(Event::Delta);
        let is_last = portion.head.is_some();
        for event in trust.into_iter().chain(deltas).chain(portion.head.map(Event::Head)) {
            let sent = tokio::select! {
                sent = events.send(Ok(v1::WatchEvent { event: Some(event) })) => sent.is_ok(),
                // A watcher that reads nothing must not keep the broker from stopping.
                _ = stopping.wait_for(|stopping| *stopping) => false,
            };
            if !sent {
                return;
            }
        }
        if !is_last {
            continue;
        }
        let gone = tokio::select! {
            changed = beats.changed() => changed.is_err(),
            () = events.closed() => true,
            _ = stopping.wait_for(|stopping| *stopping) => true,
        };
        if gone {
            return;
        }
    }
}
