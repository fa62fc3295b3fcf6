//! Issuing a delegation to an agent. SPEC 3.3: never more than its profile allows.

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, HopId, Principal, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::base::limits;
use crate::biscuit::block::{Block, Origin, Role};
use crate::biscuit::datalog::Symbols;
use crate::capability::Scope;
use crate::decide::{Context, Decision, Grant, Operation, Unsigned, UnsignedBlock, View};
use crate::evidence::record::{Body, HopRecord};
use crate::refusal::Deny;
use crate::state::rows::session::{SessionId, UserToken};
use crate::state::{Agent, Delegation, Mutation, Precondition, Profile, RecordedHop, RowKey};
use crate::token::verify::{Holder, VerifiedToken};
use crate::token::{hop_id, root_id};
use crate::trust::bundle::{KeyUse, TrustedKey};

/// A request for a delegation on behalf of a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The principal.
    pub on_behalf_of: Principal,
    /// The capabilities.
    pub scope: Scope,
    /// The lifetime, in seconds.
    pub ttl_seconds: i64,
    /// The greatest number of hops below the root.
    pub hops: u32,
    /// The greatest number of those hops that no receipt covers.
    pub offline_hops: u32,
    /// The consent.
    pub by: Consent,
}

/// The consent by which an agent may act for a principal. SPEC 3.10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// The agent's profile, which lists the principals that it may act for.
    Profile,
    /// The user's own signed token.
    UserToken(Box<UserToken>),
    /// A session that the admin granted.
    Session(SessionId),
}

/// A delegation that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The id of hop 0.
    pub hop: HopId,
    /// The token's bytes; empty until it is signed.
    pub token: serde_bytes::ByteBuf,
    /// The principal.
    pub principal: Principal,
    /// The agent that it was issued to.
    pub agent: AgentId,
    /// The thumbprint of the agent's key.
    pub key: Thumbprint,
    /// When it expires, in seconds since 1970.
    pub expires: i64,
}

impl Operation for Issue {
    type Granted = Issued;
    const METHOD: &'static str = "/sublet.v1.Delegation/Issue";

    fn describe(&self) -> String {
        let scope: Vec<String> =
            self.scope.capabilities().iter().map(ToString::to_string).collect();
        format!(
            "on behalf of {} for {} s, {} hops, {} offline: {}",
            self.on_behalf_of,
            self.ttl_seconds,
            self.hops,
            self.offline_hops,
            scope.join(" | ")
        )
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        let agent = cx.agent()?;
        let key = agent.key.clone().ok_or(Deny::Forbidden("the agent has no key"))?;
        let profile = cx.view.state.profile(&agent.profile).ok_or_else(|| {
            Deny::UnknownProfile { profile: agent.profile.clone(), agent: agent.id.clone() }
        })?;
        self.check_profile(cx, agent, profile)?;
        check_principal(cx.view, &self.on_behalf_of, cx.now)?;
        let room = check_room(cx.view, &agent.id, 1)?;
        let consent = self.consent(cx, agent, profile)?;
        let block = self.block(cx, agent);
        let root = cx.view.signing(KeyUse::Delegation, cx.now)?;
        self.check_root(root, cx.now)?;
        let id = hop_id(
            &root_id(&cx.view.state.domain().issuer(), &root.public),
            &block.lower(&mut Symbols::default()),
            &key,
        );
        let session = consent.session;
        let record = hop_record(id, &block, &key, session);
        let guards = [
            Precondition::unchanged(agent),
            Precondition::unchanged(profile),
            Precondition::absent(RowKey::Delegation(id)),
            room,
            Precondition::PrincipalAlive(
                self.on_behalf_of.clone(),
                UnixMillis::from_seconds(cx.now.seconds()),
            ),
        ];
        let issued = Issued {
            hop: id,
            token: serde_bytes::ByteBuf::new(),
            principal: self.on_behalf_of.clone(),
            agent: agent.id.clone(),
            key: key.thumbprint(),
            expires: block.not_after,
        };
        let delegation = self.delegation(id, agent, profile, session, cx.now);
        // The record of the consent, where there is one, comes first.
        let record_number = usize::from(consent.record.is_some());
        let mut grant = Grant::read(issued)
            .requiring(guards)
            .requiring(consent.preconditions)
            .changing([delegation, root_row(id, &block, &key, record_number)])
            .changing(consent.mutation);
        if let Some(body) = consent.record {
            grant = grant.recording_in(id, cx.caller, body);
        }
        let root = root.clone();
        let unsigned = UnsignedBlock { block, holder_key: key, root };
        grant.unsigned = Some(Unsigned::Block(Box::new(unsigned)));
        Ok(grant.recording_in(id, cx.caller, Body::Issued(record)))
    }

    fn with_token(issued: Issued, token: &VerifiedToken) -> Issued {
        Issued { token: token.encode().into(), ..issued }
    }

    fn receipt(issued: &Issued) -> Option<HopId> {
        Some(issued.hop)
    }
}

