//! Who asks, once it is shown. SPEC section 5, docs/FORMATS "Who may call what".
//!
//! Owns: [`Caller`] and [`Authenticated`], which can only be made from verified parts, and [`Account`]:
//! whom a call is charged to. Does not own: what the caller may do (`decide`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::evidence::record::Actor;
use crate::refusal::Unauthenticated;
use crate::state::rows::session::Login;
use crate::token::verify::{Possession, TaintedIdentity, VerifiedToken};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    inner: Inner,
    proven_at: Option<UnixMillis>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Inner {
    Admin(Thumbprint),
    Agent(Arc<VerifiedToken>),
    Tainted(Arc<TaintedIdentity>),
    Holder(Arc<VerifiedToken>),
    NewKey(PublicKey),
    User(Login),
}

/// Whom a call is charged to, where something is bounded per caller: an enrolled agent with all of its
/// helpers, or the admin. Keys of helpers cost nothing, so a key is no account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// The admin.
    Admin,
    /// The enrolled agent that answers for the call.
    Agent(AgentId),
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Account::Admin => f.write_str("admin"),
            Account::Agent(agent) => write!(f, "{agent}"),
        }
    }
}

/// What a caller is, to be matched on.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// The admin key.
    Admin,
    /// An enrolled agent, by its identity token.
    Agent(&'a VerifiedToken),
    /// An enrolled agent, by an identity of which the root was tainted: to have another one, and for
    /// nothing else.
    Tainted(&'a VerifiedToken),
    /// The holder of a delegation token, by that token.
    Holder(&'a VerifiedToken),
    /// Someone who holds a key that is nobody's yet.
    NewKey(&'a PublicKey),
    /// A user, by its identity provider's signed word: to end a session of its own, and for nothing else.
    User(&'a Login),
}

impl Caller {
    /// The admin, who holds this key.
    pub fn admin(key: &PublicKey, possession: &Possession) -> Self {
        let proven_at = Some(possession.claims().issued_at);
        Caller { inner: Inner::Admin(key.thumbprint()), proven_at }
    }

    /// Whoever holds this token: an agent by its identity, or a holder by its delegation. The
    /// possession must be of this token.
    pub fn holder(
        token: impl Into<Arc<VerifiedToken>>,
        possession: &Possession,
    ) -> Result<Self, Unauthenticated> {
        let token: Arc<VerifiedToken> = token.into();
        if possession.claims().hop != token.id() {
            return Err(Unauthenticated::Kind("the proof is of another token"));
        }
        let inner = if token.is_identity() { Inner::Agent(token) } else { Inner::Holder(token) };
        Ok(Caller { inner, proven_at: Some(possession.claims().issued_at) })
    }

    /// Whoever holds this identity, which is good to be renewed alone. The possession must be of it.
    pub fn tainted(
        identity: TaintedIdentity,
        possession: &Possession,
    ) -> Result<Self, Unauthenticated> {
        if possession.claims().hop != identity.token().id() {
            return Err(Unauthenticated::Kind("the proof is of another token"));
        }
        let proven_at = Some(possession.claims().issued_at);
        Ok(Caller { inner: Inner::Tainted(Arc::new(identity)), proven_at })
    }

    /// Someone who signed an enrollment with a new key; `message` is what must be signed.
    pub fn new_key(
        key: PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Result<Self, Unauthenticated> {
        if key.verify(message, signature) {
            Ok(Caller { inner: Inner::NewKey(key), proven_at: None })
        } else {
            Err(Unauthenticated::NewKey)
        }
    }

    /// A user whose token, or whose provider's word about it, was verified.
    pub fn user(login: Login) -> Self {
        Caller { inner: Inner::User(login), proven_at: None }
    }

    /// What the caller is.
    pub fn kind(&self) -> Kind<'_> {
        match &self.inner {
            Inner::Admin(_) => Kind::Admin,
            Inner::Agent(token) => Kind::Agent(token),
            Inner::Tainted(identity) => Kind::Tainted(identity.token()),
            Inner::Holder(token) => Kind::Holder(token),
            Inner::NewKey(key) => Kind::NewKey(key),
            Inner::User(login) => Kind::User(login),
        }
    }

    /// Whom its calls are charged to; `None` for a key that is nobody's yet, and for a user.
    pub fn account(&self) -> Option<Account> {
        match &self.inner {
            Inner::Admin(_) => Some(Account::Admin),
            Inner::Agent(token) | Inner::Holder(token) => {
                Some(Account::Agent(token.last().block().agent.clone()))
            }
            Inner::Tainted(identity) => Some(Account::Agent(identity.token().root().agent.clone())),
            Inner::NewKey(_) | Inner::User(_) => None,
        }
    }

    /// When the caller made its call proof, by its own clock; `None` where it made none.
    pub fn proven_at(&self) -> Option<UnixMillis> {
        self.proven_at
    }

    /// The key that proved the call; `None` for a user.
    pub fn key(&self) -> Option<Thumbprint> {
        match &self.inner {
            Inner::Admin(key) => Some(*key),
            Inner::Agent(token) | Inner::Holder(token) => token.thumbprints().last().copied(),
            Inner::Tainted(identity) => identity.token().thumbprints().last().copied(),
            Inner::NewKey(key) => Some(key.thumbprint()),
            Inner::User(_) => None,
        }
    }

    /// The caller as records name it, but for the last recorded holder, which the state knows.
    pub fn actor(&self) -> Actor {
        let hop = match &self.inner {
            Inner::Holder(token) => Some(token.id()),
            _ => None,
        };
        Actor { name: self.to_string(), key: self.key(), hop, recorded: None }
    }

    /// Whether it is the admin.
    pub fn is_admin(&self) -> bool {
        matches!(self.inner, Inner::Admin(_))
    }

    /// The enrolled agent that asks with its own identity.
    pub fn agent(&self) -> Option<&AgentId> {
        match &self.inner {
            Inner::Agent(token) => Some(&token.root().agent),
            _ => None,
        }
    }

    /// The identity that the caller would have another one for: its own, even if its root was tainted.
    pub fn own_identity(&self) -> Option<&VerifiedToken> {
        match &self.inner {
            Inner::Agent(token) => Some(token),
            Inner::Tainted(identity) => Some(identity.token()),
            _ => None,
        }
    }
}

/// The caller's name, as records have it.
impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.inner {
            Inner::Admin(key) => write!(f, "admin:{key}"),
            Inner::Agent(token) | Inner::Holder(token) => write!(f, "{}", token.holder()),
            Inner::Tainted(identity) => write!(f, "{}", identity.token().holder()),
            Inner::NewKey(key) => write!(f, "key:{}", key.thumbprint()),
            // A leaf names no person: who it was lies beside.
            Inner::User(login) => write!(f, "login:{}", login.issuer),
        }
    }
}

/// A request of which the caller is known.
#[derive(Clone, Debug)]
pub struct Authenticated<O> {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub operation: O,
}
