//! How the reference changes when something was granted: from what was asked and what was answered, never from
//! the effects.

use sublet_core::base::id::{AgentId, HopId, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::decide::{Consent, Credential, Ending, Revoke, Target};
use sublet_core::evidence::record::Body;
use sublet_core::state::Profile;
use sublet_core::state::rows::session::LoggedOut;
use sublet_core::token::verify::VerifiedToken;

use crate::ask::{Ask, Granted, Request, Who};
use crate::broker::Entry;
use crate::cast::{LOGINS, PRINCIPALS, agent_id, attested_agent, mask, principal};
use crate::property::{Check, Property};
use crate::reference::{AgentFacts, InvitationFacts, ProfileFacts, SessionFacts};
use crate::world::World;

impl World {
    /// Takes in what was granted at `now`, with the records of it.
    pub(crate) fn learn(
        &mut self,
        request: &Request,
        granted: &Granted,
        entries: &[Entry],
        now: UnixMillis,
    ) -> Check {
        self.learn_recorded(entries);
        match (&request.ask, granted) {
            (Ask::CreateAgent(op), Granted::Invitation(given)) => {
                let facts = AgentFacts::invited(&op.profile);
                self.reference.agents.insert(op.agent.clone(), facts);
                self.learn_invitation(&op.agent, &given.id, given.expires_at);
            }
            (Ask::CreateJoinToken(op), Granted::Invitation(given)) => {
                self.learn_invitation(&op.agent, &given.id, given.expires_at);
            }
            (Ask::RevokeJoinToken(op), _) => {
                self.reference.invitations.get_mut(&op.id).unwrap().open = false;
            }
            (Ask::ApplyProfile(op), _) => self.learn_profile(&op.profile),
            (Ask::SuspendAgent(op), _) => self.learn_suspension(&op.agent, now),
            (Ask::ResumeAgent(op), _) => {
                self.reference.agents.get_mut(&op.agent).unwrap().suspended = false;
                self.reference.ended.agents.remove(&op.agent);
            }
            (Ask::RevokeAgentKey(op), _) => {
                let key = self.reference.agents[&op.agent].key;
                key.into_iter().for_each(|key| self.learn_dead_key(&key, now));
            }
            (Ask::Enroll(op), Granted::Identity(given)) => {
                let agent = self.learn_credential(&op.credential);
                self.learn_identity(&agent, given, None, true)?;
            }
            (Ask::Renew(_), Granted::Identity(given)) => {
                let agent = asking(request);
                let former = self.reference.agents[&agent].former;
                self.learn_identity(&agent, given, former, false)?;
            }
            (Ask::RotateKey(_), Granted::Identity(given)) => {
                let agent = asking(request);
                let former = self.reference.agents[&agent].key.map(|key| (key, now));
                self.learn_identity(&agent, given, former, false)?;
            }
            (Ask::Issue(op), Granted::Issued(issued)) => {
                let token = self.given(&issued.token)?;
                let same = token.id() == issued.hop
                    && mask(&op.scope) == mask(token.root().scope.as_ref().unwrap());
                Property::NeverExceed.holds(same, || "another scope was signed".to_owned())?;
                self.reference.meet(&token);
                self.learn_issued(request, &token);
            }
            (Ask::Revoke(revoke), _) => self.learn_revoked(revoke, now),
            (Ask::RestorePrincipal(op), Granted::Restored(restored)) => {
                self.reference.ended.principals.remove(&op.principal);
                self.reference.ended.restored.insert(op.principal.clone(), restored.at);
                self.learn_ended(entries, now, |session| session.principal == op.principal)?;
            }
            (Ask::GrantSession(op), Granted::Session(session)) => {
                let facts = SessionFacts {
                    principal: op.principal.clone(),
                    agent: Some(op.agent.clone()),
                    expires_at: session.expires_at,
                    live: true,
                    issued: Vec::new(),
                };
                self.reference.sessions.insert(session.id, facts);
            }
            (Ask::EndSessions(op), _) => self.learn_end(&op.which, entries, now)?,
            (Ask::Prune(op), _) => self.reference.floor = self.reference.floor.max(op.below),
            (Ask::CreateLegalHold(op), _) => {
                let to = op.to.unwrap_or(u64::MAX);
                self.reference.holds.insert(op.name.clone(), (op.from, to));
            }
            (Ask::RemoveLegalHold(op), _) => drop(self.reference.holds.remove(&op.name)),
            (Ask::RotateBrokerKey(_), _) => self.learn_roots(now),
            _ => {}
        }
        Ok(())
    }

    /// What the records themselves say was done: hops that are in the log, former keys that ended, uses.
    fn learn_recorded(&mut self, entries: &[Entry]) {
        for entry in entries {
            let place = entry.place.unwrap();
            match &entry.record.body {
                Body::Issued(hop) | Body::HopRecorded(hop) => {
                    self.reference.recorded.insert(hop.hop, place.index);
                }
                Body::KeyRevoked { key, .. } => self.learn_dead_key(key, place.time),
                _ => {}
            }
        }
    }

    /// A credential is spent; returns whose it was.
    fn learn_credential(&mut self, credential: &Credential) -> AgentId {
        match credential {
            Credential::JoinToken { id, .. } => {
                let invitation = self.reference.invitations.get_mut(id).unwrap();
                invitation.open = false;
                invitation.agent.clone()
            }
            Credential::Attested(shown) => {
                self.reference.spent.insert(shown.id, shown.expires_at);
                let agent = attested_agent(shown);
                let profile = shown.claim("team").unwrap();
                let new = || AgentFacts::invited(profile);
                self.reference.agents.entry(agent.clone()).or_insert_with(new);
                agent
            }
        }
    }

    fn learn_invitation(&mut self, agent: &AgentId, id: &str, expires_at: UnixMillis) {
        let facts = InvitationFacts { agent: agent.clone(), expires_at, open: true };
        self.reference.invitations.insert(id.to_owned(), facts);
    }

    fn learn_profile(&mut self, profile: &Profile) {
        let admitted = (0..PRINCIPALS.len()).map(principal);
        let admitted = admitted.filter(|name| {
            profile.principals.iter().any(|pattern| pattern.as_str() == name.as_str())
        });
        let facts = ProfileFacts {
            mask: mask(&profile.allow),
            ttl_seconds: profile.ttl_seconds_max,
            hops: profile.hops_max,
            offline_hops: profile.offline_hops_max,
            fan_out: profile.fan_out_max,
            principals: admitted.collect(),
            consent_required: profile.consent_required,
        };
        self.reference.profiles.insert(profile.name.clone(), facts);
    }

    /// An agent is stopped.
    pub(crate) fn learn_suspension(&mut self, agent: &AgentId, now: UnixMillis) {
        self.reference.agents.get_mut(agent).unwrap().suspended = true;
        self.reference.ended.agents.entry(agent.clone()).or_insert(now);
    }

    fn learn_dead_key(&mut self, key: &Thumbprint, now: UnixMillis) {
        self.reference.ended.keys.entry(*key).or_insert(now);
        for facts in self.reference.agents.values_mut().filter(|facts| facts.key == Some(*key)) {
            facts.key = None;
        }
    }

    /// An agent got an identity. The one that an agent gets that comes in again with the key that it has does not
    /// take the place of the last one.
    fn learn_identity(
        &mut self,
        agent: &AgentId,
        given: &[u8],
        former: Option<(Thumbprint, UnixMillis)>,
        enrolled: bool,
    ) -> Check {
        let token = self.given(given)?;
        let (key, origin) = (token.holder_key().thumbprint(), token.root().role.origin().unwrap());
        Property::NoImpersonation.holds(token.root().agent == *agent, || {
            format!("{agent} was given an identity of {}", token.root().agent)
        })?;
        self.reference.owners.insert(key, agent.clone());
        let facts = self.reference.agents.get_mut(agent).unwrap();
        if enrolled && facts.key == Some(key) && facts.last.is_some() {
            return Ok(());
        }
        (facts.key, facts.former) = (Some(key), former);
        facts.last = Some((origin.nonce, origin.issued_at));
        Ok(())
    }

    fn learn_issued(&mut self, request: &Request, token: &VerifiedToken) {
        let Ask::Issue(issue) = &request.ask else { return };
        let profile = &self.reference.agents[&asking(request)].profile;
        let fan_out = self.reference.profiles[profile].fan_out;
        self.reference.fan_out.insert(token.id(), fan_out);
        let (id, issued_at) = match &issue.by {
            Consent::Profile => return,
            Consent::Session(id) => (*id, token.issued_at()),
            Consent::UserToken(user) => {
                let id = user.login.id();
                let facts = self.reference.sessions.entry(id).or_insert_with(|| SessionFacts {
                    principal: user.principal.clone(),
                    agent: None,
                    expires_at: user.expires_at,
                    live: true,
                    issued: Vec::new(),
                });
                facts.live = true;
                facts.expires_at = facts.expires_at.max(user.expires_at);
                (id, user.issued_at)
            }
        };
        let session = self.reference.sessions.get_mut(&id).unwrap();
        session.issued.push((token.id(), issued_at));
        self.fresh.insert(token.id());
    }

    fn learn_revoked(&mut self, revoke: &Revoke, now: UnixMillis) {
        let ended = &mut self.reference.ended;
        match &revoke.target {
            Target::Hop(id) | Target::Delegation(id) => drop(ended.hops.entry(*id).or_insert(now)),
            Target::Agent(agent) => self.learn_suspension(agent, now),
            Target::Key(key) => self.learn_dead_key(key, now),
            Target::Principal(name) => drop(ended.principals.entry(name.clone()).or_insert(now)),
        }
    }

    /// Sessions end: what they are by `which`, and what of theirs must be ended by then.
    fn learn_end(&mut self, which: &Ending, entries: &[Entry], now: UnixMillis) -> Check {
        match which {
            Ending::Session(id) => self.learn_ended_ids(entries, now, &[*id])?,
            Ending::Principal(name) => {
                self.learn_ended(entries, now, |session| session.principal == *name)?;
            }
            Ending::Login(LoggedOut { login, issued_at, .. }) => {
                self.learn_hops_of(entries, now);
                let over = self.reference.over.entry(login.id()).or_insert(*issued_at);
                *over = (*over).max(*issued_at);
                let of_word = |token: &UnixMillis| *token <= *issued_at;
                let meant = (0..LOGINS).map(crate::cast::login);
                let meant = meant.filter(|one| one == login || one.any() == *login);
                let sessions = meant.filter_map(|one| self.reference.sessions.get(&one.id()));
                let left = sessions.flat_map(|session| &session.issued);
                let left: Vec<HopId> =
                    left.filter(|(_, token)| of_word(token)).map(|(hop, _)| *hop).collect();
                self.all_ended(&left, now)?;
            }
        }
        Ok(())
    }

    fn learn_ended(
        &mut self,
        entries: &[Entry],
        now: UnixMillis,
        means: impl Fn(&SessionFacts) -> bool,
    ) -> Check {
        let meant = self.reference.sessions.iter().filter(|(_, session)| means(session));
        let meant: Vec<_> = meant.map(|(id, _)| *id).collect();
        self.learn_ended_ids(entries, now, &meant)
    }

    fn learn_ended_ids(
        &mut self,
        entries: &[Entry],
        now: UnixMillis,
        meant: &[sublet_core::state::rows::session::SessionId],
    ) -> Check {
        self.learn_hops_of(entries, now);
        let mut issued = Vec::new();
        for id in meant {
            let Some(session) = self.reference.sessions.get_mut(id) else { continue };
            session.live = false;
            issued.extend(session.issued.iter().map(|(hop, _)| *hop));
        }
        self.all_ended(&issued, now)
    }

    /// The delegations that the records say were revoked.
    pub(crate) fn learn_hops_of(&mut self, entries: &[Entry], now: UnixMillis) {
        for entry in entries {
            if let (Body::Revoked { kind: "delegation", .. }, Some(id)) =
                (&entry.record.body, entry.record.delegation)
            {
                self.reference.ended.hops.entry(id).or_insert(now);
            }
        }
    }

    /// Whether everything that was issued in a session that has ended is ended too.
    fn all_ended(&self, issued: &[HopId], now: UnixMillis) -> Check {
        let alive = issued.iter().find(|hop| {
            // What is issued beside the decision that ends a session is in time for it: see `events`.
            !self.fresh.contains(hop)
                && self.reference.ended_since(hop).is_none()
                && now.seconds() < self.reference.expires(hop)
        });
        Property::NeverOutlive
            .holds(alive.is_none(), || format!("{alive:?} lives on after its session has ended"))
    }

    /// The broker's root keys that are tainted in the bundle of now.
    fn learn_roots(&mut self, now: UnixMillis) {
        use sublet_core::trust::bundle::KeyState;
        let keys = self.broker.ahead().trust().bundle().keys().iter();
        let tainted = keys.filter(|key| key.state == KeyState::Tainted);
        for key in tainted {
            self.reference.ended.roots.entry(key.public.thumbprint()).or_insert(now);
        }
    }
}

/// The agent that asks.
fn asking(request: &Request) -> AgentId {
    match request.who {
        Who::Agent(number, _) => agent_id(number),
        _ => unreachable!("judged before: an agent asks"),
    }
}