impl Issue {
    fn check_profile(
        &self,
        cx: &Context<'_>,
        agent: &Agent,
        profile: &Profile,
    ) -> Result<(), Deny> {
        let allowed = profile.principals.iter().any(|pattern| pattern.admits(&self.on_behalf_of));
        if !allowed || self.on_behalf_of.realm() != cx.view.state.domain().as_str() {
            let patterns: Vec<&str> =
                profile.principals.iter().map(|pattern| pattern.as_str()).collect();
            return Err(Deny::PrincipalNotAllowed {
                profile: profile.name.clone(),
                agent: agent.id.clone(),
                principal: self.on_behalf_of.clone(),
                allowed: format!(
                    "{} within the trust domain {}",
                    patterns.join(", "),
                    cx.view.state.domain()
                ),
            });
        }
        if self.ttl_seconds <= 0 {
            return Err(Deny::EmptyWindow);
        }
        let ttl_max = profile.ttl_seconds_max.min(limits::DELEGATION_SECONDS_MAX);
        let hops_max = profile.hops_max.min(limits::HOPS_MAX);
        let limits = [
            ("seconds", self.ttl_seconds, ttl_max),
            ("hops", i64::from(self.hops), i64::from(hops_max)),
            ("offline hops", i64::from(self.offline_hops), i64::from(profile.offline_hops_max)),
        ];
        for (what, asked, allowed) in limits {
            if asked > allowed {
                return Err(Deny::ProfileLimit {
                    what,
                    asked,
                    allowed,
                    profile: profile.name.clone(),
                });
            }
        }
        let covered = profile.allow.covers(&self.scope);
        covered.map_err(|exceeds| Deny::ProfileScope { exceeds, profile: profile.name.clone() })
    }

    fn block(&self, cx: &Context<'_>, agent: &Agent) -> Block {
        let seconds = cx.now.seconds();
        let origin = Origin {
            issuer: cx.view.state.domain().issuer(),
            nonce: cx.entropy.nonce("block"),
            issued_at: seconds,
            not_before: seconds.saturating_sub(limits::BACKDATE_SECONDS),
        };
        Block {
            role: Role::Grant { origin, on_behalf_of: self.on_behalf_of.clone() },
            agent: agent.id.clone(),
            helper: None,
            not_after: seconds.saturating_add(self.ttl_seconds),
            hops_max: self.hops,
            offline_hops_max: self.offline_hops,
            scope: Some(self.scope.clone()),
        }
    }

    /// Checks that the delegation does not outlive the key that signs it.
    fn check_root(&self, root: &TrustedKey, now: UnixMillis) -> Result<(), Deny> {
        let (asked, allowed) = (self.ttl_seconds, root.not_after.seconds() - now.seconds());
        if asked > allowed {
            return Err(Deny::OutlivesKey { key: root.id, asked, allowed: allowed.max(0) });
        }
        Ok(())
    }

    fn delegation(
        &self,
        id: HopId,
        agent: &Agent,
        profile: &Profile,
        session: Option<SessionId>,
        now: UnixMillis,
    ) -> Mutation {
        Mutation::from(Delegation {
            id,
            principal: self.on_behalf_of.clone(),
            agent: agent.id.clone(),
            issued_at: now,
            expires_at: UnixMillis::from_seconds(now.seconds().saturating_add(self.ttl_seconds)),
            session,
            fan_out_max: profile.fan_out_max,
            hops: 0,
            records: 0,
            last_leaf: [0; 32],
        })
    }
}

/// Refuses a principal that is revoked, also in the second in which it was restored: everything up
/// to that time stays revoked, and a token states whole seconds.
pub(in crate::decide) fn check_principal(
    view: View<'_>,
    principal: &Principal,
    now: UnixMillis,
) -> Result<(), Deny> {
    match view.state.ends(principal, UnixMillis::from_seconds(now.seconds())) {
        true => Err(Deny::PrincipalRevoked { principal: principal.clone() }),
        false => Ok(()),
    }
}

/// Checks that an agent, with its helpers, has room for `more` live hops. Each is a row in the broker's memory, and
/// may become one of the revocation feed. Returns what must hold at the commit, so that there is room then too.
pub(in crate::decide) fn check_room(
    view: View<'_>,
    agent: &AgentId,
    more: u32,
) -> Result<Precondition, Deny> {
    let (live, allowed) = (view.state.hops_of(agent), view.settings.hops_live_max);
    if live.saturating_add(more) > allowed {
        return Err(Deny::TooManyHops { agent: agent.clone(), live, allowed });
    }
    let below = allowed.saturating_sub(more).saturating_add(1);
    Ok(Precondition::HopsOf(agent.clone(), below))
}

fn hop_record(id: HopId, block: &Block, key: &PublicKey, session: Option<SessionId>) -> HopRecord {
    HopRecord {
        hop: id,
        parent: None,
        position: 0,
        holder: Holder { agent: block.agent.clone(), helper: None },
        key: key.thumbprint(),
        expires: block.not_after,
        session,
        block: None,
    }
}

/// The row of hop 0, which stands in the record of this number of the same effects.
fn root_row(id: HopId, block: &Block, key: &PublicKey, record: usize) -> Mutation {
    let hop = RecordedHop {
        id,
        parent: None,
        delegation: id,
        position: 0,
        agent: block.agent.clone(),
        helper: None,
        key: key.thumbprint(),
        expires_at: UnixMillis::from_seconds(block.not_after),
        maker: Some(block.agent.clone()),
        index: 0,
    };
    Mutation::RecordHop { hop, record }
}
