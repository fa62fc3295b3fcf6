//! Five kinds of no, never mixed. SPEC section 8; docs/CODES lists each code with its cure.
//!
//! Owns: the types of refusal, their stable codes and words. Does not own: how a kind travels
//! (gRPC status, exit code), which is the business of the broker's `respond` and of the command
//! line.
//!
//! Invariants: [`Deny`] is exhaustive: something was understood and decided. `Fault` means that
//! nothing was decided. A code never changes its meaning.

mod deny;

pub use deny::{BadJoinToken, Deny};

use crate::block::Window;
use crate::bundle::{BadBundle, KeyRefusal};
use crate::call::{BadArguments, NotExact};
use crate::capability::BadScope;
use crate::feed::BadFeed;
use crate::id::{AgentId, BadId, TrustDomain};
use crate::key::Thumbprint;
use crate::proof::BadProof;
use crate::receipt::BadReceipt;
use crate::replay_cache::ReplayRefusal;
use crate::token::BadToken;
use crate::utc::utc;

/// A refusal of any kind.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It was not understood.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is no valid proof of who asks.
    #[error(transparent)]
    Unauthenticated(#[from] Unauthenticated),
    /// It was understood and decided.
    #[error(transparent)]
    Deny(#[from] Deny),
    /// It was not looked at.
    #[error(transparent)]
    Overload(#[from] Overload),
    /// Nothing was decided.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Refusal {
    /// After how many milliseconds the same call may be made again, with a new proof: nobody decided it.
    /// `None` where somebody did, or where that won't help.
    pub fn retry_ms(&self) -> Option<u64> {
        match self {
            Refusal::Overload(refusal) => refusal.retry_ms(),
            // A proof that is younger than this verifier's memory is as good as any.
            Refusal::Unauthenticated(Unauthenticated::Replay(ReplayRefusal::BeforeStart)) => {
                Some(100)
            }
            Refusal::Malformed(_)
            | Refusal::Unauthenticated(_)
            | Refusal::Deny(_)
            | Refusal::Fault(_) => None,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Malformed(refusal) => refusal.code(),
            Refusal::Unauthenticated(refusal) => refusal.code(),
            Refusal::Deny(refusal) => refusal.code(),
            Refusal::Overload(refusal) => refusal.code(),
            Refusal::Fault(refusal) => refusal.code(),
        }
    }
}

/// Not understood.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// The token.
    #[error("the token is not understood: {0}")]
    Token(#[from] BadToken),
    /// The call proof.
    #[error("the call proof is not understood: {0}")]
    Proof(BadProof),
    /// The receipt.
    #[error("the receipt is not understood: {0}")]
    Receipt(BadReceipt),
    /// The arguments of a call.
    #[error("{0}")]
    Arguments(#[from] BadArguments),
    /// The tool or the action of a call.
    #[error(transparent)]
    Call(#[from] NotExact),
    /// A scope.
    #[error("the scope is not understood: {0}")]
    Scope(#[from] BadScope),
    /// A name.
    #[error("{0}")]
    Id(#[from] BadId),
    /// A trust bundle.
    #[error("the trust bundle is not acceptable: {0}")]
    Bundle(#[from] BadBundle),
    /// A revocation feed or a file of one.
    #[error("the revocation feed is not acceptable: {0}")]
    Feed(#[from] BadFeed),
    /// A part of a presentation, by the name of its header or metadata.
    #[error("{name}: {detail}")]
    Part {
        /// Its name.
        name: String,
        /// Why it is not taken.
        detail: String,
    },
    /// A part of a presentation that is larger than any reader takes.
    #[error("{name}: {bytes} bytes, at most {} are taken", crate::authorize::FURTHER_BYTES_MAX)]
    PartTooLarge {
        /// Its name.
        name: String,
        /// Its size, in bytes.
        bytes: usize,
    },
    /// A field of a request.
    #[error("{field}: {detail}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong.
        detail: String,
    },
}

impl Malformed {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Malformed::Token(bad) => bad.code(),
            Malformed::Proof(_) => "proof_malformed",
            Malformed::Receipt(_) => "receipt_malformed",
            Malformed::Arguments(bad) => bad.code(),
            Malformed::Call(_) => "call_not_exact",
            Malformed::Scope(_) => "bad_scope",
            Malformed::Id(_) => "bad_name",
            Malformed::Bundle(bad) => bad.code(),
            Malformed::Feed(bad) => bad.code(),
            Malformed::Part { .. } => "bad_part",
            Malformed::PartTooLarge { .. } => "part_too_large",
            Malformed::Field { .. } => "bad_field",
        }
    }
}

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

/// Why the certificate that a client showed says nothing of it (X.509-SVID, sections 2 and 5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// No SPIFFE id, or two.
    #[error("it names no workload, which one spiffe:// id does")]
    Names,
    /// Nobody who would know.
    #[error("no authorities of {0} are known here")]
    Domain(String),
    /// Signed by somebody else.
    #[error("no authority of {0} vouches for it")]
    Authority(String),
    /// Not now.
    #[error("it is over, or not valid yet")]
    Time,
    /// The request is about another one.
    #[error("the request names another one than the connection showed")]
    Another,
    /// None are taken.
    #[error("none are taken here")]
    NotTaken,
    /// Anything else.
    #[error("{0}")]
    Form(String),
}

impl BadCertificate {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadCertificate::Names => "certificate_without_spiffe_id",
            BadCertificate::Domain(_) => "certificate_domain",
            BadCertificate::Authority(_) => "certificate_authority",
            BadCertificate::Time => "certificate_expired",
            BadCertificate::Another | BadCertificate::NotTaken | BadCertificate::Form(_) => {
                "client_certificate"
            }
        }
    }
}

/// Why a workload's signed token (RFC 7519) does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJwt {
    /// Its form.
    #[error("{0}")]
    Form(&'static str),
    /// Its issuer is not one that this broker knows.
    #[error("no issuer {0:?} is known here")]
    Issuer(String),
    /// The algorithm is not one that its issuer is known to use, or not that of the key.
    #[error("the algorithm {0:?} is not one that is taken from this issuer for this key")]
    Algorithm(String),
    /// Its issuer has no such key.
    #[error("its issuer has no key {0:?}")]
    Key(String),
    /// The signature.
    #[error("its signature does not hold")]
    Signature,
    /// It is for somebody else.
    #[error("it is not for {0}")]
    Audience(String),
    /// It was made for another client.
    #[error(
        "it names {0} as the client that it was made for (azp), and none that is configured as audience"
    )]
    Party(String),
    /// It is over.
    #[error("it expired at {}", utc(*.0))]
    Expired(i64),
    /// It is not good yet.
    #[error("it is good only from {}", utc(*.0))]
    NotYetValid(i64),
    /// It lives for longer than is taken.
    #[error("it lives until {}, which is longer than is taken", utc(*.0))]
    Lifetime(i64),
}

