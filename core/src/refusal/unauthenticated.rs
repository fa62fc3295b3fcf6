//! Unauthenticated: there is no valid proof of who asks. SPEC section 8.

use crate::base::id::{AgentId, TrustDomain};
use crate::base::key::Thumbprint;
use crate::base::utc::utc;
use crate::biscuit::block::Window;
use crate::evidence::proof::BadProof;
use crate::evidence::receipt::BadReceipt;
use crate::evidence::replay_cache::ReplayRefusal;
use crate::trust::bundle::KeyRefusal;

use super::assertion::{BadCertificate, BadJwt};

/// Returns the message about a block signature that does not verify. A broker signs block 0, so a
/// bad signature there has a likely cause.
fn unsigned(block: usize) -> String {
    match block {
        0 => "the root key that the trust bundle lists did not sign block 0: the token and the trust \
              bundle are of two brokers, or the token was altered"
            .to_owned(),
        _ => format!(
            "the signature of block {block} does not hold under the key of the holder before it"
        ),
    }
}

/// Why there is no valid proof of who asks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unauthenticated {
    /// A credential is missing; the text names it.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The root key is not acceptable.
    #[error("the token's root key: {0}")]
    Root(KeyRefusal),
    /// A block signature does not verify.
    #[error("{}", unsigned(*.block))]
    Signature {
        /// The position of the block, 0 for the root.
        block: usize,
    },
    /// The issuer is not the broker of the trust domain.
    #[error("the token names the issuer {named}, the trust bundle is of {domain}")]
    Issuer {
        /// The issuer that the token names.
        named: AgentId,
        /// The trust domain of the bundle.
        domain: TrustDomain,
    },
    /// An agent or principal belongs to another trust domain.
    #[error("{named} in block {block} does not belong to the trust domain {domain}")]
    ForeignDomain {
        /// The position of the block.
        block: usize,
        /// The name of the agent or principal.
        named: String,
        /// The trust domain of the bundle.
        domain: TrustDomain,
    },
    /// A block names the broker itself as a holder.
    #[error("block {block} names the broker itself as the holder, which is no agent")]
    IssuerAsAgent {
        /// The position of the block.
        block: usize,
    },
    /// A hop names an agent, but it is not recorded, and its key was never that agent's.
    #[error(
        "hop {hop} names {agent}, and nothing shows that this agent holds it: it is not recorded, and its key is not the agent's"
    )]
    AgentNotProven {
        /// The position of the hop, 0 for the root.
        hop: usize,
        /// The agent that it names.
        agent: AgentId,
    },
    /// The token was delegated under a former key of the agent.
    #[error(
        "the token was delegated to {agent} under its former key {key}: show the agent's identity token instead, with its current key"
    )]
    FormerKey {
        /// The agent.
        agent: AgentId,
        /// The thumbprint of the key that signed the proof.
        key: Thumbprint,
    },
    /// A block names a helper that its parent cannot spawn.
    #[error("block {block} names the helper {named:?}, which the holder before it cannot spawn")]
    HelperPath {
        /// The position of the block.
        block: usize,
        /// The helper's path.
        named: String,
    },
    /// The token is of the wrong kind: an identity token instead of a delegation, or the reverse,
    /// or one with hops.
    #[error("{0}")]
    Kind(&'static str),
    /// The call proof is not valid.
    #[error("the call proof does not hold: {0}")]
    Proof(BadProof),
    /// The receipt is not valid.
    #[error("the receipt does not hold: {0}")]
    Receipt(BadReceipt),
    /// The receipt's key is not acceptable.
    #[error("the receipt's key: {0}")]
    ReceiptKey(KeyRefusal),
    /// The receipt is of another chain.
    #[error("the receipt is of another chain or another issuer")]
    ReceiptOfAnotherChain,
    /// The receipt names a ledger of another trust domain.
    #[error(
        "the receipt is of the ledger {origin:?}; one of {domain} is {domain}/sublet or lies below it"
    )]
    ReceiptOfAnotherLedger {
        /// The origin that it names, cut to 80 characters.
        origin: String,
        /// The trust domain of the bundle.
        domain: TrustDomain,
    },
    /// The proof was used before, or may have been.
    #[error("{0}")]
    Replay(ReplayRefusal),
    /// The identity token has expired, or is not valid yet.
    #[error("the identity token is valid from {} to {}, not now", utc(window.not_before), utc(window.not_after))]
    IdentityExpired {
        /// When it is valid.
        window: Window,
    },
    /// A signed token of a workload or user is not accepted.
    #[error("the token does not hold: {0}")]
    Jwt(#[from] BadJwt),
    /// The client certificate of the connection is not accepted.
    #[error("the client certificate: {0}")]
    Certificate(#[from] BadCertificate),
    /// The client certificate of the connection belongs to another agent.
    #[error("the connection shows the certificate of {certificate}, which is not {agent}'s")]
    CertificateOfAnother {
        /// The SPIFFE id of the certificate.
        certificate: AgentId,
        /// The agent that calls.
        agent: AgentId,
    },
    /// A user's token is valid, but maps to no principal here.
    #[error("the login at {issuer}: {detail}")]
    User {
        /// The issuer of the token.
        issuer: String,
        /// Why it maps to none.
        detail: String,
    },
    /// The identity of another trust domain is not accepted.
    #[error("the identity of another trust domain: {detail}")]
    FederatedDomain {
        /// Why it is not accepted.
        detail: String,
    },
    /// The admin may call only through the Unix socket.
    #[error("the admin may call only through the broker's Unix socket")]
    AdminSocket,
    /// The new key did not sign the enrollment request.
    #[error("the request is not signed by the new key in it")]
    NewKey,
    /// The admin key did not sign the call.
    #[error("the call is not signed by this broker's admin key (admin.pub in its data directory)")]
    NotAdmin,
}

impl Unauthenticated {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Unauthenticated::Missing(_) => "credentials_missing",
            Unauthenticated::Root(refusal) | Unauthenticated::ReceiptKey(refusal) => refusal.code(),
            Unauthenticated::Signature { .. } => "bad_signature",
            Unauthenticated::Issuer { .. } => "wrong_issuer",
            Unauthenticated::ForeignDomain { .. } => "foreign_domain",
            Unauthenticated::IssuerAsAgent { .. } => "issuer_as_agent",
            Unauthenticated::AgentNotProven { .. } => "agent_not_proven",
            Unauthenticated::FormerKey { .. } => "former_key",
            Unauthenticated::HelperPath { .. } => "bad_helper_path",
            Unauthenticated::Kind(_) => "wrong_token_kind",
            Unauthenticated::Proof(bad) => bad.code(),
            Unauthenticated::Receipt(_) => "bad_receipt",
            Unauthenticated::ReceiptOfAnotherChain => "receipt_of_another_chain",
            Unauthenticated::ReceiptOfAnotherLedger { .. } => "receipt_of_another_ledger",
            Unauthenticated::Replay(bad) => bad.code(),
            Unauthenticated::IdentityExpired { .. } => "identity_expired",
            Unauthenticated::Jwt(bad) => bad.code(),
            Unauthenticated::Certificate(bad) => bad.code(),
            Unauthenticated::CertificateOfAnother { .. } => "certificate_of_another",
            Unauthenticated::User { .. } => "user_unmapped",
            Unauthenticated::FederatedDomain { .. } => "federated_identity",
            Unauthenticated::AdminSocket => "admin_socket",
            Unauthenticated::NewKey => "new_key_not_proven",
            Unauthenticated::NotAdmin => "not_admin",
        }
    }
}
