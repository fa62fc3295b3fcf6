//! The caller of a request, once it is proven. SPEC section 5, docs/FORMATS "Who may call what".
//!
//! Owns: [`Caller`] and [`Authenticated`], which can only be made from verified parts, and
//! [`Account`], which a call counts for. Does not own: what the caller may do (`decide`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::evidence::record::Actor;
use crate::refusal::Unauthenticated;
use crate::state::rows::session::Login;
use crate::token::verify::{Possession, TaintedIdentity, VerifiedToken};

/// The caller of a request.
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

/// The account that a call counts for, where something is limited for each caller: an enrolled
/// agent with all of its helpers, or the admin. Keys of helpers cost nothing, so a key is no
/// account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// The admin.
    Admin,
    /// The enrolled agent that is responsible for the call.
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

/// The kind of a caller, for matching.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// The admin.
    Admin,
    /// An enrolled agent, by its identity token.
    Agent(&'a VerifiedToken),
    /// An enrolled agent, by an identity token whose root is tainted. It may only get another
    /// identity.
    Tainted(&'a VerifiedToken),
    /// The holder of a delegation token, by that token.
    Holder(&'a VerifiedToken),
    /// A caller with a key that belongs to nobody yet.
    NewKey(&'a PublicKey),
    /// A user, by a signed statement of its identity provider. It may only end its own sessions.
    User(&'a Login),
}

impl Caller {
    /// Returns the admin, who holds this key.
    pub fn admin(key: &PublicKey, possession: &Possession) -> Self {
        let proven_at = Some(possession.claims().issued_at);
        Caller { inner: Inner::Admin(key.thumbprint()), proven_at }
    }

    /// Returns the holder of this token: an agent by its identity, or a holder by its delegation.
    /// The possession must be of this token.
    pub fn holder(
        token: impl Into<Arc<VerifiedToken>>,
        possession: &Possession,
    ) -> Result<Self, Unauthenticated> {
        let token: Arc<VerifiedToken> = token.into();
        if possession.claims().hop != token.id() {
            return Err(Unauthenticated::Kind("the proof is for another token"));
        }
        let inner = if token.is_identity() { Inner::Agent(token) } else { Inner::Holder(token) };
        Ok(Caller { inner, proven_at: Some(possession.claims().issued_at) })
    }

    /// Returns the holder of this identity, which can only be renewed. The possession must be of
    /// it.
    pub fn tainted(
        identity: TaintedIdentity,
        possession: &Possession,
    ) -> Result<Self, Unauthenticated> {
        if possession.claims().hop != identity.token().id() {
            return Err(Unauthenticated::Kind("the proof is for another token"));
        }
        let proven_at = Some(possession.claims().issued_at);
        Ok(Caller { inner: Inner::Tainted(Arc::new(identity)), proven_at })
    }

    /// Returns a caller that signed an enrollment with a new key. `message` is what must be signed.
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

    /// Returns a user whose token, or whose provider's statement, was verified.
    pub fn user(login: Login) -> Self {
        Caller { inner: Inner::User(login), proven_at: None }
    }

    /// Returns the kind of the caller.
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

    /// Returns the account that its calls count for; `None` for a key that belongs to nobody yet,
    /// and for a user.
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

    /// Returns when the caller made its call proof, by its own clock; `None` when it made none.
    pub fn proven_at(&self) -> Option<UnixMillis> {
        self.proven_at
    }

    /// Returns the thumbprint of the key that proved the call; `None` for a user.
    pub fn key(&self) -> Option<Thumbprint> {
        match &self.inner {
            Inner::Admin(key) => Some(*key),
            Inner::Agent(token) | Inner::Holder(token) => token.thumbprints().last().copied(),
            Inner::Tainted(identity) => identity.token().thumbprints().last().copied(),
            Inner::NewKey(key) => Some(key.thumbprint()),
            Inner::User(_) => None,
        }
    }

    /// Returns the caller as records name it, without the last recorded holder, which only the
    /// state knows.
    pub fn actor(&self) -> Actor {
        let hop = match &self.inner {
            Inner::Holder(token) => Some(token.id()),
            _ => None,
        };
        Actor { name: self.to_string(), key: self.key(), hop, recorded: None }
    }

    /// Returns whether it is the admin.
    pub fn is_admin(&self) -> bool {
        matches!(self.inner, Inner::Admin(_))
    }

    /// Returns the enrolled agent that calls with its own identity; `None` for any other caller.
    pub fn agent(&self) -> Option<&AgentId> {
        match &self.inner {
            Inner::Agent(token) => Some(&token.root().agent),
            _ => None,
        }
    }

    /// Returns the caller's own identity, which another one would replace, even if its root is
    /// tainted; `None` for any other caller.
    pub fn own_identity(&self) -> Option<&VerifiedToken> {
        match &self.inner {
            Inner::Agent(token) => Some(token),
            Inner::Tainted(identity) => Some(identity.token()),
            _ => None,
        }
    }
}

/// The caller's name in records.
impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.inner {
            Inner::Admin(key) => write!(f, "admin:{key}"),
            Inner::Agent(token) | Inner::Holder(token) => write!(f, "{}", token.holder()),
            Inner::Tainted(identity) => write!(f, "{}", identity.token().holder()),
            Inner::NewKey(key) => write!(f, "key:{}", key.thumbprint()),
            // A leaf names no person; the payload does.
            Inner::User(login) => write!(f, "login:{}", login.issuer),
        }
    }
}

/// A request whose caller is proven.
#[derive(Clone, Debug)]
pub struct Authenticated<O> {
    /// The caller.
    pub caller: Caller,
    /// The operation.
    pub operation: O,
}
