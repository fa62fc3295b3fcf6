//! The gRPC service `sublet.v1.Admin`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sublet_core::base::id::AgentId;
use sublet_core::decide::caller::Authenticated;
use sublet_core::decide::{
    ApplyProfile, CreateAgent, CreateJoinToken, GetAgent, GetProfile, GetStatus, GrantSession,
    Invitation, ListAgents, ListJoinTokens, ListProfiles, ListSessions, ListedSession,
    Operation as _, PageOf, ResumeAgent, RevokeAgentKey, RevokeJoinToken, RotateBrokerKey, Status,
    SuspendAgent,
};
use sublet_core::refusal::{Malformed, Refusal};
use sublet_core::state::rows::session::{Person, SessionId, Source};
use sublet_core::trust::bundle::{KeyId, KeyUse, TrustedKey};
use sublet_core::trust::rotation::{KeyStep, USES};
use sublet_proto::convert::{
    agent_message, field, fixed, join_token_message, profile, profile_message,
};
use sublet_proto::v1;
use sublet_proto::v1::admin_server::Admin;
use sublet_proto::v1::rotate_broker_key_request::Step;
use tonic::Request;

use crate::broker::Broker;
use crate::maintenance::rotate;
use crate::request::authenticate;
use crate::request::pipeline::{Asked, Found};
use crate::request::respond::{self, Answer};

/// The longest lead time of a prepared key, in seconds: thirty days.
const LEAD_SECONDS_MAX: i64 = 30 * 24 * 3600;

/// The service.
pub(crate) struct AdminService(pub(crate) Arc<Broker>);

