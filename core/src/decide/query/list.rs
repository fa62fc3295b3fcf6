//! Lists: pages of typed rows, decided and answered from one view. docs/FORMATS, "Who may call
//! what".
//!
//! Owns: what a page is, and which rows a caller sees. Does not own: the rows.
//!
//! Invariants: a page has at most 500 rows, in the order of their keys; the next page begins after
//! the last row of this one, even if rows were added or removed meanwhile; rows that a caller may
//! not see are left out.

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, DelegationId};
use crate::decide::caller::{Caller, Kind};
use crate::decide::{Context, Decision, Grant, Operation};
use crate::revocation::feed::Revocation;
use crate::state::rows::session::{Session, SessionId};
use crate::state::{Agent, Delegation, JoinToken, Profile};

/// The number of rows of a page whose size is not given.
const PAGE_DEFAULT: usize = 100;

/// The most rows of one page.
const PAGE_MAX: usize = 500;

/// The page of a list that is requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOf<K> {
    /// The key after which it begins; `None` for the first page.
    pub after: Option<K>,
    /// The number of rows, at most 500; 0 means 100.
    pub size: u32,
}

impl<K> PageOf<K> {
    /// Returns the page of these rows, which are after its beginning.
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
    /// The key after which the next page begins; `None` at the end.
    pub next: Option<K>,
}

/// Lists the agents, by id; for the admin.
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

/// Lists the profiles, by name; for the admin.
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

/// Lists the join tokens, without their secrets, by id; for the admin.
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

/// A session of authority in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSession {
    /// The session.
    pub session: Session,
    /// How many delegations that were issued in it have not expired.
    pub delegations: u64,
}

/// Lists the sessions of authority, by id; for the admin.
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

/// A delegation in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedDelegation {
    /// The delegation.
    pub delegation: Delegation,
    /// Whether its root is revoked.
    pub revoked: bool,
}

/// Lists the delegations that the caller may see, by id.
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

/// Returns whether a caller may see a delegation: the admin sees all, an agent those that were
/// issued to it, a holder that of its token.
pub(in crate::decide) fn may_see(caller: &Caller, row: &Delegation) -> bool {
    match caller.kind() {
        Kind::Admin => true,
        Kind::Agent(identity) => identity.root().agent == row.agent,
        Kind::Holder(token) => token.delegation() == row.id,
        Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => false,
    }
}
