//! What a caller shows: token, receipt, call proof and, where it is demanded, inclusion, in gRPC metadata. docs/FORMATS, "On the wire".

use tonic::metadata::{BinaryMetadataValue, MetadataMap};

use sublet_core::no::Unauthenticated;
use sublet_core::proof::CallProof;

use crate::{INCLUSION_METADATA, PROOF_METADATA, RECEIPT_METADATA, TOKEN_METADATA};

/// Token, receipt and proof as bytes; nothing of it is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The token; empty for the admin.
    pub token: Vec<u8>,
    /// The receipt; empty when there is none.
    pub receipt: Vec<u8>,
    /// The call proof, its claims and signature.
    pub proof: Vec<u8>,
    /// That the hops are in the ledger; empty when it is not shown.
    pub inclusion: Vec<u8>,
}

impl Credentials {
    /// Takes them out of a request's metadata. A call without a proof has none.
    pub fn from_metadata(metadata: &MetadataMap) -> Result<Self, Unauthenticated> {
        let read = |name: &str| {
            let value = metadata.get_bin(name).and_then(|value| value.to_bytes().ok());
            value.map(|bytes| bytes.to_vec()).unwrap_or_default()
        };
        let found = Credentials {
            token: read(TOKEN_METADATA),
            receipt: read(RECEIPT_METADATA),
            proof: read(PROOF_METADATA),
            inclusion: read(INCLUSION_METADATA),
        };
        if found.proof.is_empty() {
            Err(Unauthenticated::Missing("the call proof"))
        } else {
            Ok(found)
        }
    }

    /// Puts them into a request's metadata; what is empty is left out.
    pub fn into_metadata(self, metadata: &mut MetadataMap) {
        let parts = [
            (TOKEN_METADATA, self.token),
            (RECEIPT_METADATA, self.receipt),
            (PROOF_METADATA, self.proof),
            (INCLUSION_METADATA, self.inclusion),
        ];
        for (name, bytes) in parts {
            if !bytes.is_empty() {
                metadata.insert_bin(name, BinaryMetadataValue::from_bytes(&bytes));
            }
        }
    }

    /// The proof, read.
    pub fn call_proof(&self) -> Result<CallProof, sublet_core::no::Malformed> {
        CallProof::decode(&self.proof).map_err(sublet_core::no::Malformed::Proof)
    }
}