#[tonic::async_trait]
impl Admin for AdminService {
    async fn create_agent(
        &self,
        request: Request<v1::CreateAgentRequest>,
    ) -> Answer<v1::JoinTokenResponse> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(CreateAgent {
                agent: agent_id(&message.agent_id)?,
                profile: message.profile,
                join_ttl_seconds: message.join_ttl_seconds,
            })
        });
        respond::answer(recorded.await, |created, _| invitation(created))
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Answer<v1::ListAgentsResponse> {
        let recorded = super::read(&self.0, request, |message| {
            let after = match message.page_token.as_str() {
                "" => None,
                id => Some(agent_id(id)?),
            };
            Ok(ListAgents(PageOf { after, size: message.page_size }))
        });
        respond::answer(recorded.await, |page, _| {
            Ok(v1::ListAgentsResponse {
                agents: page.rows.iter().map(agent_message).collect(),
                next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
            })
        })
    }

    async fn get_agent(&self, request: Request<v1::GetAgentRequest>) -> Answer<v1::AgentRow> {
        let recorded = super::read(&self.0, request, |message| {
            Ok(GetAgent { agent: agent_id(&message.agent_id)? })
        });
        respond::answer(recorded.await, |agent, _| Ok(agent_message(&agent)))
    }

    async fn suspend_agent(
        &self,
        request: Request<v1::SuspendAgentRequest>,
    ) -> Answer<v1::AgentRow> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(SuspendAgent {
                agent: agent_id(&message.agent_id)?,
                reason: super::reason(message.reason)?,
            })
        });
        respond::answer(recorded.await, |agent, _| Ok(agent_message(&agent)))
    }

    async fn resume_agent(&self, request: Request<v1::ResumeAgentRequest>) -> Answer<v1::AgentRow> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(ResumeAgent { agent: agent_id(&message.agent_id)? })
        });
        respond::answer(recorded.await, |agent, _| Ok(agent_message(&agent)))
    }

    async fn revoke_agent_key(
        &self,
        request: Request<v1::RevokeAgentKeyRequest>,
    ) -> Answer<v1::AgentRow> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(RevokeAgentKey {
                agent: agent_id(&message.agent_id)?,
                reason: super::reason(message.reason)?,
            })
        });
        respond::answer(recorded.await, |agent, _| Ok(agent_message(&agent)))
    }

    async fn apply_profile(
        &self,
        request: Request<v1::ApplyProfileRequest>,
    ) -> Answer<v1::Profile> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(ApplyProfile { profile: profile(message.profile)? })
        });
        respond::answer(recorded.await, |profile, _| Ok(profile_message(&profile)))
    }

    async fn list_profiles(
        &self,
        request: Request<v1::ListProfilesRequest>,
    ) -> Answer<v1::ListProfilesResponse> {
        let recorded = super::read(&self.0, request, |message| {
            Ok(ListProfiles(page_by_name(message.page_token, message.page_size)))
        });
        respond::answer(recorded.await, |page, _| {
            Ok(v1::ListProfilesResponse {
                profiles: page.rows.iter().map(profile_message).collect(),
                next_page_token: page.next.unwrap_or_default(),
            })
        })
    }

    async fn get_profile(&self, request: Request<v1::GetProfileRequest>) -> Answer<v1::Profile> {
        let recorded =
            super::read(&self.0, request, |message| Ok(GetProfile { name: message.name }));
        respond::answer(recorded.await, |profile, _| Ok(profile_message(&profile)))
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Answer<v1::JoinTokenResponse> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(CreateJoinToken {
                agent: agent_id(&message.agent_id)?,
                ttl_seconds: message.ttl_seconds,
            })
        });
        respond::answer(recorded.await, |created, _| invitation(created))
    }

    async fn list_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Answer<v1::ListJoinTokensResponse> {
        let recorded = super::read(&self.0, request, |message| {
            Ok(ListJoinTokens(page_by_name(message.page_token, message.page_size)))
        });
        respond::answer(recorded.await, |page, found| {
            let rows = page.rows.iter().map(|row| join_token_message(row, found.at));
            Ok(v1::ListJoinTokensResponse {
                join_tokens: rows.collect(),
                next_page_token: page.next.unwrap_or_default(),
            })
        })
    }

    async fn revoke_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Answer<v1::RevokeJoinTokenResponse> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(RevokeJoinToken { id: message.join_token_id })
        });
        respond::answer(recorded.await, |(), _| Ok(v1::RevokeJoinTokenResponse {}))
    }

    async fn grant_session(
        &self,
        request: Request<v1::GrantSessionRequest>,
    ) -> Answer<v1::SessionRow> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(GrantSession {
                agent: agent_id(&message.agent_id)?,
                principal: message.principal.parse().map_err(Malformed::from)?,
                ttl_seconds: message.ttl_seconds,
                reason: super::reason(message.reason)?,
            })
        });
        respond::answer(recorded.await, |session, _| {
            Ok(session_row(&ListedSession { session, delegations: 0 }))
        })
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Answer<v1::ListSessionsResponse> {
        let recorded = super::read(&self.0, request, |message| {
            let after = match message.page_token.as_slice() {
                [] => None,
                id => Some(SessionId(fixed("page_token", id)?)),
            };
            Ok(ListSessions(PageOf { after, size: message.page_size }))
        });
        respond::answer(recorded.await, |page, _| {
            Ok(v1::ListSessionsResponse {
                sessions: page.rows.iter().map(session_row).collect(),
                next_page_token: page.next.map(|id| id.0.to_vec()).unwrap_or_default(),
            })
        })
    }

    async fn rotate_broker_key(
        &self,
        request: Request<v1::RotateBrokerKeyRequest>,
    ) -> Answer<v1::RotateBrokerKeyResponse> {
        let lead_ms = self.0.settings.schedule.lead_ms;
        let recorded = async {
            let caller = authenticate::caller(&self.0, &request, RotateBrokerKey::METHOD)?;
            let (came, message) = (super::came(&request), request.into_inner());
            let repeatable = Some(super::repeatable(&message)?);
            let step = key_step(message.step, lead_ms)?;
            let operation =
                RotateBrokerKey { step, reason: super::reason(message.reason)?, made: None };
            let authenticated = Authenticated { caller, operation };
            rotate::change(&self.0, Asked { authenticated, repeatable, came }).await
        };
        respond::answer(recorded.await, |keys, _| {
            Ok(v1::RotateBrokerKeyResponse { keys: keys.iter().map(key_row).collect() })
        })
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Answer<v1::GetStatusResponse> {
        let recorded = super::read(&self.0, request, |_| Ok(GetStatus));
        respond::answer(recorded.await, |status, found| Ok(self.status(&status, found)))
    }
}

