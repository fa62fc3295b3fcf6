//! The credential that an agent shows to enroll, and the enrollment request.
//!
//! Owns: the enrollment methods on the agent's side. Does not own: what is stored afterwards
//! (`identity`).
//!
//! Invariants: the signature of the new key covers the credential, so a credential that is
//! overheard enrolls no other key; a credential is never printed.

use std::sync::Arc;

use prost::Message as _;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::AgentId;
use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::evidence::proof::{CallClaims, CallProof, enroll_message};
use sublet_core::trust::bundle::SignedBundle;
use sublet_proto::convert::public_key_message;
use sublet_proto::v1;

use crate::agent::current::Identified;
use crate::broker::connect::Broker;
use crate::broker::rpc::derived_key;
use crate::error::Error;

const JOIN_TOKEN: &str = "join_token";
const FEDERATED: &str = "federated";

/// The credential that an agent shows to enroll. It is a secret.
pub struct Proof {
    method: &'static str,
    shown: Shown,
}

enum Shown {
    /// A credential that is a text, such as a join token or a JWT.
    Text(String),
    /// The client certificate of the TLS connection.
    Certificate,
    /// An identity that the broker of another trust domain issued.
    Identity(Arc<dyn Identified>),
}

impl Proof {
    /// A join token. It enrolls one agent once.
    pub fn join_token(text: &str) -> Self {
        Proof::text(JOIN_TOKEN, text)
    }

    /// A signed JWT (RFC 7519) of an issuer that the broker is configured with.
    pub fn jwt(text: &str) -> Self {
        Proof::text("jwt", text)
    }

    /// A SPIFFE JWT-SVID.
    pub fn jwt_svid(text: &str) -> Self {
        Proof::text("jwt_svid", text)
    }

    /// The SPIFFE X.509-SVID that is the client certificate of the connection to the broker
    /// ([`crate::broker::tls::Tls::certificate`]).
    pub fn x509_svid() -> Self {
        Proof { method: "x509_svid", shown: Shown::Certificate }
    }

    /// An identity in another trust domain that the broker is federated with.
    pub fn federated_domain(identity: &(impl Identified + Clone)) -> Self {
        Proof { method: FEDERATED, shown: Shown::Identity(Arc::new(identity.clone())) }
    }

    fn text(method: &'static str, text: &str) -> Self {
        Proof { method, shown: Shown::Text(text.trim().to_owned()) }
    }

    /// Returns the credential's bytes for this agent and this new key.
    async fn credential(
        &self,
        broker: &Broker,
        agent: &str,
        key: &PublicKey,
    ) -> Result<Vec<u8>, Error> {
        let identity = match &self.shown {
            Shown::Text(text) => return Ok(text.as_bytes().to_vec()),
            Shown::Certificate => return broker.tls().leaf(),
            Shown::Identity(identity) => identity,
        };
        // The proof names the trust domain of the broker that is asked, so it is useless at any
        // other.
        let bundle = SignedBundle::read(broker.trust_bundle().await?)?;
        let audience = bundle.bundle().trust_domain().broker_audience();
        let enrollment = sha256(&enroll_message(FEDERATED, &[], agent, key));
        let (current, ports) = (identity.current(), broker.ports());
        let (nonce, now) = (ports.entropy.nonce()?, ports.clock.now());
        let (hop, action) = (current.token.id(), "/sublet.v1.Identity/Enroll");
        let claims = CallClaims::of_digest(hop, &audience, action, enrollment, now, nonce);
        let proof = CallProof::sign(claims, current.key.as_ref())?.encode();
        Ok(v1::FederatedCredential { identity_token: current.token.encode(), proof }
            .encode_to_vec())
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proof({})", self.method)
    }
}

/// Builds the enrollment request, signed with the new key. `agent` is the SPIFFE id that the caller
/// expects; `None` leaves it to the broker.
pub(crate) async fn enroll_request(
    proof: &Proof,
    broker: &Broker,
    agent: Option<&AgentId>,
    key: &SecretKey,
) -> Result<v1::EnrollRequest, Error> {
    let (method, public) = (proof.method, key.public_key());
    let agent = agent.map(ToString::to_string).unwrap_or_default();
    let credential = proof.credential(broker, &agent, public).await?;
    let message = enroll_message(method, &credential, &agent, public);
    Ok(v1::EnrollRequest {
        method: method.to_owned(),
        idempotency_key: derived_key(b"enroll", &[public.bytes(), &credential]),
        credential,
        agent_id: agent,
        public_key: Some(public_key_message(public)),
        signature: key.sign(&message)?,
    })
}
