//! Requests of each kind, drawn so that most are granted and some are refused for each reason.

use sublet_core::decide::{
    Consent, Delegate, EndSessions, Ending, GrantSession, Inspect, Issue, ListDelegations, PageOf,
    RecordHop, Renew, ReportVerifierState, RestorePrincipal, Revoke, RevokeFormerKeys, RotateKey,
    Target,
};
use sublet_core::revocation::feed::FeedPosition;
use sublet_core::state::rows::session::{LoggedOut, SessionId, UserToken};
use sublet_core::token::verify::VerifiedToken;

use crate::ask::{Ask, Request, Who};
use crate::cast::{AGENT_COUNT, Cap, LOGINS, PRINCIPALS, agent_id, login, principal, scope_of};
use crate::world::World;

pub(crate) const REASON: &str = "the model";

impl World {
    pub(crate) fn admin(&self, ask: Ask) -> Request {
        Request { who: Who::Admin, ask, keyed: None }
    }

    pub(crate) fn by(&self, who: Who, ask: Ask) -> Request {
        Request { who, ask, keyed: None }
    }

    pub(crate) fn issue(&mut self, agent: usize) -> Request {
        let Some(who) = self.agent(agent) else { return self.rejoin(agent) };
        let alive = self
            .shown(&who)
            .is_some_and(|shown| self.reference.is_identity_alive(&shown.token, self.broker_now()));
        if !alive && !self.dice.one_in(8) {
            return self.rejoin(agent);
        }
        let name = self.dice.below(PRINCIPALS.len());
        let (by, on_behalf_of) = self.consent(agent, principal(name));
        let issue = Issue {
            on_behalf_of,
            scope: self.issue_scope(agent),
            ttl_seconds: self.dice.pick(&[20, 900, 1_800, 1_800, 1_800, 1_800, 8_000]),
            hops: self.dice.pick(&[3, 5, 5, 5, 5, 9]),
            offline_hops: self.dice.pick(&[0, 1, 1, 1, 1, 4]),
            by,
        };
        let keyed = self.dice.one_in(3).then(|| self.nonce().0);
        Request { who, ask: Ask::Issue(issue), keyed }
    }

    /// A scope that the agent's profile most often allows.
    fn issue_scope(&mut self, agent: usize) -> sublet_core::capability::Scope {
        match (agent % 3, self.dice.below(6)) {
            (_, 0) => self.draw_scope(),
            (1, _) => scope_of(&[Cap {
                action: "fs.read",
                folder: self.dice.pick(&["/data", "/data/q3"]),
            }]),
            _ => {
                let below =
                    Cap { action: "fs.", folder: self.dice.pick(&["/data", "/data", "/data/q3"]) };
                scope_of(&[below, Cap { action: "fs.read", folder: "/logs" }])
            }
        }
    }

    /// By whose word: the profile's, that of an operator's session, or the user's own.
    fn consent(
        &mut self,
        agent: usize,
        name: sublet_core::base::id::Principal,
    ) -> (Consent, sublet_core::base::id::Principal) {
        let strict = agent % 3 == 2;
        match self.dice.below(if strict { 2 } else { 5 }) {
            0 => {
                let of = |id: &&SessionId| {
                    let session = self.reference.sessions.get(*id);
                    session.is_some_and(|session| session.agent == Some(agent_id(agent)))
                };
                let last = self.sessions.iter().rev().find(of).copied();
                match last
                    .and_then(|id| Some((id, self.reference.sessions.get(&id)?.principal.clone())))
                {
                    Some((id, name)) => (Consent::Session(id), name),
                    None => (Consent::Profile, name),
                }
            }
            1 => {
                let user = self.user_token();
                let name = if self.dice.one_in(10) { name } else { user.principal.clone() };
                (Consent::UserToken(Box::new(user)), name)
            }
            _ => (Consent::Profile, name),
        }
    }

    fn user_token(&mut self) -> UserToken {
        let login = login(self.dice.below(LOGINS));
        let issued_at = self.broker_now().plus_ms(-1_000 * self.dice.pick(&[0, 5, 60, 600]));
        let text = format!("{login} {:?} {}", login.sid, issued_at.0);
        UserToken {
            principal: format!("user:{}@acme.example", login.subject).parse().unwrap(),
            login,
            issued_at,
            expires_at: issued_at.plus_ms(3_600_000),
            id: sublet_core::base::bytes::sha256(text.as_bytes()),
            claims: "{}".into(),
        }
    }

