//! The identity that an agent has at this moment: a key and the identity token for it.
//!
//! Owns: what one moment's identity shows and proves. Does not own: how it becomes another (`identity`).

use std::sync::Arc;

use sublet_core::base::sign::SecretKey;
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::token::verify::VerifiedToken;

use crate::broker::credential::Credential;
use crate::error::Error;
use crate::ports::Ports;

/// A key, and the identity token for it.
#[derive(Clone)]
pub struct Current {
    pub(crate) key: Arc<SecretKey>,
    pub(crate) token: Arc<VerifiedToken>,
}

/// Something that has an agent's identity now; it may have another later, as identities are renewed.
pub trait Identified: Send + Sync + 'static {
    /// The identity of this moment.
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
