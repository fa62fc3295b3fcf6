//! May this have been granted? P1, P2, P3 and the bounds, asked of the reference at the moment of the commit.
//!
//! Each rule is a necessary one: what breaks it must not be granted. The core may refuse more.

use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::{Caller, Kind};
use sublet_core::decide::{Consent, Credential, Ending, Enroll, Issue, Revoke, Target};
use sublet_core::token::verify::VerifiedToken;

use crate::ask::{Ask, Request, Who};
use crate::broker::HOPS_LIVE_MAX;
use crate::cast::{PROFILES, agent_id, attested_agent, mask};
use crate::property::{Check, Property};
use crate::reference::{HopFacts, Reference, same_holder};
use crate::world::World;

const P1: Property = Property::NeverExceed;
const P2: Property = Property::NeverOutlive;
const P3: Property = Property::NoImpersonation;

impl World {
    /// Whether what was granted and changes something may be.
    pub(crate) fn judge(&self, request: &Request, caller: &Caller, now: UnixMillis) -> Check {
        self.judge_caller(request, caller)?;
        let admin = matches!(request.who, Who::Admin);
        match &request.ask {
            Ask::Issue(issue) => self.judge_issue(request, issue, now),
            Ask::Delegate(op) => {
                let before = op.token.signed_blocks().len().checked_sub(2);
                let maker = before.and_then(|before| op.token.id_at(before));
                let is_maker = maker.is_some_and(|maker| self.is_party(&request.who, &[maker]));
                P3.holds(is_maker, || "one that is not the holder delegates".to_owned())?;
                self.judge_hops(&op.token, now, true)
            }
            Ask::RecordHop(op) => {
                let ids: Vec<HopId> = op.token.hops().map(|(id, _)| id).collect();
                let in_chain = self.is_party(&request.who, &ids);
                P3.holds(in_chain, || "an outsider records a chain".to_owned())?;
                self.judge_hops(&op.token, now, true)
            }
            Ask::Revoke(revoke) => self.judge_revoke(request, revoke, now),
            Ask::Enroll(enroll) => self.judge_enroll(request, enroll, now),
            Ask::Renew(_) => self.judge_identity(request),
            Ask::RotateKey(op) => {
                let taken = self.reference.owners.contains_key(&op.new_key.thumbprint());
                P3.holds(!taken, || "a key becomes an agent's that was one's before".to_owned())?;
                let dead = self.reference.ended.keys.contains_key(&op.new_key.thumbprint());
                P2.holds(!dead, || "a key that was revoked becomes an agent's".to_owned())?;
                self.judge_identity(request)
            }
            Ask::EndSessions(end) => {
                let own = match (&request.who, &end.which) {
                    (Who::User(login), Ending::Login(word)) => {
                        crate::cast::login(*login).subject == word.login.subject
                    }
                    _ => false,
                };
                P3.holds(admin || own, || "another's session is ended".to_owned())
            }
            Ask::Erase(erase) => {
                let held = self.reference.holds.values();
                let free = held.clone().all(|(from, to)| !(*from..*to).contains(&erase.index));
                Property::Agreement.holds(free && admin, || "a held record is erased".to_owned())
            }
            Ask::RevokeFormerKeys(_) | Ask::ReportUses(_) | Ask::ReportVerifierState(_) => {
                P3.holds(matches!(request.who, Who::Agent(..)), || "no agent".to_owned())
            }
            _ => P3.holds(admin, || format!("{request} by another than the admin")),
        }
    }

    /// Whether a caller acts with a token that is alive, and an agent with its current key.
    pub(crate) fn is_caller_alive(
        &self,
        request: &Request,
        caller: &Caller,
        now: UnixMillis,
    ) -> bool {
        match caller.kind() {
            Kind::Holder(token) => self.reference.is_alive(&token.id(), now),
            Kind::Agent(token) => self.reference.is_identity_alive(token, now),
            Kind::Tainted(_) => matches!(request.ask, Ask::Renew(_) | Ask::RotateKey(_)),
            Kind::Admin | Kind::NewKey(_) | Kind::User(_) => true,
        }
    }

    /// Nothing of a caller's token was revoked since it was decided. That an agent has changed its key since is no
    /// revocation (SPEC 7.2.3).
    fn judge_caller(&self, request: &Request, caller: &Caller) -> Check {
        let alive = match caller.kind() {
            Kind::Holder(token) => self.reference.ended_since(&token.id()).is_none(),
            Kind::Agent(token) => !self.reference.is_identity_revoked(token),
            Kind::Tainted(_) | Kind::Admin | Kind::NewKey(_) | Kind::User(_) => true,
        };
        P2.holds(alive, || format!("a caller that was revoked is granted: {request}"))
    }

