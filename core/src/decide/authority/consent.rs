//! Consent: by which evidence an agent may act for a principal, and when that ends. SPEC 3.10.

use crate::base::id::{AgentId, Principal, UnixMillis};
use crate::base::limits;
use crate::decide::authority::issue::{Consent, Issue, check_principal};
use crate::decide::caller::Kind;
use crate::decide::{Context, Decision, Grant, Keeps, Operation, View};
use crate::evidence::record::{Actor, Body, Record};
use crate::refusal::Deny;
use crate::revocation::feed::Revocation;
use crate::state::rows::session::{
    DELEGATIONS_MAX, LoggedOut, Session, SessionId, Source, UserToken,
};
use crate::state::{Agent, Mutation, Precondition, Profile, RowKey};

/// How long the end of a login without delegations is kept, in milliseconds: as long as a token
/// that was issued before it may be valid.
const ENDED_MS: i64 = 26 * 3600 * 1000;

/// The consent of an issue, and what it changes.
#[derive(Default)]
pub(in crate::decide) struct Consented {
    pub(in crate::decide) session: Option<SessionId>,
    pub(in crate::decide) preconditions: Vec<Precondition>,
    pub(in crate::decide) mutation: Option<Mutation>,
    pub(in crate::decide) record: Option<Body>,
}

impl Issue {
    /// Checks that the consent suffices for this request, for its whole lifetime.
    pub(in crate::decide) fn consent(
        &self,
        cx: &Context<'_>,
        agent: &Agent,
        profile: &Profile,
    ) -> Result<Consented, Deny> {
        match &self.by {
            Consent::Profile if profile.consent_required => {
                Err(Deny::ConsentNeeded { profile: profile.name.clone() })
            }
            Consent::Profile => Ok(Consented::default()),
            Consent::UserToken(user) => self.by_user(cx, agent, user),
            Consent::Session(id) => self.by_operator(cx, agent, id),
        }
    }

    fn by_user(
        &self,
        cx: &Context<'_>,
        agent: &Agent,
        user: &UserToken,
    ) -> Result<Consented, Deny> {
        self.check_word(cx, &user.principal, user.expires_at)?;
        let (id, all) = (user.login.id(), user.login.any().id());
        let ended = |row: &&Session| row.is_over_for(user.issued_at);
        let rows = [id, all].map(|id| cx.view.state.session(&id));
        // A token that was signed before its principal was restored belongs to the time before,
        // whether it was shown then or not.
        let before = cx.view.state.ends(&user.principal, user.issued_at);
        if before || rows.iter().flatten().any(ended) {
            return Err(Deny::SessionEnded { session: id });
        }
        self.check_room(cx.view, &id, cx.now)?;
        let row = cx.view.state.session(&id);
        let known = row.filter(|row| row.token == user.id && row.live);
        let mut consent = Consented {
            session: Some(id),
            preconditions: vec![Precondition::as_read(RowKey::Session(id), row)],
            ..Consented::default()
        };
        if all != id {
            let row = cx.view.state.session(&all);
            consent.preconditions.push(Precondition::as_read(RowKey::Session(all), row));
        }
        if known.is_none() {
            // The first issue by this token: its claims are recorded once.
            let expires_at = row.map_or(user.expires_at, |row| row.expires_at.max(user.expires_at));
            consent.mutation = Some(Mutation::from(Session {
                id,
                principal: Some(user.principal.clone()),
                source: Source::Login(user.login.clone()),
                token: user.id,
                expires_at,
                began_at: match row.filter(|row| row.live) {
                    Some(row) => row.began_at.min(user.issued_at),
                    None => user.issued_at,
                },
                // An end stays: a token from before it must not be accepted after it.
                ended_at: row.and_then(|row| row.ended_at),
                over_until: row.and_then(|row| row.over_until),
                live: true,
                version: row.map_or(0, |row| row.version.saturating_add(1)),
            }));
            consent.record = Some(Body::Consented {
                session: id,
                agent: agent.id.clone(),
                principal: user.principal.clone(),
                person: Some(user.login.person()),
                token: user.id,
                detail: user.claims.clone(),
            });
        }
        Ok(consent)
    }

