//! The gRPC service `sublet.v1.Delegation`.

use std::sync::Arc;

use sublet_core::decide::caller::Authenticated;
use sublet_core::decide::{
    Consent, Delegate, GetInclusionProof, Inspect, Issue, ListDelegations, Operation, PageOf,
    RecordHop,
};
use sublet_core::refusal::{Malformed, Refusal};
use sublet_core::state::rows::session::SessionId;
use sublet_proto::convert::{field, fixed, hop_id, scope};
use sublet_proto::v1;
use sublet_proto::v1::delegation_server::Delegation;
use sublet_proto::v1::issue_request::By as IssuedBy;
use tonic::Request;

use crate::broker::Broker;
use crate::request::authenticate;
use crate::request::pipeline::{self, Asked, Found, Recorded};
use crate::request::respond::{self, Answer};

/// The service.
pub(crate) struct DelegationService(pub(crate) Arc<Broker>);

#[tonic::async_trait]
impl Delegation for DelegationService {
    async fn issue(&self, request: Request<v1::IssueRequest>) -> Answer<v1::IssueResponse> {
        let broker = &self.0;
        respond::answer(issue(broker, request).await, |issued, found| {
            let receipt = respond::receipt(broker, found)?;
            let (token, checkpoint) = (issued.token.into_vec(), found.ledger.note.clone());
            Ok(v1::IssueResponse { token, receipt, checkpoint })
        })
    }

    async fn delegate(
        &self,
        request: Request<v1::DelegateRequest>,
    ) -> Answer<v1::DelegateResponse> {
        let broker = &self.0;
        let recorded = super::read(broker, request, |message| {
            Ok(Delegate { token: authenticate::chain(broker, &message.token)? })
        });
        respond::answer(recorded.await, |recording, found| {
            let receipt = respond::receipt(broker, found)?;
            let (hops_recorded, checkpoint) = (recording.recorded, found.ledger.note.clone());
            Ok(v1::DelegateResponse { receipt, hops_recorded, checkpoint })
        })
    }

    async fn record_hop(
        &self,
        request: Request<v1::RecordHopRequest>,
    ) -> Answer<v1::RecordHopResponse> {
        let broker = &self.0;
        let recorded = super::read(broker, request, |message| {
            Ok(RecordHop { token: authenticate::chain(broker, &message.token)? })
        });
        respond::answer(recorded.await, |recording, found| {
            let receipt = respond::receipt(broker, found)?;
            let (hops_recorded, checkpoint) = (recording.recorded, found.ledger.note.clone());
            Ok(v1::RecordHopResponse { receipt, hops_recorded, checkpoint })
        })
    }

    async fn inspect(&self, request: Request<v1::InspectRequest>) -> Answer<v1::InspectResponse> {
        let broker = &self.0;
        let recorded = super::read(broker, request, |message| {
            Ok(Inspect { token: authenticate::chain(broker, &message.token)? })
        });
        respond::answer(recorded.await, |inspected, _| {
            let hops = inspected.hops.into_iter().map(|hop| v1::InspectedHop {
                hop: hop.id.0.to_vec(),
                recorded: hop.index.is_some(),
                index: hop.index.unwrap_or_default(),
                revoked: hop.revoked,
                expired: hop.expired,
            });
            let dead = inspected.dead.unwrap_or_default();
            Ok(v1::InspectResponse { hops: hops.collect(), dead })
        })
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Answer<v1::Inclusion> {
        let broker = &self.0;
        let recorded = super::read(broker, request, |message| {
            Ok(GetInclusionProof { token: authenticate::chain(broker, &message.token)? })
        });
        let inclusion = |indices, found: Found| async move {
            respond::inclusion(broker, indices, found.ledger).await
        };
        respond::answer_when(recorded.await, inclusion).await
    }

    async fn list_delegations(
        &self,
        request: Request<v1::ListDelegationsRequest>,
    ) -> Answer<v1::ListDelegationsResponse> {
        let recorded = super::read(&self.0, request, |message| {
            let after = match message.page_token.as_slice() {
                [] => None,
                bytes => Some(hop_id("page_token", bytes)?),
            };
            Ok(ListDelegations(PageOf { after, size: message.page_size }))
        });
        respond::answer(recorded.await, |page, _| {
            let rows = page.rows.into_iter().map(|row| v1::DelegationRow {
                delegation: row.delegation.id.0.to_vec(),
                on_behalf_of: row.delegation.principal.to_string(),
                agent_id: row.delegation.agent.to_string(),
                issued_at_ms: row.delegation.issued_at.0,
                expires_at_ms: row.delegation.expires_at.0,
                hops: row.delegation.hops,
                revoked: row.revoked,
            });
            let next_page_token = page.next.map(|id| id.0.to_vec()).unwrap_or_default();
            Ok(v1::ListDelegationsResponse { delegations: rows.collect(), next_page_token })
        })
    }
}

async fn issue(
    broker: &Arc<Broker>,
    request: Request<v1::IssueRequest>,
) -> Result<Recorded<<Issue as Operation>::Granted>, Refusal> {
    let caller = authenticate::caller(broker, &request, Issue::METHOD)?;
    let via = authenticate::via(&request);
    let (came, message) = (super::came(&request), request.into_inner());
    let repeatable = Some(super::repeatable(&message)?);
    let by = match message.by.as_ref() {
        None => Consent::Profile,
        Some(IssuedBy::UserToken(token)) => {
            Consent::UserToken(Box::new(authenticate::user(broker, &via, token).await?))
        }
        Some(IssuedBy::Session(id)) => Consent::Session(SessionId(fixed("session", id)?)),
    };
    let operation = Issue { by, ..understand_issue(message)? };
    let authenticated = Authenticated { caller, operation };
    pipeline::run(broker, Asked { authenticated, repeatable, came }).await
}

fn understand_issue(message: v1::IssueRequest) -> Result<Issue, Refusal> {
    if message.offline_hops > message.hops {
        let detail = format!("{} of {} hops cannot be offline", message.offline_hops, message.hops);
        return Err(field("offline_hops", detail).into());
    }
    Ok(Issue {
        on_behalf_of: message.on_behalf_of.parse().map_err(Malformed::from)?,
        scope: scope(&message.scope_json)?,
        ttl_seconds: message.ttl_seconds,
        hops: message.hops,
        offline_hops: message.offline_hops,
        by: Consent::Profile,
    })
}
