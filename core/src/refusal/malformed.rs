//! Malformed: the request was not understood. SPEC section 8.

use crate::base::id::BadId;
use crate::capability::BadScope;
use crate::evidence::call::{BadArguments, NotExact};
use crate::evidence::proof::BadProof;
use crate::evidence::receipt::BadReceipt;
use crate::revocation::feed::BadFeed;
use crate::token::BadToken;
use crate::trust::bundle::BadBundle;

/// The part of a request that was not understood.
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
    /// The audience or the action of a call, which is not exact.
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
    /// A revocation feed, or a file of one.
    #[error("the revocation feed is not acceptable: {0}")]
    Feed(#[from] BadFeed),
    /// A part of a presentation, by the name of its header or metadata.
    #[error("{name}: {detail}")]
    Part {
        /// The name of the header.
        name: String,
        /// Why it is not accepted.
        detail: String,
    },
    /// A part of a presentation that is larger than any reader accepts.
    #[error("{name}: {bytes} bytes, at most {} are taken", crate::base::limits::FURTHER_BYTES_MAX)]
    PartTooLarge {
        /// The name of the header.
        name: String,
        /// Its size in bytes.
        bytes: usize,
    },
    /// A field of a request.
    #[error("{field}: {detail}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// Why it is not accepted.
        detail: String,
    },
}

impl Malformed {
    /// Returns the stable code.
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
