//! Faults: the broker, or a service that it needs, failed, and nothing was decided. SPEC section 8.

/// A failure. Nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The store failed. The same request may be sent again.
    #[error("the store is not available: {0}")]
    Store(String),
    /// A signer failed.
    #[error("{0}")]
    Signer(#[from] crate::base::sign::SignerFault),
    /// The keys of an issuer cannot be fetched. The same request may be sent again.
    #[error("the keys of {0} cannot be fetched")]
    IssuerKeys(String),
    /// A deadline passed. The same request may be sent again.
    #[error("no answer in time")]
    Deadline,
    /// An invariant does not hold. A retry does not help.
    #[error("internal: {0}")]
    Internal(String),
}

impl Fault {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Store(_) => "store_unavailable",
            Fault::Signer(_) => "signer_unavailable",
            Fault::IssuerKeys(_) => "issuer_keys_unavailable",
            Fault::Deadline => "deadline",
            Fault::Internal(_) => "internal",
        }
    }

    /// Returns whether the same request may be sent again.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, Fault::Internal(_))
    }
}