impl AdminService {
    /// Makes the answer of GetStatus from the stored state and this process's counters.
    fn status(&self, status: &Status, found: &Found) -> v1::GetStatusResponse {
        let (broker, trust) = (&self.0, found.basis.trust.bundle());
        v1::GetStatusResponse {
            trust_domain: broker.domain().to_string(),
            agents: status.agents,
            delegations: status.delegations,
            hops: status.hops,
            ledger_size: found.ledger.tree.size(),
            ledger_root: found.ledger.root.to_vec(),
            revocation_epoch: broker.log.store.epoch(),
            revocation_sequence: found.basis.revocation_sequence,
            uptime_ms: broker.ports.clock.now().since(broker.ports.started_at),
            store: broker.log.store.name().to_owned(),
            unauthenticated_calls: broker.refused.unauthenticated.load(Ordering::Relaxed),
            keys: trust.keys().iter().map(key_row).collect(),
            trust_version: trust.version(),
            trust_expires_ms: trust.expires().0,
        }
    }
}

/// Returns the page after this name; for an empty name, the first page.
fn page_by_name(after: String, size: u32) -> PageOf<String> {
    PageOf { after: Some(after).filter(|name| !name.is_empty()), size }
}

fn key_step(step: Option<Step>, lead_ms: i64) -> Result<KeyStep, Refusal> {
    let step = step.ok_or_else(|| field("step", "one is expected".to_owned()))?;
    Ok(match step {
        Step::Prepare(v1::PrepareKey { r#use, lead_seconds }) => {
            let use_ = USES.into_iter().find(|use_| use_.name() == r#use);
            let use_ = use_.ok_or_else(|| {
                let names = USES.map(KeyUse::name).join(", ");
                field("use", format!("{use:?} is none of {names}", use = r#use))
            })?;
            // A bundle key must be able to take over at any moment, so it has no lead time.
            let lead_ms = if use_ == KeyUse::Bundle { 0 } else { lead_ms };
            let lead_ms = match lead_seconds {
                None => lead_ms,
                Some(seconds @ 0..=LEAD_SECONDS_MAX) => seconds.saturating_mul(1000),
                Some(other) => {
                    let detail = format!("{other}, it is 0 to {LEAD_SECONDS_MAX}");
                    return Err(field("lead_seconds", detail).into());
                }
            };
            KeyStep::Prepare { use_, lead_ms }
        }
        Step::Activate(v1::ActivateKey { key, at_once }) => {
            KeyStep::Activate { key: KeyId(key), at_once }
        }
        Step::Retire(key) => KeyStep::Retire { key: KeyId(key) },
        Step::Taint(key) => KeyStep::Taint { key: KeyId(key) },
    })
}

fn key_row(key: &TrustedKey) -> v1::BrokerKeyRow {
    v1::BrokerKeyRow {
        id: key.id.0,
        r#use: key.use_.name().to_owned(),
        state: key.state.name().to_owned(),
        not_before_ms: key.not_before.0,
        not_after_ms: key.not_after.0,
        thumbprint: key.public.thumbprint().0.to_vec(),
    }
}

fn session_row(listed: &ListedSession) -> v1::SessionRow {
    let row = &listed.session;
    let (person, agent_id) = match &row.source {
        Source::Login(login) => (Some(login.person()), String::new()),
        Source::Operator(agent) => (None, agent.to_string()),
    };
    let (issuer, subject) =
        person.map(|Person { issuer, subject }| (issuer, subject)).unwrap_or_default();
    v1::SessionRow {
        session: row.id.0.to_vec(),
        principal: row.principal.as_ref().map(ToString::to_string).unwrap_or_default(),
        issuer,
        subject,
        agent_id,
        expires_at_ms: row.expires_at.0,
        ended_at_ms: row.ended_at.filter(|_| !row.live).map_or(0, |at| at.0),
        delegations: listed.delegations,
    }
}

fn agent_id(text: &str) -> Result<AgentId, Refusal> {
    Ok(text.parse().map_err(Malformed::from)?)
}

fn invitation(invitation: Invitation) -> Result<v1::JoinTokenResponse, Refusal> {
    Ok(v1::JoinTokenResponse {
        join_token: invitation.join_token,
        join_token_id: invitation.id,
        expires_at_ms: invitation.expires_at.0,
    })
}
