//! What a caller shows. docs/FORMATS, "On the wire".
//!
//! Owns: the parts of a presentation. Does not own: how they are sent
//! (`sublet_proto::credentials`), whether they are valid.

use crate::evidence::proof::CallProof;
use crate::refusal::{Malformed, Unauthenticated};

/// Token, receipt, call proof and inclusion proof as bytes, none of them verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The token; `None` for the admin, who has none.
    pub token: Option<Vec<u8>>,
    /// The receipt of the token; `None` when none was shown.
    pub receipt: Option<Vec<u8>>,
    /// The call proof: its claims and signature. It is missing when it is empty.
    pub proof: Vec<u8>,
    /// The proof that the hops are in the ledger (`sublet.v1.Inclusion`); `None` when none was
    /// shown.
    pub inclusion: Option<Vec<u8>>,
}

impl Credentials {
    /// Returns the token's bytes and the decoded proof. It is an error if either is missing.
    pub fn parts(&self) -> Result<(&[u8], CallProof), crate::refusal::Refusal> {
        let token = self.token.as_deref().ok_or(Unauthenticated::Missing("the token"))?;
        if self.proof.is_empty() {
            return Err(Unauthenticated::Missing("the call proof").into());
        }
        Ok((token, self.call_proof()?))
    }

    /// Decodes the proof.
    pub fn call_proof(&self) -> Result<CallProof, Malformed> {
        CallProof::decode(&self.proof).map_err(Malformed::Proof)
    }
}