    fn by_operator(
        &self,
        cx: &Context<'_>,
        agent: &Agent,
        id: &SessionId,
    ) -> Result<Consented, Deny> {
        // A session of another agent gets the same answer as one that does not exist.
        let row = cx.view.state.session(id);
        let row = row.filter(|row| row.source == Source::Operator(agent.id.clone()));
        let row = row.ok_or_else(|| Deny::NotFound(format!("session {id}")))?;
        let live = row.live && cx.now < row.expires_at;
        let principal = row.principal.as_ref().filter(|_| live);
        let principal = principal.ok_or(Deny::SessionEnded { session: *id })?;
        self.check_word(cx, principal, row.expires_at)?;
        self.check_room(cx.view, id, cx.now)?;
        let preconditions = vec![Precondition::unchanged(row)];
        Ok(Consented { session: Some(*id), preconditions, ..Consented::default() })
    }

    /// Checks that the principal is that of the consent, and that the delegation does not outlive
    /// the consent.
    fn check_word(
        &self,
        cx: &Context<'_>,
        proven: &Principal,
        until: UnixMillis,
    ) -> Result<(), Deny> {
        if *proven != self.on_behalf_of || proven.realm() != cx.view.state.domain().as_str() {
            let asked = self.on_behalf_of.clone();
            return Err(Deny::PrincipalNotProven { asked, proven: proven.clone() });
        }
        let (asked, allowed) = (self.ttl_seconds, until.seconds() - cx.now.seconds());
        if asked > allowed {
            return Err(Deny::OutlivesConsent { asked, allowed: allowed.max(0) });
        }
        Ok(())
    }

    fn check_room(&self, view: View<'_>, id: &SessionId, now: UnixMillis) -> Result<(), Deny> {
        if view.state.in_session(id, now).take(DELEGATIONS_MAX).count() >= DELEGATIONS_MAX {
            return Err(Deny::SessionFull { session: *id, most: DELEGATIONS_MAX });
        }
        Ok(())
    }
}

/// Grants a session of authority, by the admin: an agent may act for a principal for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantSession {
    /// The agent.
    pub agent: AgentId,
    /// The principal.
    pub principal: Principal,
    /// The lifetime of the session, in seconds.
    pub ttl_seconds: i64,
    /// The reason, as text.
    pub reason: String,
}

impl Operation for GrantSession {
    type Granted = Session;
    const METHOD: &'static str = "/sublet.v1.Admin/GrantSession";

    fn describe(&self) -> String {
        format!("{} for {} for {} s: {}", self.agent, self.principal, self.ttl_seconds, self.reason)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Session> {
        cx.admin_only()?;
        let unknown = || Deny::UnknownAgent { agent: self.agent.clone() };
        let agent = cx.view.state.agent(&self.agent).ok_or_else(unknown)?;
        if self.principal.realm() != cx.view.state.domain().as_str() {
            return Err(Deny::NotFound(format!("principal {}", self.principal)));
        }
        if !(1..=SESSION_SECONDS_MAX).contains(&self.ttl_seconds) {
            return Err(Deny::OutOfRange("a session lives 1 second to 90 days"));
        }
        check_principal(cx.view, &self.principal, cx.now)?;
        let id = SessionId(cx.entropy.bytes("session"));
        let session = Session {
            id,
            principal: Some(self.principal.clone()),
            source: Source::Operator(agent.id.clone()),
            token: [0; 32],
            expires_at: cx.now.plus_ms(self.ttl_seconds.saturating_mul(1000)),
            began_at: cx.now,
            ended_at: None,
            over_until: None,
            live: true,
            version: 0,
        };
        let body = Body::Consented {
            session: id,
            agent: agent.id.clone(),
            principal: self.principal.clone(),
            person: None,
            token: [0; 32],
            detail: self.reason.clone(),
        };
        let guards = [Precondition::absent(RowKey::Session(id)), Precondition::unchanged(agent)];
        let grant =
            Grant::read(session.clone()).requiring(guards).changing([Mutation::from(session)]);
        let second = UnixMillis::from_seconds(cx.now.seconds());
        let grant = grant.requiring([Precondition::PrincipalAlive(self.principal.clone(), second)]);
        Ok(grant.recording(cx.caller, body))
    }
}

/// The longest lifetime of a session that the admin grants, in seconds.
const SESSION_SECONDS_MAX: i64 = 90 * 24 * 3600;

/// Which sessions end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// One session.
    Session(SessionId),
    /// All sessions of a principal, which may begin others.
    Principal(Principal),
    /// The sessions that a signed logout statement ends.
    Login(LoggedOut),
}