    fn judge_issue(&self, request: &Request, issue: &Issue, now: UnixMillis) -> Check {
        let Who::Agent(number, _) = request.who else {
            return Err(P3.broken("no agent is issued to"));
        };
        let agent = agent_id(number);
        let facts = &self.reference.agents[&agent];
        let profile = &self.reference.profiles[&facts.profile];
        let within = mask(&issue.scope) & !profile.mask == 0
            && issue.hops <= profile.hops
            && issue.offline_hops <= profile.offline_hops
            && profile.principals.contains(&issue.on_behalf_of);
        P1.holds(within, || format!("{request}: more than {profile:?}"))?;
        P2.holds(issue.ttl_seconds <= profile.ttl_seconds, || {
            "longer than the profile".to_owned()
        })?;
        let ended = &self.reference.ended;
        let second = now.seconds() * 1000;
        let back = ended.restored.get(&issue.on_behalf_of).is_none_or(|at| second > at.0);
        let gone = ended.principals.contains_key(&issue.on_behalf_of);
        P2.holds(!gone && back, || format!("issued for {}, which is revoked", issue.on_behalf_of))?;
        let until = match &issue.by {
            Consent::Profile => {
                P3.holds(!profile.consent_required, || "nobody consented".to_owned())?;
                i64::MAX
            }
            Consent::Session(id) => {
                let session = self.reference.sessions.get(id);
                let session = session.ok_or_else(|| P3.broken("no such session"))?;
                let own = session.agent.as_ref() == Some(&agent)
                    && session.principal == issue.on_behalf_of;
                P3.holds(own, || "another agent's or principal's session".to_owned())?;
                P2.holds(session.live, || "a session that has ended".to_owned())?;
                session.expires_at.seconds()
            }
            Consent::UserToken(user) => {
                P3.holds(user.principal == issue.on_behalf_of, || {
                    "another user's token".to_owned()
                })?;
                for id in [user.login.id(), user.login.any().id()] {
                    let over = self.reference.over.get(&id);
                    P2.holds(over.is_none_or(|until| user.issued_at > *until), || {
                        format!("a token of a login that is over: {}", user.login)
                    })?;
                }
                user.expires_at.seconds()
            }
        };
        P2.holds(now.seconds() + issue.ttl_seconds <= until, || {
            "longer than the consent".to_owned()
        })
    }

    /// Every hop of a chain that is not recorded yet is narrower than the one before it, and goes to whom it may.
    fn judge_hops(&self, token: &VerifiedToken, now: UnixMillis, alive: bool) -> Check {
        let reference = &self.reference;
        if alive {
            P2.holds(reference.is_alive(&token.id(), now), || {
                format!("a hop of a chain that is over or revoked: {}", token.id())
            })?;
        }
        let known = reference.recorded.contains_key(&token.delegation());
        P3.holds(known, || "a hop of a delegation that was not issued here".to_owned())?;
        let chain = reference.chain(&token.id());
        for pair in chain.windows(2).filter(|pair| !reference.recorded.contains_key(&pair[1].id)) {
            judge_hop(reference, pair[0], pair[1], now)?;
        }
        Ok(())
    }

    fn judge_revoke(&self, request: &Request, revoke: &Revoke, now: UnixMillis) -> Check {
        let admin = matches!(request.who, Who::Admin);
        let (Target::Hop(id) | Target::Delegation(id)) = &revoke.target else {
            return P3.holds(admin, || "only the admin revokes this".to_owned());
        };
        let facts = self.reference.hops.get(id);
        let parent = facts.and_then(|facts| facts.parent);
        let party = admin
            || self.is_party(
                &request.who,
                &[Some(*id), parent].into_iter().flatten().collect::<Vec<_>>(),
            );
        P3.holds(party, || format!("{request}: neither its holder nor its maker"))?;
        // One that was shown and not recorded is recorded with it.
        let shown = revoke.chain.as_ref().filter(|_| !self.reference.recorded.contains_key(id));
        let prefix = shown.and_then(|chain| {
            let position = chain.hops().position(|(hop, _)| hop == *id)?;
            chain.prefix(position)
        });
        match prefix {
            Some(chain) if !admin => self.judge_hops(&chain, now, false),
            _ => Ok(()),
        }
    }

