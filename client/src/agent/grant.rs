//! The request for a new delegation: what an agent asks for, on whose behalf, and by which consent.
//!
//! Owns: the request before it is sent. Does not own: sending it (`identity`).

use std::fmt;
use std::time::Duration;

use sublet_core::base::id::Principal;
use sublet_core::capability::Scope;
use sublet_core::state::rows::session::SessionId;

use crate::error::Error;

/// The request for a new delegation, for [`Identity::ask`](crate::Identity::ask).
///
/// ```
/// use std::time::Duration;
/// use sublet_client::{Consent, Grant};
///
/// let scope = ["fs.read@tool://files path=under:/data"];
/// let grant = Grant::of("user:alice@acme.example", &scope, Duration::from_secs(900))?;
/// let grant = grant.hops(3).offline_hops(1);
/// assert_eq!(grant.on_behalf_of.to_string(), "user:alice@acme.example");
/// assert_eq!(grant.by, Consent::Profile); // unless another consent is given
/// # Ok::<(), sublet_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The principal whose authority is asked for.
    pub on_behalf_of: Principal,
    /// The capabilities of the delegation. The agent's profile must allow all of them.
    pub scope: Scope,
    /// The lifetime of the delegation, from the time of issue. Blocks hold whole seconds; a
    /// fraction is dropped.
    pub ttl: Duration,
    /// The greatest number of hops below the root. 0 forbids delegation to others.
    pub hops: u32,
    /// The greatest number of those hops that no receipt covers. 0 requires that every hop is
    /// recorded.
    pub offline_hops: u32,
    /// The evidence that the agent may act for the principal.
    pub by: Consent,
}

/// The evidence that an agent may act for a principal. SPEC 3.10.
#[derive(Clone, PartialEq, Eq)]
pub enum Consent {
    /// The agent's profile, which lists the principals that the agent may act for.
    Profile,
    /// A signed JWT of the user (RFC 7519). It is a secret and is never printed.
    UserToken(String),
    /// The id of a session of authority that the admin granted.
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
    /// Returns a request for `scope` on behalf of a principal for `ttl`, without further hops and
    /// by the consent of the profile.
    pub fn new(on_behalf_of: Principal, scope: Scope, ttl: Duration) -> Self {
        Grant { on_behalf_of, scope, ttl, hops: 0, offline_hops: 0, by: Consent::Profile }
    }

    /// Parses a request from texts, such as `user:alice@acme.example` and `fs.read@tool://files
    /// path=under:/data`. A text that does not parse is an error.
    pub fn of<T: AsRef<str>>(
        on_behalf_of: &str,
        scope: &[T],
        ttl: Duration,
    ) -> Result<Self, Error> {
        Ok(Grant::new(on_behalf_of.parse()?, Scope::from_texts(scope)?, ttl))
    }

    /// Sets the greatest number of hops below the root.
    #[must_use]
    pub fn hops(self, hops: u32) -> Self {
        Grant { hops, ..self }
    }

    /// Sets the greatest number of hops that no receipt covers.
    #[must_use]
    pub fn offline_hops(self, offline_hops: u32) -> Self {
        Grant { offline_hops, ..self }
    }

    /// Sets the consent.
    #[must_use]
    pub fn by(self, by: Consent) -> Self {
        Grant { by, ..self }
    }
}