/// Ends sessions of authority, with everything that was issued in them. A delegation that is issued
/// concurrently is either ended by this decision, or refused after it; asked again, this ends those
/// too. The caller repeats until nothing is left, because no consent of an ended session issues
/// anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndSessions {
    /// Which sessions end.
    pub which: Ending,
    /// The reason, as text.
    pub reason: String,
}

impl Operation for EndSessions {
    /// How many sessions and how many delegations ended.
    type Granted = (u64, u64);
    const METHOD: &'static str = "/sublet.v1.Revocation/EndSessions";
    const KEEPS: Keeps = Keeps::Nothing;

    fn describe(&self) -> String {
        let which = match &self.which {
            Ending::Session(id) => format!("session {id}"),
            Ending::Principal(principal) => format!("sessions of {principal}"),
            Ending::Login(word) => word.login.to_string(),
        };
        format!("end {which}: {}", self.reason)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        self.check_caller(cx)?;
        let mut grant = Grant::read((0, 0));
        for session in cx.view.state.sessions().filter(|session| self.means(session)) {
            let over_until = self.over_until(session, cx.now);
            end(
                cx.view,
                &cx.caller.actor(),
                (session, over_until),
                &self.reason,
                cx.now,
                &mut grant,
            );
        }
        if let Ending::Login(word) = &self.which {
            remember(cx, word, &self.reason, &mut grant);
        }
        if let (Ending::Session(id), (0, _)) = (&self.which, grant.granted) {
            // Ending a session again is granted and changes nothing.
            cx.view.state.session(id).ok_or_else(|| Deny::NotFound(format!("session {id}")))?;
        }
        Ok(grant)
    }
}

impl EndSessions {
    fn check_caller(&self, cx: &Context<'_>) -> Result<(), Deny> {
        let own = match (cx.caller.kind(), &self.which) {
            (Kind::User(user), Ending::Login(LoggedOut { login, .. })) => {
                (&user.issuer, &user.subject) == (&login.issuer, &login.subject)
            }
            _ => false,
        };
        if own { Ok(()) } else { cx.admin_only() }
    }

    fn means(&self, session: &Session) -> bool {
        match &self.which {
            Ending::Session(id) => session.id == *id,
            Ending::Principal(principal) => session.principal.as_ref() == Some(principal),
            Ending::Login(word) => word.ends(session),
        }
    }

    fn over_until(&self, session: &Session, now: UnixMillis) -> UnixMillis {
        match &self.which {
            Ending::Login(word) => word.over_until(&session.id, now),
            Ending::Session(_) | Ending::Principal(_) => now,
        }
    }
}

