//! `sublet.v1.Admin`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sublet_core::bundle::{KeyId, KeyUse, TrustBundle, TrustedKey};
use sublet_core::caller::Authenticated;
use sublet_core::decide::{
    ApplyProfile, Ask as _, ChangeKey, CreateAgent, CreateJoinToken, GrantSession, Invitation,
    ReadAdmin, ResumeAgent, RevokeAgentKey, RevokeJoinToken, SuspendAgent,
};
use sublet_core::id::{AgentId, UnixMillis};
use sublet_core::no::{Deny, Malformed, No};
use sublet_core::rotation::{KeyStep, USES};
use sublet_core::session::{Person, Session, Source};
use sublet_core::state::State;
use sublet_proto::convert::{agent_message, field, join_token_message, profile, profile_message};
use sublet_proto::v1;
use sublet_proto::v1::admin_server::Admin;
use sublet_proto::v1::change_key_request::Step;
use tonic::Request;

use crate::authenticate;
use crate::broker::Broker;
use crate::pipeline::{Asked, Recorded};
use crate::respond::{self, Answer};
use crate::rotate;

/// The longest that a key may be announced ahead: thirty days.
const LEAD_SECONDS_MAX: i64 = 30 * 24 * 3600;

/// Rows on one page of agents.
const PAGE_MAX: usize = 500;

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
        respond::answer(recorded.await, invitation)
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Answer<v1::ListAgentsResponse> {
        let (after, size) = (request.get_ref().page_token.clone(), request.get_ref().page_size);
        let recorded = self.read(request, "ListAgents").await;
        respond::answer(recorded, |()| {
            let size = if size == 0 {
                100
            } else {
                usize::try_from(size).unwrap_or(PAGE_MAX).min(PAGE_MAX)
            };
            let state = self.0.store.view()?;
            let mut rows = state.agents().filter(|row| row.id.as_str() > after.as_str());
            let agents: Vec<_> = rows.by_ref().take(size).map(agent_message).collect();
            let next = rows.next().and(agents.last()).map(|last| last.agent_id.clone());
            Ok(v1::ListAgentsResponse { agents, next_page_token: next.unwrap_or_default() })
        })
    }

    async fn show_agent(&self, request: Request<v1::ShowAgentRequest>) -> Answer<v1::AgentRow> {
        let id = request.get_ref().agent_id.clone();
        let recorded = self.read(request, "ShowAgent").await;
        respond::answer(recorded, |()| self.agent(&agent_id(&id)?))
    }

    async fn suspend_agent(
        &self,
        request: Request<v1::SuspendAgentRequest>,
    ) -> Answer<v1::AgentRow> {
        let id = request.get_ref().agent_id.clone();
        let recorded = super::write(&self.0, request, |message| {
            Ok(SuspendAgent {
                agent: agent_id(&message.agent_id)?,
                reason: super::reason(message.reason)?,
            })
        });
        respond::answer(recorded.await, |()| self.agent(&agent_id(&id)?))
    }

    async fn resume_agent(&self, request: Request<v1::ResumeAgentRequest>) -> Answer<v1::AgentRow> {
        let id = request.get_ref().agent_id.clone();
        let recorded = super::write(&self.0, request, |message| {
            Ok(ResumeAgent { agent: agent_id(&message.agent_id)? })
        });
        respond::answer(recorded.await, |()| self.agent(&agent_id(&id)?))
    }

    async fn revoke_agent_key(
        &self,
        request: Request<v1::RevokeAgentKeyRequest>,
    ) -> Answer<v1::AgentRow> {
        let id = request.get_ref().agent_id.clone();
        let recorded = super::write(&self.0, request, |message| {
            Ok(RevokeAgentKey {
                agent: agent_id(&message.agent_id)?,
                reason: super::reason(message.reason)?,
            })
        });
        respond::answer(recorded.await, |()| self.agent(&agent_id(&id)?))
    }

    async fn apply_profile(
        &self,
        request: Request<v1::ApplyProfileRequest>,
    ) -> Answer<v1::Profile> {
        let name = request
            .get_ref()
            .profile
            .as_ref()
            .map(|profile| profile.name.clone())
            .unwrap_or_default();
        let recorded = super::write(&self.0, request, |message| {
            Ok(ApplyProfile { profile: profile(message.profile)? })
        });
        respond::answer(recorded.await, |()| self.profile(&name))
    }

    async fn list_profiles(
        &self,
        request: Request<v1::ListProfilesRequest>,
    ) -> Answer<v1::ListProfilesResponse> {
        let recorded = self.read(request, "ListProfiles").await;
        respond::answer(recorded, |()| {
            let profiles = self.0.store.view()?.profiles().map(profile_message).collect();
            Ok(v1::ListProfilesResponse { profiles })
        })
    }

    async fn show_profile(&self, request: Request<v1::ShowProfileRequest>) -> Answer<v1::Profile> {
        let name = request.get_ref().name.clone();
        let recorded = self.read(request, "ShowProfile").await;
        respond::answer(recorded, |()| self.profile(&name))
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
        respond::answer(recorded.await, invitation)
    }

    async fn list_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Answer<v1::ListJoinTokensResponse> {
        let recorded = self.read(request, "ListJoinTokens").await;
        respond::answer(recorded, |()| {
            let now = self.0.clock.now();
            let state = self.0.store.view()?;
            let join_tokens = state.join_tokens().map(|row| join_token_message(row, now)).collect();
            Ok(v1::ListJoinTokensResponse { join_tokens })
        })
    }

    async fn revoke_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Answer<v1::RevokeJoinTokenResponse> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(RevokeJoinToken { id: message.join_token_id })
        });
        respond::answer(recorded.await, |()| Ok(v1::RevokeJoinTokenResponse {}))
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
        respond::answer(recorded.await, |id| {
            let (state, now) = (self.0.store.view()?, self.0.clock.now());
            let row = state.session(&id).map(|row| session_row(&state, row, now));
            Ok(row.ok_or_else(|| Deny::NotFound(format!("session {id}")))?)
        })
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Answer<v1::ListSessionsResponse> {
        let recorded = self.read(request, "ListSessions").await;
        respond::answer(recorded, |()| {
            let (state, now) = (self.0.store.view()?, self.0.clock.now());
            let sessions = state.sessions().map(|row| session_row(&state, row, now)).collect();
            Ok(v1::ListSessionsResponse { sessions })
        })
    }

    async fn change_key(
        &self,
        request: Request<v1::ChangeKeyRequest>,
    ) -> Answer<v1::ChangeKeyResponse> {
        let lead_ms = self.0.settings.schedule.lead_ms;
        let recorded = async {
            let caller = authenticate::caller(&self.0, &request, ChangeKey::METHOD)?;
            let (came, message) = (super::came(&request), request.into_inner());
            let repeatable = Some(super::repeatable(&message)?);
            let step = key_step(message.step, lead_ms)?;
            let ask = ChangeKey { step, reason: super::reason(message.reason)?, made: None };
            let authenticated = Authenticated { caller, ask };
            rotate::change(&self.0, Asked { authenticated, repeatable, came }).await
        };
        respond::answer(recorded.await, |()| {
            Ok(v1::ChangeKeyResponse { keys: key_rows(self.0.trust()?.bundle()) })
        })
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Answer<v1::GetStatusResponse> {
        let recorded = self.read(request, "GetStatus").await;
        respond::answer(recorded, |()| self.status())
    }
}

