//! Lists: pages of typed rows, decided and answered from one view. docs/FORMATS, "Who may call what".
//!
//! Owns: what a page is, and which rows a caller sees. Does not own: the rows.
//!
//! Invariants: a page has at most 500 rows, in the order of their keys; the next page begins behind the
//! last row of this one, also where rows came or went meanwhile; what a caller may not see is not there.

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, DelegationId};
use crate::decide::caller::{Caller, Kind};
use crate::decide::{Context, Decision, Grant, Operation};
use crate::revocation::feed::Revocation;
use crate::state::rows::session::{Session, SessionId};
use crate::state::{Agent, Delegation, JoinToken, Profile};

/// Rows on a page of which nobody says how large it is.
const PAGE_DEFAULT: usize = 100;

/// Rows on one page.
const PAGE_MAX: usize = 500;

/// Which page of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOf<K> {
    /// The key behind which it begins; `None` for the first page.
    pub after: Option<K>,
    /// How many rows, at most 500; 0 means 100.
    pub size: u32,
}

impl<K> PageOf<K> {
    /// The page of rows that are behind its beginning already.
    fn take<T>(&self, mut rows: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> Page<T, K> {
        let size = usize::try_from(self.size).unwrap_or(PAGE_MAX);
        let size = if size == 0 { PAGE_DEFAULT } else { size.min(PAGE_MAX) };
        let page: Vec<T> = rows.by_ref().take(size).collect();
        let next = rows.next().and(page.last()).map(key);
        Page { rows: page, next }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T, K> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<K>,
}

/// The agents, by id; for the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAgents(pub PageOf<AgentId>);

impl Operation for ListAgents {
    type Granted = Page<Agent, AgentId>;
    const METHOD: &'static str = "/sublet.v1.Admin/ListAgents";

    fn describe(&self) -> String {
        "a list of agents".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        cx.admin_only()?;
        let rows = cx.view.state.agents_after(self.0.after.as_ref()).cloned();
        Ok(Grant::read(self.0.take(rows, |row| row.id.clone())))
    }
}

/// The profiles, by name; for the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListProfiles(pub PageOf<String>);

impl Operation for ListProfiles {
    type Granted = Page<Profile, String>;
    const METHOD: &'static str = "/sublet.v1.Admin/ListProfiles";

    fn describe(&self) -> String {
        "a list of profiles".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        cx.admin_only()?;
        let rows = cx.view.state.profiles_after(self.0.after.as_deref()).cloned();
        Ok(Grant::read(self.0.take(rows, |row| row.name.clone())))
    }
}

/// The join tokens, without their secrets, by id; for the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListJoinTokens(pub PageOf<String>);

impl Operation for ListJoinTokens {
    type Granted = Page<JoinToken, String>;
    const METHOD: &'static str = "/sublet.v1.Admin/ListJoinTokens";

    fn describe(&self) -> String {
        "a list of join tokens".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        cx.admin_only()?;
        let rows = cx.view.state.join_tokens_after(self.0.after.as_deref()).cloned();
        Ok(Grant::read(self.0.take(rows, |row| row.id.clone())))
    }
}

/// A session of authority, as a list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSession {
    /// The session.
    pub session: Session,
    /// How many delegations that were issued in it are not over.
    pub delegations: u64,
}

/// The sessions of authority, by id; for the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSessions(pub PageOf<SessionId>);

impl Operation for ListSessions {
    type Granted = Page<ListedSession, SessionId>;
    const METHOD: &'static str = "/sublet.v1.Admin/ListSessions";

    fn describe(&self) -> String {
        "a list of sessions".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        cx.admin_only()?;
        let rows = cx.view.state.sessions_after(self.0.after.as_ref()).map(|row| ListedSession {
            session: row.clone(),
            delegations: cx.view.state.in_session(&row.id, cx.now).count() as u64,
        });
        Ok(Grant::read(self.0.take(rows, |row| row.session.id)))
    }
}

/// A delegation, as a list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedDelegation {
    /// The delegation.
    pub delegation: Delegation,
    /// Whether its root was revoked.
    pub revoked: bool,
}

/// The delegations that the caller may see, by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListDelegations(pub PageOf<DelegationId>);

impl Operation for ListDelegations {
    type Granted = Page<ListedDelegation, DelegationId>;
    const METHOD: &'static str = "/sublet.v1.Delegation/ListDelegations";

    fn describe(&self) -> String {
        "a list of delegations".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        let seen = cx.view.state.delegations_after(self.0.after);
        let seen = seen.filter(|row| may_see(cx.caller, row)).map(|row| ListedDelegation {
            delegation: row.clone(),
            revoked: cx.view.is_revoked(Revocation::Hop(row.id)),
        });
        Ok(Grant::read(self.0.take(seen, |row| row.delegation.id)))
    }
}

/// The admin sees all, an agent what was issued to it, a holder the delegation of its token.
pub(in crate::decide) fn may_see(caller: &Caller, row: &Delegation) -> bool {
    match caller.kind() {
        Kind::Admin => true,
        Kind::Agent(identity) => identity.root().agent == row.agent,
        Kind::Holder(token) => token.delegation() == row.id,
        Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => false,
    }
}