    fn judge_enroll(&self, request: &Request, enroll: &Enroll, now: UnixMillis) -> Check {
        let Who::NewKey(number) = &request.who else { return Err(P3.broken("no new key enrolls")) };
        let key = self.keys.of(*number).public_key().thumbprint();
        let named = match &enroll.credential {
            Credential::JoinToken { id, .. } => {
                let invitation = self.reference.invitations.get(id);
                let invitation = invitation.ok_or_else(|| P3.broken("a join token nobody made"))?;
                P3.holds(invitation.open && now < invitation.expires_at, || {
                    format!("a join token that is spent or over: {invitation:?}")
                })?;
                invitation.agent.clone()
            }
            Credential::Attested(shown) => {
                let good = !self.reference.spent.contains_key(&shown.id) && now < shown.expires_at;
                P3.holds(good, || "another's token that is spent or over".to_owned())?;
                attested_agent(shown)
            }
        };
        let dead = self.reference.ended.keys.contains_key(&key);
        P2.holds(!dead, || "a key that was revoked becomes an agent's".to_owned())?;
        let agent = self.reference.agents.get(&named);
        P2.holds(agent.is_none_or(|agent| !agent.suspended), || format!("{named} is suspended"))?;
        if let Credential::Attested(shown) = &enroll.credential {
            let team = shown.claim("team");
            P3.holds(agent.is_none_or(|agent| team == Some(&agent.profile)), || {
                format!("{named} comes in by the word about another team")
            })?;
            // One rule alone lets an agent come in again with another key while it has one.
            let keeps = agent.is_some_and(|agent| agent.key.is_some_and(|held| held != key));
            P3.holds(!keeps || team == Some(PROFILES[0]), || format!("{named} gets another key"))?;
        }
        let own = agent.is_some_and(|agent| agent.key == Some(key));
        P3.holds(own || !self.reference.owners.contains_key(&key), || {
            "a key becomes an agent's that was one's before".to_owned()
        })
    }

    /// Only the identity that was given last, under the current key, is renewed; or a younger one.
    fn judge_identity(&self, request: &Request) -> Check {
        let Who::Agent(number, _) = request.who else { return Err(P3.broken("no agent")) };
        let shown = self.shown(&request.who).unwrap();
        let facts = &self.reference.agents[&agent_id(number)];
        let origin = shown.token.root().role.origin().unwrap();
        let last =
            facts.last.is_none_or(|(nonce, at)| nonce == origin.nonce || origin.issued_at > at);
        let current = facts.key == Some(shown.token.holder_key().thumbprint());
        P3.holds(last && current && !facts.suspended, || {
            format!("a copy of an identity: {request}")
        })
    }

    /// Whether someone holds one of these hops: an agent by its name, a holder by its token.
    fn is_party(&self, who: &Who, hops: &[HopId]) -> bool {
        hops.iter().filter_map(|id| self.reference.hops.get(id)).any(|facts| match who {
            Who::Agent(number, _) => facts.helper.is_none() && facts.agent == agent_id(*number),
            Who::Holder(_) => self.shown(who).is_some_and(|held| held.token.id() == facts.id),
            Who::Admin | Who::NewKey(_) | Who::User(_) => false,
        })
    }

    /// The bounds of each agent and hop, as the state is now: none is over its own.
    pub(crate) fn judge_bounds(&self) -> Check {
        let state = self.broker.ahead();
        let kept = self.reference.recorded.keys().filter(|id| state.hop(id).is_some());
        let mut made = std::collections::HashMap::new();
        let mut followers = std::collections::HashMap::new();
        for facts in kept.filter_map(|id| self.reference.hops.get(id)) {
            let parent = facts.parent.and_then(|parent| self.reference.hops.get(&parent));
            *made.entry(parent.map_or(&facts.agent, |parent| &parent.agent)).or_insert(0u32) += 1;
            if let Some(parent) = facts.parent {
                *followers.entry((parent, facts.delegation)).or_insert(0u32) += 1;
            }
        }
        for agent in self.reference.agents.keys() {
            let (count, held) = (made.get(agent).copied().unwrap_or(0), state.hops_of(agent));
            Property::Isolation.holds(count == held && held <= HOPS_LIVE_MAX, || {
                format!("{agent} has made {count} hops that live, {held} are counted for it")
            })?;
        }
        for ((parent, delegation), count) in followers {
            let (held, allowed) = (state.followers(&parent), self.reference.fan_out[&delegation]);
            Property::Isolation.holds(count == held && count <= allowed, || {
                format!("{count} hops follow {parent}, {held} are counted, {allowed} may")
            })?;
        }
        Ok(())
    }
}

fn judge_hop(reference: &Reference, parent: &HopFacts, child: &HopFacts, now: UnixMillis) -> Check {
    let narrower = child.mask & !parent.mask == 0
        && child.hops_max <= parent.hops_max
        && child.offline_max <= parent.offline_max
        && child.position <= parent.hops_max;
    P1.holds(narrower, || format!("{child:?} is wider than {parent:?}"))?;
    P2.holds(child.not_after <= parent.not_after, || {
        format!("hop {} ends at {}, its source at {}", child.id, child.not_after, parent.not_after)
    })?;
    if same_holder(parent, child) {
        return Ok(());
    }
    let goes = match child.helper {
        Some(_) => !reference.owners.contains_key(&child.key),
        None => {
            reference.is_active(&child.agent) && reference.has_key(&child.agent, &child.key, now)
        }
    };
    P3.holds(goes, || format!("a hop in the name of {} to a key that is not its own", child.agent))
}