/// Revokes the live delegations of a session, and ends the session if it is live. Its tokens that
/// were issued up to `over_until` are then invalid.
pub(in crate::decide) fn end(
    view: View<'_>,
    actor: &Actor,
    (session, over_until): (&Session, UnixMillis),
    reason: &str,
    now: UnixMillis,
    grant: &mut Grant<(u64, u64)>,
) {
    let record = |delegation, body| Record { delegation, actor: actor.clone(), body };
    let live = view.state.in_session(&session.id, now);
    let mut delegations = 0u64;
    for row in live.filter(|row| !view.is_revoked(Revocation::Hop(row.id))) {
        delegations = delegations.saturating_add(1);
        let revocation = Revocation::Hop(row.id);
        let expires_at = row.expires_at.plus_ms(limits::CLOCK_SKEW_MS);
        grant.effects.mutations.push(Mutation::Revoke { revocation, expires_at });
        let (target, reason) = (row.id.to_string(), reason.to_owned());
        let body = Body::Revoked { kind: "delegation", target, reason };
        grant.effects.records.push(record(Some(row.id), body));
    }
    grant.granted.1 = grant.granted.1.saturating_add(delegations);
    if !session.live {
        return;
    }
    grant.granted.0 = grant.granted.0.saturating_add(1);
    grant.effects.preconditions.push(Precondition::unchanged(session));
    let mut row = session.clone();
    row.ended_at = Some(now);
    row.over_until = session.over_until.or(session.ended_at).max(Some(over_until));
    row.live = false;
    row.expires_at = row.expires_at.max(now.plus_ms(ENDED_MS));
    row.version = row.version.saturating_add(1);
    grant.effects.mutations.push(Mutation::from(row));
    let (id, principal) = (session.id, session.principal.clone());
    let reason = reason.to_owned();
    let person = session.source.person();
    let body = Body::SessionEnded { session: id, principal, person, delegations, reason };
    grant.effects.records.push(record(None, body));
}

/// Revokes what is still alive in ended sessions, in the broker's own name. A broker that was
/// killed between the end of a session and the end of its delegations continues here.
pub fn sweep_sessions(view: View<'_>, actor: &Actor, now: UnixMillis) -> Grant<(u64, u64)> {
    let mut grant = Grant::read((0, 0));
    for session in view.state.sessions().filter(|session| !session.live) {
        end(view, actor, (session, now), "its session has ended", now, &mut grant);
    }
    grant
}

/// Stores the end of a login that nothing was issued in yet, or that has begun again: a token from
/// before the logout must not be accepted later. A login that began after it continues.
fn remember(cx: &Context<'_>, word: &LoggedOut, reason: &str, grant: &mut Grant<(u64, u64)>) {
    let id = word.login.id();
    let row = cx.view.state.session(&id);
    // A live session was ended with the others, and an end that is stored already is not stored
    // again.
    if row.is_some_and(|row| row.is_over_for(word.issued_at) || (row.live && word.ends(row))) {
        return;
    }
    let live = row.filter(|row| row.live);
    let ended = Session {
        id,
        principal: row.and_then(|row| row.principal.clone()),
        source: Source::Login(word.login.clone()),
        token: [0; 32],
        expires_at: cx.now,
        began_at: word.issued_at,
        ended_at: Some(cx.now),
        over_until: None,
        live: false,
        version: 0,
    };
    let mut next = live.cloned().unwrap_or(ended);
    let over_until = row.and_then(|row| row.over_until.or(row.ended_at));
    next.over_until = over_until.max(Some(remembered(word, cx.now)));
    next.expires_at = next.expires_at.max(cx.now.plus_ms(ENDED_MS));
    next.version = row.map_or(0, |row| row.version.saturating_add(1));
    grant.effects.preconditions.push(Precondition::as_read(RowKey::Session(id), row));
    grant.effects.mutations.push(Mutation::from(next));
    if live.is_none() {
        let reason = reason.to_owned();
        let (principal, person) = (None, Some(word.login.person()));
        let body = Body::SessionEnded { session: id, principal, person, delegations: 0, reason };
        grant.effects.records.push(Record { delegation: None, actor: cx.caller.actor(), body });
    }
}

/// Returns until which issue time the tokens of a login are invalid that was not shown here. If the
/// provider does not tell logins apart, a token that was issued after the logout may be of a later
/// login.
fn remembered(word: &LoggedOut, now: UnixMillis) -> UnixMillis {
    match word.login.sid.is_none() {
        true => word.issued_at,
        false => word.over_until(&word.login.id(), now),
    }
}
