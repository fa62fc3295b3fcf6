//! The caller of a broker, and the proof of each call.
//!
//! Owns: the three credentials (agent, holder, admin) and what each shows. Does not own: how a call
//! is sent (`connect`).
//!
//! Invariants: a proof is made for one attempt of one call, with a fresh nonce, and covers the
//! broker, the method and the message bytes (SPEC section 5); no private key leaves its signer.

use std::fmt;
use std::sync::Arc;

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{HopId, TrustDomain};
use sublet_core::base::key::Thumbprint;
use sublet_core::base::sign::Signer;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::token::verify::VerifiedToken;
use sublet_proto::credentials::Credentials;

use crate::error::Error;
use crate::ports::Ports;

/// A caller of the broker: the token that it shows, if any, and the signer of its proofs.
#[derive(Clone)]
pub struct Credential {
    shown: Shown,
    signer: Arc<dyn Signer>,
}

#[derive(Clone)]
enum Shown {
    Token { token: Arc<VerifiedToken>, receipt: Option<Vec<u8>> },
    Admin { domain: TrustDomain },
}

impl Credential {
    /// Returns the credential of an enrolled agent. `key` must be the key of the identity token.
    pub fn identity(key: Arc<dyn Signer>, token: Arc<VerifiedToken>) -> Self {
        Credential { shown: Shown::Token { token, receipt: None }, signer: key }
    }

    /// Returns the credential of the holder of a delegation token: an agent or a helper. `key` must
    /// be the holder's.
    pub fn holder(
        key: Arc<dyn Signer>,
        token: Arc<VerifiedToken>,
        receipt: Option<Vec<u8>>,
    ) -> Self {
        Credential { shown: Shown::Token { token, receipt }, signer: key }
    }

    /// Returns the credential of the admin of this trust domain's broker.
    pub fn admin(key: Arc<dyn Signer>, domain: TrustDomain) -> Self {
        Credential { shown: Shown::Admin { domain }, signer: key }
    }

    /// Returns the trust domain of the broker that this credential is for.
    pub fn trust_domain(&self) -> TrustDomain {
        match &self.shown {
            Shown::Token { token, .. } => token.root().agent.trust_domain(),
            Shown::Admin { domain } => domain.clone(),
        }
    }

    /// Makes the credentials of one call at the current time: for this method, and the message with
    /// this SHA-256.
    pub fn credentials(
        &self,
        method: &str,
        message_digest: [u8; 32],
        ports: &Ports,
    ) -> Result<Credentials, Error> {
        let (hop, token, receipt) = match &self.shown {
            Shown::Token { token, receipt } => (token.id(), Some(token.encode()), receipt.clone()),
            Shown::Admin { .. } => (HopId(sha256(self.signer.public_key().bytes())), None, None),
        };
        let audience = self.trust_domain().broker_audience();
        let (now, nonce) = (ports.clock.now(), ports.entropy.nonce()?);
        let claims = CallClaims::of_digest(hop, &audience, method, message_digest, now, nonce);
        let proof = CallProof::sign(claims, self.signer.as_ref())?;
        Ok(Credentials { token, receipt, proof: proof.encode(), inclusion: None })
    }
}

impl Credential {
    /// Returns the token if its holder is below the root of its delegation. Such a holder is shown
    /// only the records at or below its own hop. `None` for the root holder, an agent's identity
    /// and the admin.
    pub(crate) fn below(&self) -> Option<&VerifiedToken> {
        match &self.shown {
            Shown::Token { token, .. } if token.depth() > 0 => Some(token),
            Shown::Token { .. } | Shown::Admin { .. } => None,
        }
    }

    /// Returns the thumbprint of the key that signs the proofs.
    pub(crate) fn thumbprint(&self) -> Thumbprint {
        self.signer.public_key().thumbprint()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shown {
            Shown::Token { token, .. } => write!(f, "Credential({})", token.holder()),
            Shown::Admin { domain } => write!(f, "Credential(admin of {domain})"),
        }
    }
}

/// A source of a caller's current credential. The credential changes when an identity is renewed or
/// rotated.
pub trait Caller: Send + Sync + 'static {
    /// Returns the credential that is current at the time of the call.
    fn credential(&self) -> Result<Credential, Error>;
}

impl Caller for Credential {
    fn credential(&self) -> Result<Credential, Error> {
        Ok(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sublet_core::authorize::{Bound, prove_key};
    use sublet_core::base::sign::SecretKey;

    #[test]
    fn the_admin_shows_a_proof_alone_and_a_new_one_each_time() {
        let key = Arc::new(SecretKey::ed25519_from_seed([4; 32]));
        let public = key.public_key().clone();
        let admin = Credential::admin(key, "acme.example".parse().unwrap());
        let ports = Ports::system();
        let method = "/sublet.v1.Admin/GetStatus";
        let shown = admin.credentials(method, [7; 32], &ports).unwrap();
        assert!(shown.token.is_none() && shown.receipt.is_none());
        let call =
            Bound { audience: "sublet://acme.example", action: method, arguments_hash: [7; 32] };
        let proof = shown.call_proof().unwrap();
        let hop = HopId(sha256(public.bytes()));
        assert!(prove_key(&public, hop, &proof, &call, ports.clock.now()).is_ok());
        assert_ne!(admin.credentials(method, [7; 32], &ports).unwrap().proof, shown.proof);
        assert_eq!(format!("{admin:?}"), "Credential(admin of acme.example)");
    }
}