    /// The last token that is not recorded, and the one that may record it.
    pub(crate) fn delegation(&mut self) -> Request {
        let Some(number) = self.unrecorded() else { return self.issue_any() };
        let token = self.wallet[number].token.clone();
        let who = if self.dice.one_in(10) { self.anybody() } else { self.maker(&token) };
        self.by(who, Ask::Delegate(Delegate { token }))
    }

    /// Another hop under the same parent, if somebody has made one.
    pub(crate) fn sibling(&mut self, token: &VerifiedToken) -> Request {
        let before = usize::try_from(token.depth()).unwrap().checked_sub(1);
        let parent = before.and_then(|before| token.id_at(before));
        let siblings = self.wallet.iter().rev().take(60).find(|held| {
            let other = &held.token;
            let above = usize::try_from(other.depth()).unwrap().checked_sub(1);
            let recorded = self.reference.recorded.contains_key(&other.id());
            above.and_then(|above| other.id_at(above)) == parent
                && other.id() != token.id()
                && !recorded
        });
        match siblings.map(|held| held.token.clone()) {
            Some(token) => {
                let who = self.maker(&token);
                self.by(who, Ask::Delegate(Delegate { token }))
            }
            None => self.delegation(),
        }
    }

    pub(crate) fn recording(&mut self) -> Request {
        let number = match self.dice.one_in(4) {
            true => self.held(30),
            false => self.unrecorded(),
        };
        let Some(number) = number else { return self.issue_any() };
        let token = self.wallet[number].token.clone();
        let who = if self.dice.one_in(4) { self.anybody() } else { Who::Holder(number) };
        self.by(who, Ask::RecordHop(RecordHop { token }))
    }

    fn issue_any(&mut self) -> Request {
        let agent = self.dice.below(AGENT_COUNT);
        self.issue(agent)
    }

    /// One of the last tokens that are not recorded; rarely any.
    fn unrecorded(&mut self) -> Option<usize> {
        if self.dice.one_in(8) {
            return self.held(30);
        }
        let dead_too = self.dice.one_in(8);
        let recent = self.wallet.iter().enumerate().rev().take(100);
        let open: Vec<usize> = recent
            .filter(|(_, held)| {
                let id = held.token.id();
                let alive = dead_too || self.reference.is_alive(&id, self.now);
                alive && !self.reference.recorded.contains_key(&id)
            })
            .map(|(number, _)| number)
            .take(8)
            .collect();
        (!open.is_empty()).then(|| self.dice.pick(&open))
    }

    /// Whoever made the last hop of a chain: by the token before it, or by its identity.
    fn maker(&mut self, token: &VerifiedToken) -> Who {
        let Some(before) = usize::try_from(token.depth()).unwrap().checked_sub(1) else {
            return self.anybody();
        };
        let parent = token.id_at(before).unwrap();
        let facts = &self.reference.hops[&parent];
        let agent = (0..AGENT_COUNT).find(|agent| agent_id(*agent) == facts.agent).unwrap();
        let by_name = facts.helper.is_none();
        match self.holder_of(&parent) {
            Some(held) if !by_name || self.dice.one_in(2) => Who::Holder(held),
            _ => self.agent(agent).unwrap_or(Who::Admin),
        }
    }

    /// Something of a chain is revoked: a hop of it, its principal, a key, an agent.
    pub(crate) fn rival_of_chain(&mut self, token: &VerifiedToken, kind: usize) -> Request {
        let hop = self.dice.below(token.signed_blocks().len());
        let target = match kind {
            1 => token.principal().cloned().map(Target::Principal),
            3 => token.thumbprints().get(hop).copied().map(Target::Key),
            4 => token
                .signed_blocks()
                .get(hop)
                .map(|block| Target::Agent(block.block().agent.clone())),
            _ => token.id_at(hop).map(Target::Hop),
        };
        let target = target.unwrap_or(Target::Hop(token.id()));
        self.admin(Ask::Revoke(Revoke { target, reason: REASON.into(), chain: None }))
    }

    pub(crate) fn revocation_of(&mut self, held: usize) -> Request {
        let target = Target::Hop(self.wallet[held].token.id());
        self.admin(Ask::Revoke(Revoke { target, reason: REASON.into(), chain: None }))
    }

