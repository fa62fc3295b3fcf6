//! Nothing was decided: the broker or what it needs has a fault. SPEC section 8.

/// Nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The store did not take it; the same request may be sent again.
    #[error("the store is not available: {0}")]
    Store(String),
    /// A signer did not sign.
    #[error("{0}")]
    Signer(#[from] crate::base::sign::SignerFault),
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
