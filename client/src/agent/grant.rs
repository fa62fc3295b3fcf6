//! What an agent asks for on someone's behalf, and what lets it.
//!
//! Owns: the question, before it is asked. Does not own: asking it (`identity`).

use std::fmt;
use std::time::Duration;

use sublet_core::base::id::Principal;
use sublet_core::capability::Scope;
use sublet_core::state::rows::session::SessionId;

use crate::error::Error;

/// What an agent asks for on someone's behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On whose behalf.
    pub on_behalf_of: Principal,
    /// All of what it shall be good for.
    pub scope: Scope,
    /// How long, in whole seconds.
    pub ttl: Duration,
    /// How many hops may follow.
    pub hops: u32,
    /// How many of them may be without a receipt.
    pub offline_hops: u32,
    /// What lets the agent act for the principal.
    pub by: Consent,
}

/// What lets an agent act for a principal. SPEC 3.10.
#[derive(Clone, PartialEq, Eq)]
pub enum Consent {
    /// The agent's profile, which names the principals that it may act for.
    Profile,
    /// The user's own signed token (RFC 7519). A secret.
    UserToken(String),
    /// A session that an operator made.
    Session(SessionId),
}

impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Consent::Profile => "Profile",
            Consent::UserToken(_) => "UserToken",
            Consent::Session(_) => "Session",
        })
    }
}

impl Grant {
    /// These capabilities on behalf of this principal for so long; not to be handed on.
    pub fn new(on_behalf_of: Principal, scope: Scope, ttl: Duration) -> Self {
        Grant { on_behalf_of, scope, ttl, hops: 0, offline_hops: 0, by: Consent::Profile }
    }

    /// The same from texts: `user:alice@acme.example`, `fs.read@tool://files path=under:/data`.
    pub fn of<T: AsRef<str>>(
        on_behalf_of: &str,
        scope: &[T],
        ttl: Duration,
    ) -> Result<Self, Error> {
        Ok(Grant::new(on_behalf_of.parse()?, Scope::from_texts(scope)?, ttl))
    }

    /// So many hops may follow.
    #[must_use]
    pub fn hops(self, hops: u32) -> Self {
        Grant { hops, ..self }
    }

    /// So many of them may be without a receipt.
    #[must_use]
    pub fn offline_hops(self, offline_hops: u32) -> Self {
        Grant { offline_hops, ..self }
    }

    /// With this consent.
    #[must_use]
    pub fn by(self, by: Consent) -> Self {
        Grant { by, ..self }
    }
}
