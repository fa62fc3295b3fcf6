//! The current identity of an agent: a key and the identity token for it.
//!
//! Owns: what the current identity shows and proves. Does not own: how it changes (`identity`).

use std::sync::Arc;

use sublet_core::base::sign::SecretKey;
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::token::verify::VerifiedToken;

use crate::broker::credential::Credential;
use crate::error::Error;
use crate::ports::Ports;

/// An agent's key and the identity token for that key.
#[derive(Clone)]
pub struct Current {
    pub(crate) key: Arc<SecretKey>,
    pub(crate) token: Arc<VerifiedToken>,
}

/// A source of an agent's current identity. The identity changes when it is renewed or rotated.
pub trait Identified: Send + Sync + 'static {
    /// Returns the identity that is current at the time of the call.
    fn current(&self) -> Current;
}

impl Current {
    pub(crate) fn credential(&self) -> Credential {
        Credential::identity(self.key.clone(), self.token.clone())
    }

    pub(crate) fn prove(
        &self,
        audience: &str,
        action: &str,
        args: &str,
        ports: &Ports,
    ) -> Result<CallProof, Error> {
        let digest = Arguments::from_json(args.as_bytes())?.digest();
        let (nonce, now) = (ports.entropy.nonce()?, ports.clock.now());
        let claims = CallClaims::of_digest(self.token.id(), audience, action, digest, now, nonce);
        Ok(CallProof::sign(claims, self.key.as_ref())?)
    }
}
