//! Who asks, once it is shown. SPEC section 5, docs/FORMATS "Who may call what".
//!
//! Owns: [`Caller`] and [`Authenticated`], which can only be made from verified parts. Does not
//! own: what the caller may do (`decide`).

use crate::id::AgentId;
use crate::key::{PublicKey, Thumbprint};
use crate::no::Unauthenticated;
use crate::session::Login;
use crate::verify::{Holder, Possession, TaintedIdentity, VerifiedToken};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    inner: Inner,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Inner {
    Admin(Thumbprint),
    Agent(Box<VerifiedToken>),
    Tainted(Box<TaintedIdentity>),
    Holder(Box<VerifiedToken>),
    NewKey(PublicKey),
    User(Login),
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
    pub fn admin(key: &PublicKey, _: &Possession) -> Self {
        Caller { inner: Inner::Admin(key.thumbprint()) }
    }

    /// Whoever holds this token: an agent by its identity, or a holder by its delegation. The
    /// possession must be of this token.
    pub fn holder(token: VerifiedToken, possession: &Possession) -> Result<Self, Unauthenticated> {
        if possession.claims().hop != token.id() {
            return Err(Unauthenticated::Kind("the proof is of another token"));
        }
        let token = Box::new(token);
        let inner = if token.is_identity() { Inner::Agent(token) } else { Inner::Holder(token) };
        Ok(Caller { inner })
    }

    /// Whoever holds this identity, which is good to be renewed alone. The possession must be of it.
    pub fn tainted(
        identity: TaintedIdentity,
        possession: &Possession,
    ) -> Result<Self, Unauthenticated> {
        if possession.claims().hop != identity.token().id() {
            return Err(Unauthenticated::Kind("the proof is of another token"));
        }
        Ok(Caller { inner: Inner::Tainted(Box::new(identity)) })
    }

    /// Someone who signed an enrolment with a new key; `message` is what must be signed.
    pub fn new_key(
        key: PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Result<Self, Unauthenticated> {
        if key.verify(message, signature) {
            Ok(Caller { inner: Inner::NewKey(key) })
        } else {
            Err(Unauthenticated::NewKey)
        }
    }

    /// A user whose token, or whose provider's word about it, was verified.
    pub fn user(login: Login) -> Self {
        Caller { inner: Inner::User(login) }
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

    /// The caller's name as a holder.
    pub fn as_holder(&self) -> Option<Holder> {
        match &self.inner {
            Inner::Agent(token) | Inner::Holder(token) => Some(token.holder()),
            _ => None,
        }
    }
}

/// The caller as records name it; also the scope of its idempotency keys.
impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.inner {
            Inner::Admin(key) => write!(f, "admin:{key}"),
            Inner::Agent(token) | Inner::Holder(token) => write!(f, "{}", token.holder()),
            Inner::Tainted(identity) => write!(f, "{}", identity.token().holder()),
            Inner::NewKey(key) => write!(f, "key:{}", key.thumbprint()),
            Inner::User(login) => write!(f, "{login}"),
        }
    }
}

/// A request of which the caller is known.
#[derive(Clone, Debug)]
pub struct Authenticated<A> {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub ask: A,
}
