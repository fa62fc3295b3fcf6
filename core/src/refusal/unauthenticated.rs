//! There is no valid proof of who asks. SPEC section 8.

use crate::base::id::{AgentId, TrustDomain};
use crate::base::key::Thumbprint;
use crate::base::utc::utc;
use crate::biscuit::block::Window;
use crate::evidence::proof::BadProof;
use crate::evidence::receipt::BadReceipt;
use crate::evidence::replay_cache::ReplayRefusal;
use crate::trust::bundle::KeyRefusal;

use super::assertion::{BadCertificate, BadJwt};

/// A block's signature that does not hold. Block 0 is signed by a broker, so that one has a likely cause.
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

/// No valid proof of who asks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unauthenticated {
    /// Nothing was presented.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The root key is not to be trusted for this.
    #[error("the token's root key: {0}")]
    Root(KeyRefusal),
    /// A block signature does not hold.
    #[error("{}", unsigned(*.block))]
    Signature {
        /// The block, 0 for the root.
        block: usize,
    },
    /// The issuer is not the broker of the trust domain.
    #[error("the token names the issuer {named}, the trust bundle is of {domain}")]
    Issuer {
        /// Whom it names.
        named: AgentId,
        /// The bundle's domain.
        domain: TrustDomain,
    },
    /// An agent or principal of another trust domain.
    #[error("{named} in block {block} does not belong to the trust domain {domain}")]
    ForeignDomain {
        /// The block.
        block: usize,
        /// Who.
        named: String,
        /// The bundle's domain.
        domain: TrustDomain,
    },
    /// The broker's own name in place of an agent's.
    #[error("block {block} names the broker itself as the holder, which is no agent")]
    IssuerAsAgent {
        /// The block.
        block: usize,
    },
    /// A hop to an agent that is not recorded, and whose key was never that agent's.
    #[error(
        "hop {hop} names {agent}, and nothing shows that this agent holds it: it is not recorded, and its key is not the agent's"
    )]
    AgentNotProven {
        /// Which hop, 0 for the root.
        hop: usize,
        /// Who is named.
        agent: AgentId,
    },
    /// The holder of a delegation is an agent, and its key is one that the agent had before.
    #[error(
        "the token was handed to {agent} under the key {key}, which is not its key any more: show the agent's identity token, with its current key"
    )]
    FormerKey {
        /// The agent.
        agent: AgentId,
        /// The key that proved the call.
        key: Thumbprint,
    },
    /// A helper that its parent could not have spawned.
    #[error("block {block} names the helper {named:?}, which the holder before it cannot spawn")]
    HelperPath {
        /// The block.
        block: usize,
        /// The path.
        named: String,
    },
    /// An identity token where a delegation is needed, or the reverse, or one with hops.
    #[error("{0}")]
    Kind(&'static str),
    /// The call proof does not hold.
    #[error("the call proof does not hold: {0}")]
    Proof(BadProof),
    /// The receipt does not hold.
    #[error("the receipt does not hold: {0}")]
    Receipt(BadReceipt),
    /// The receipt's key is not to be trusted for it.
    #[error("the receipt's key: {0}")]
    ReceiptKey(KeyRefusal),
    /// The receipt is of another chain.
    #[error("the receipt is of another chain or another issuer")]
    ReceiptOfAnotherChain,
    /// The receipt names a ledger that is not the trust domain's.
    #[error(
        "the receipt is of the ledger {origin:?}; one of {domain} is {domain}/sublet or lies below it"
    )]
    ReceiptOfAnotherLedger {
        /// What it names, its first 80 characters.
        origin: String,
        /// The bundle's domain.
        domain: TrustDomain,
    },
    /// The proof was used before.
    #[error("{0}")]
    Replay(ReplayRefusal),
    /// The identity is over, or not yet good.
    #[error("the identity token is good from {} to {}, not now", utc(window.not_before), utc(window.not_after))]
    IdentityExpired {
        /// When it is good.
        window: Window,
    },
    /// A workload's signed token does not hold.
    #[error("the token does not hold: {0}")]
    Jwt(#[from] BadJwt),
    /// The client certificate of the connection is none, or not the one that was named.
    #[error("the client certificate: {0}")]
    Certificate(#[from] BadCertificate),
    /// The client certificate of the connection is somebody else's than the caller's.
    #[error("the connection shows the certificate of {certificate}, which is not {agent}'s")]
    CertificateOfAnother {
        /// Whom it names.
        certificate: AgentId,
        /// Who calls.
        agent: AgentId,
    },
    /// A user's token holds, and names nobody here.
    #[error("the login at {issuer}: {detail}")]
    User {
        /// Whose token.
        issuer: String,
        /// Why not.
        detail: String,
    },
    /// Another broker's identity does not hold.
    #[error("the identity of another trust domain: {detail}")]
    FederatedDomain {
        /// Why.
        detail: String,
    },
    /// The admin is taken through the Unix socket alone.
    #[error("the admin calls through the broker's Unix socket, and nowhere else")]
    AdminSocket,
    /// The enrollment signature does not hold.
    #[error("the request is not signed by the key that it brings")]
    NewKey,
    /// Admin calls are made with the admin key.
    #[error(
        "it is not signed by this broker's admin key, which the broker knows by the admin.pub in its data directory"
    )]
    NotAdmin,
}

impl Unauthenticated {
    /// The stable code.
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
