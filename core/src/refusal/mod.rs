//! The five kinds of refusal, which are never mixed. SPEC section 8; docs/CODES lists each code
//! with its remedy.
//!
//! Owns: the types of refusal, their stable codes and messages. Does not own: how a kind is sent
//! (gRPC status, exit code), which the broker's `respond` and the command line decide.
//!
//! Invariants: [`Deny`] is exhaustive: the request was understood and decided. `Fault` means that
//! nothing was decided. A code never changes its meaning.

mod assertion;
mod deny;
mod fault;
mod malformed;
mod overload;
mod unauthenticated;

pub use assertion::{BadCertificate, BadJwt};
pub use deny::{BadJoinToken, Deny};
pub use fault::Fault;
pub use malformed::Malformed;
pub use overload::Overload;
pub use unauthenticated::Unauthenticated;

use crate::evidence::replay_cache::ReplayRefusal;

/// A refusal of any kind.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The request was not understood.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is no valid proof of who asks.
    #[error(transparent)]
    Unauthenticated(#[from] Unauthenticated),
    /// The request was understood and refused.
    #[error(transparent)]
    Deny(#[from] Deny),
    /// The request was not looked at, for lack of capacity.
    #[error(transparent)]
    Overload(#[from] Overload),
    /// Something failed, and nothing was decided.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It was not understood.
    Malformed,
    /// There is no valid proof of who asks.
    Unauthenticated,
    /// It was understood and refused.
    Deny,
    /// It was not looked at.
    Overload,
    /// Nothing was decided.
    Fault {
        /// Whether the same request may be sent again.
        is_retriable: bool,
    },
}

impl Refusal {
    /// What kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Refusal::Malformed(_) => Kind::Malformed,
            Refusal::Unauthenticated(_) => Kind::Unauthenticated,
            Refusal::Deny(_) => Kind::Deny,
            Refusal::Overload(_) => Kind::Overload,
            Refusal::Fault(fault) => Kind::Fault { is_retriable: fault.is_retriable() },
        }
    }

    /// After how many milliseconds the same call may be made again, with a new proof: nobody decided it.
    /// `None` where somebody did, or where that won't help.
    pub fn retry_ms(&self) -> Option<u64> {
        match self {
            Refusal::Overload(refusal) => refusal.retry_ms(),
            // A proof that is younger than this verifier's memory will be accepted.
            Refusal::Unauthenticated(Unauthenticated::Replay(ReplayRefusal::BeforeStart)) => {
                Some(100)
            }
            Refusal::Malformed(_)
            | Refusal::Unauthenticated(_)
            | Refusal::Deny(_)
            | Refusal::Fault(_) => None,
        }
    }

    /// Returns the stable code.
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
            (Fault::Signer(crate::base::sign::SignerFault("x".into())), "signer_unavailable", true),
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