impl BadJwt {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadJwt::Form(_) => "jwt_malformed",
            BadJwt::Issuer(_) => "jwt_issuer",
            BadJwt::Algorithm(_) => "jwt_algorithm",
            BadJwt::Key(_) => "jwt_key",
            BadJwt::Signature => "jwt_signature",
            BadJwt::Audience(_) | BadJwt::Party(_) => "jwt_audience",
            BadJwt::Expired(_) => "jwt_expired",
            BadJwt::NotYetValid(_) => "jwt_not_yet_valid",
            BadJwt::Lifetime(_) => "jwt_lifetime",
        }
    }
}

/// Not looked at: come back later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overload {
    /// A bounded queue is full.
    #[error("the queue of {0} is full")]
    Queue(&'static str),
    /// The set of seen proofs has no room.
    #[error("{0}")]
    Proofs(ReplayRefusal),
    /// What the decision rested on kept changing under it.
    #[error("the state kept changing under the decision; try again")]
    Contention,
    /// A table has reached its bound.
    #[error("the table of {0} is full")]
    Table(&'static str),
    /// Requests in flight hold as many bytes as they may.
    #[error("requests in flight of {0} hold as many bytes as they may; try again")]
    Bytes(&'static str),
    /// As many calls without a proof are in flight as may be.
    #[error("as many calls without a proof as may be are in flight from {0}; try again")]
    Calls(&'static str),
    /// This caller has as many calls waiting as it may, while the broker is busy.
    #[error(
        "the broker is busy and this caller has as many calls waiting as it may; try again in {retry_ms} ms"
    )]
    Busy {
        /// After how many milliseconds there may be room.
        retry_ms: u64,
    },
    /// A message that is larger than this call takes. Trying again won't help.
    #[error("the message is larger than the {bytes_max} bytes that this call takes")]
    TooLarge {
        /// How many it takes.
        bytes_max: usize,
    },
}

impl Overload {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Overload::Queue(_) => "queue_full",
            Overload::Proofs(bad) => bad.code(),
            Overload::Contention => "contention",
            Overload::Table(_) => "table_full",
            Overload::Bytes(_) => "bytes_full",
            Overload::Calls(_) => "calls_full",
            Overload::Busy { .. } => "busy",
            Overload::TooLarge { .. } => "message_too_large",
        }
    }

    /// After how many milliseconds the same call may be made again, with a new proof; `None` where that
    /// won't help, or not soon.
    pub fn retry_ms(&self) -> Option<u64> {
        match self {
            Overload::Contention => Some(20),
            Overload::Queue(_) => Some(100),
            Overload::Bytes(_) | Overload::Calls(_) => Some(200),
            Overload::Busy { retry_ms } => Some(*retry_ms),
            // A remembered proof is forgotten after 36 s.
            Overload::Proofs(ReplayRefusal::QuotaExceeded { .. } | ReplayRefusal::Full { .. }) => {
                Some(2_000)
            }
            Overload::Proofs(_) | Overload::Table(_) | Overload::TooLarge { .. } => None,
        }
    }
}

/// Nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The store did not take it; the same request may be sent again.
    #[error("the store is not available: {0}")]
    Store(String),
    /// A signer did not sign.
    #[error("{0}")]
    Signer(#[from] crate::sign::SignerFault),
    /// The keys of an issuer are not to be had; the same request may be sent again.
    #[error("the keys of {0} are not to be had")]
    IssuerKeys(String),
    /// A deadline passed; the same request may be sent again.
    #[error("no answer in time")]
    Deadline,
    /// What must hold does not; trying again won't help.
    #[error("internal: {0}")]
    Internal(String),
}

impl Fault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Store(_) => "store_unavailable",
            Fault::Signer(_) => "signer_unavailable",
            Fault::IssuerKeys(_) => "issuer_keys_unavailable",
            Fault::Deadline => "deadline",
            Fault::Internal(_) => "internal",
        }
    }

    /// Whether the same request may be sent again.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, Fault::Internal(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_and_workload_tokens_are_refused_with_stable_codes() {
        let certificates = [
            (BadCertificate::Names, "certificate_without_spiffe_id"),
            (BadCertificate::Domain("x".into()), "certificate_domain"),
            (BadCertificate::Authority("x".into()), "certificate_authority"),
            (BadCertificate::Time, "certificate_expired"),
            (BadCertificate::Another, "client_certificate"),
            (BadCertificate::NotTaken, "client_certificate"),
            (BadCertificate::Form("x".into()), "client_certificate"),
        ];
        certificates.iter().for_each(|(bad, code)| assert_eq!(bad.code(), *code));
        let tokens = [
            (BadJwt::Form("x"), "jwt_malformed"),
            (BadJwt::Issuer("x".into()), "jwt_issuer"),
            (BadJwt::Algorithm("x".into()), "jwt_algorithm"),
            (BadJwt::Key("x".into()), "jwt_key"),
            (BadJwt::Signature, "jwt_signature"),
            (BadJwt::Audience("x".into()), "jwt_audience"),
            (BadJwt::Party("x".into()), "jwt_audience"),
            (BadJwt::Expired(0), "jwt_expired"),
            (BadJwt::NotYetValid(0), "jwt_not_yet_valid"),
            (BadJwt::Lifetime(0), "jwt_lifetime"),
        ];
        tokens.iter().for_each(|(bad, code)| assert_eq!(bad.code(), *code));
    }

    #[test]
    fn what_was_not_decided_may_be_asked_again_where_that_helps() {
        let after = |refusal: Overload| Refusal::from(refusal).retry_ms();
        assert_eq!(after(Overload::Contention), Some(20));
        assert_eq!(after(Overload::Queue("commits")), Some(100));
        assert_eq!(after(Overload::Bytes("this address")), Some(200));
        assert_eq!(after(Overload::Calls("this address")), Some(200));
        assert_eq!(after(Overload::Busy { retry_ms: 7 }), Some(7));
        assert_eq!(after(Overload::Proofs(ReplayRefusal::Full { held: 1 })), Some(2_000));
        assert_eq!(after(Overload::Proofs(ReplayRefusal::QuotaExceeded { held: 1 })), Some(2_000));
        assert_eq!(after(Overload::Proofs(ReplayRefusal::Damaged)), None);
        assert_eq!(after(Overload::Table("agents")), None);
        assert_eq!(after(Overload::TooLarge { bytes_max: 1 }), None);
        let too_early = Unauthenticated::Replay(ReplayRefusal::BeforeStart);
        assert_eq!(Refusal::from(too_early).retry_ms(), Some(100));
        assert_eq!(Refusal::from(Unauthenticated::Missing("a token")).retry_ms(), None);
        assert_eq!(Refusal::from(Fault::Deadline).retry_ms(), None);
    }

    #[test]
    fn faults_have_stable_codes_and_all_but_our_own_pass() {
        let faults = [
            (Fault::Store("x".into()), "store_unavailable", true),
            (Fault::Signer(crate::sign::SignerFault("x".into())), "signer_unavailable", true),
            (Fault::IssuerKeys("x".into()), "issuer_keys_unavailable", true),
            (Fault::Deadline, "deadline", true),
            (Fault::Internal("x".into()), "internal", false),
        ];
        for (fault, code, again) in faults {
            assert_eq!((fault.code(), fault.is_retriable()), (code, again));
        }
    }

    #[test]
    fn a_signature_that_does_not_hold_says_whose_it_should_have_been() {
        let detail = |block| Unauthenticated::Signature { block }.to_string();
        assert!(detail(0).starts_with("the root key that the trust bundle lists"), "{}", detail(0));
        assert!(detail(2).starts_with("the signature of block 2"), "{}", detail(2));
    }
}