impl AdminService {
    async fn read<M>(&self, request: Request<M>, method: &'static str) -> Result<Recorded<()>, No> {
        super::read(&self.0, request, &format!("/sublet.v1.Admin/{method}"), |_| {
            Ok(ReadAdmin { what: method })
        })
        .await
    }

    fn agent(&self, id: &AgentId) -> Result<v1::AgentRow, No> {
        let state = self.0.store.view()?;
        let agent = state.agent(id).ok_or_else(|| Deny::UnknownAgent { agent: id.clone() })?;
        Ok(agent_message(agent))
    }

    fn profile(&self, name: &str) -> Result<v1::Profile, No> {
        let state = self.0.store.view()?;
        let profile =
            state.profile(name).ok_or_else(|| Deny::NotFound(format!("profile {name:?}")))?;
        Ok(profile_message(profile))
    }

    fn status(&self) -> Result<v1::GetStatusResponse, No> {
        let broker = &self.0;
        let (agents, delegations, hops) = broker.store.view()?.counts();
        let trust = broker.trust()?;
        let (ledger, feed) = (broker.store.published()?, broker.store.feed()?);
        Ok(v1::GetStatusResponse {
            trust_domain: broker.domain().to_string(),
            agents: agents as u64,
            delegations: delegations as u64,
            hops: hops as u64,
            ledger_size: ledger.tree.size(),
            ledger_head: ledger.root.to_vec(),
            revocation_epoch: feed.epoch(),
            revocation_sequence: feed.sequence(),
            uptime_ms: broker.clock.now().since(broker.started_at),
            store: broker.store.name().to_owned(),
            unauthenticated_calls: broker.unauthenticated.load(Ordering::Relaxed),
            keys: key_rows(trust.bundle()),
            trust_version: trust.bundle().version(),
            trust_expires_ms: trust.bundle().expires().0,
        })
    }
}

fn key_step(step: Option<Step>, lead_ms: i64) -> Result<KeyStep, No> {
    let step = step.ok_or_else(|| field("step", "one is expected".to_owned()))?;
    Ok(match step {
        Step::Prepare(v1::PrepareKey { r#use, lead_seconds }) => {
            let use_ = USES.into_iter().find(|use_| use_.name() == r#use);
            let use_ = use_.ok_or_else(|| {
                let names = USES.map(KeyUse::name).join(", ");
                field("use", format!("{use:?} is none of {names}", use = r#use))
            })?;
            // One that signs bundles must be able to take over at any moment.
            let lead_ms = if use_ == KeyUse::Bundle { 0 } else { lead_ms };
            let lead_ms = match lead_seconds {
                None => lead_ms,
                Some(seconds @ 0..=LEAD_SECONDS_MAX) => seconds.saturating_mul(1000),
                Some(other) => {
                    let says = format!("{other}, it is 0 to {LEAD_SECONDS_MAX}");
                    return Err(field("lead_seconds", says).into());
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

fn key_rows(bundle: &TrustBundle) -> Vec<v1::BrokerKeyRow> {
    let row = |key: &TrustedKey| v1::BrokerKeyRow {
        id: key.id.0,
        r#use: key.use_.name().to_owned(),
        state: key.state.name().to_owned(),
        not_before_ms: key.not_before.0,
        not_after_ms: key.not_after.0,
        thumbprint: key.public.thumbprint().0.to_vec(),
    };
    bundle.keys().iter().map(row).collect()
}

fn session_row(state: &State, row: &Session, now: UnixMillis) -> v1::SessionRow {
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
        delegations: state.in_session(&row.id, now).count() as u64,
    }
}

fn agent_id(text: &str) -> Result<AgentId, No> {
    Ok(text.parse().map_err(Malformed::from)?)
}

fn invitation(invitation: Invitation) -> Result<v1::JoinTokenResponse, No> {
    Ok(v1::JoinTokenResponse {
        join_token: invitation.join_token,
        join_token_id: invitation.id,
        expires_at_ms: invitation.expires_at.0,
    })
}