    pub(crate) fn revocation(&mut self) -> Request {
        let revoke = |target, chain| Ask::Revoke(Revoke { target, reason: REASON.into(), chain });
        let number = self.held(40);
        let name = principal(self.dice.below(PRINCIPALS.len()));
        match (self.dice.below(20), number) {
            (0, _) => self.admin(revoke(Target::Principal(name), None)),
            (1..4, _) => {
                let name = self
                    .reference
                    .ended
                    .principals
                    .keys()
                    .min_by_key(|name| name.as_str())
                    .cloned()
                    .unwrap_or(name);
                self.admin(Ask::RestorePrincipal(RestorePrincipal {
                    principal: name,
                    reason: REASON.into(),
                }))
            }
            (4, Some(number)) => {
                let key = self.wallet[number].token.thumbprints().last().copied().unwrap();
                self.admin(revoke(Target::Key(key), None))
            }
            (5, _) => {
                let agent = self.dice.below(AGENT_COUNT);
                self.admin(revoke(Target::Agent(agent_id(agent)), None))
            }
            (kind, Some(number)) => {
                let token = self.wallet[number].token.clone();
                let target = match kind {
                    6 => Target::Delegation(token.delegation()),
                    _ => Target::Hop(token.id()),
                };
                let chain = (!self.dice.one_in(3)).then(|| token.clone());
                let who = match kind {
                    6..9 => self.anybody(),
                    9..12 => Who::Admin,
                    12..16 => Who::Holder(number),
                    _ => self.maker(&token),
                };
                self.by(who, revoke(target, chain))
            }
            _ => self.issue_any(),
        }
    }

    /// An agent looks after itself.
    pub(crate) fn of_agent(&mut self) -> Request {
        let agent = self.dice.below(AGENT_COUNT);
        let Some(who) = self.agent(agent) else { return self.rejoin(agent) };
        if !self.reference.is_active(&agent_id(agent)) {
            return self.rejoin(agent);
        }
        let ask = match self.dice.below(12) {
            0..5 => Ask::Renew(Renew),
            5..8 => Ask::RotateKey(RotateKey { new_key: self.public_key() }),
            8 => Ask::RevokeFormerKeys(RevokeFormerKeys { reason: REASON.into() }),
            9 => Ask::ListDelegations(ListDelegations(PageOf { after: None, size: 0 })),
            _ => match self.dice.recent(self.wallet.len(), 20) {
                Some(number) => Ask::Inspect(Inspect { token: self.wallet[number].token.clone() }),
                None => Ask::Renew(Renew),
            },
        };
        self.by(who, ask)
    }

    pub(crate) fn of_sessions(&mut self) -> Request {
        let session = self.dice.recent(self.sessions.len(), 8).map(|number| self.sessions[number]);
        let number = self.dice.below(LOGINS);
        let end = |which| Ask::EndSessions(EndSessions { which, reason: REASON.into() });
        let issued_at = self.broker_now().plus_ms(-1_000 * self.dice.pick(&[0, 5, 60]));
        let word = LoggedOut { login: login(number), issued_at, own: self.dice.one_in(2) };
        match (self.dice.below(10), session) {
            (0..5, _) | (5..7, None) => {
                let granted = GrantSession {
                    agent: agent_id(self.dice.below(AGENT_COUNT)),
                    principal: principal(self.dice.below(PRINCIPALS.len())),
                    ttl_seconds: self.dice.pick(&[60, 900, 7_200]),
                    reason: REASON.into(),
                };
                self.admin(Ask::GrantSession(granted))
            }
            (5..7, Some(id)) => self.admin(end(Ending::Session(id))),
            (7, _) => {
                let name = principal(self.dice.below(PRINCIPALS.len()));
                self.admin(end(Ending::Principal(name)))
            }
            (8, _) => self.by(Who::User(number), end(Ending::Login(word))),
            _ => {
                let who = self.anybody();
                self.by(who, end(Ending::Login(word)))
            }
        }
    }

    pub(crate) fn of_state(&mut self) -> Ask {
        let position = self.tool.position();
        let sequence = position.sequence.saturating_sub(u64::try_from(self.dice.below(3)).unwrap());
        Ask::ReportVerifierState(ReportVerifierState {
            revocations: FeedPosition::new(position.epoch, sequence),
            head: None,
        })
    }
}
