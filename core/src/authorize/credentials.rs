//! What a caller shows. docs/FORMATS, "On the wire".
//!
//! Owns: the parts of a presentation. Does not own: how they travel (`sublet_proto::credentials`),
//! what they are worth.

use crate::evidence::proof::CallProof;
use crate::refusal::{Malformed, Unauthenticated};

/// Token, receipt, call proof and inclusion as bytes; nothing of it is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The token; `None` for the admin, who has none.
    pub token: Option<Vec<u8>>,
    /// The receipt of that token, if one was shown.
    pub receipt: Option<Vec<u8>>,
    /// The call proof: its claims and signature. Empty bytes are a proof that is missing.
    pub proof: Vec<u8>,
    /// That the hops are in the ledger (`sublet.v1.Inclusion`), if it was shown.
    pub inclusion: Option<Vec<u8>>,
}

impl Credentials {
    /// The token's bytes and the proof, read. Refuses credentials without either.
    pub fn parts(&self) -> Result<(&[u8], CallProof), crate::refusal::Refusal> {
        let token = self.token.as_deref().ok_or(Unauthenticated::Missing("the token"))?;
        if self.proof.is_empty() {
            return Err(Unauthenticated::Missing("the call proof").into());
        }
        Ok((token, self.call_proof()?))
    }

    /// The proof, read.
    pub fn call_proof(&self) -> Result<CallProof, Malformed> {
        CallProof::decode(&self.proof).map_err(Malformed::Proof)
    }
}
