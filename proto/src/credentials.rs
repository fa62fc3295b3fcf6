//! What a caller shows: token, receipt, call proof and, where it is demanded, inclusion, in gRPC metadata
//! or in HTTP headers. docs/FORMATS, "On the wire".

use http::HeaderMap;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

use sublet_core::no::Unauthenticated;
use sublet_core::proof::CallProof;
use sublet_core::text::{base64url, from_base64url};

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

    /// Takes them out of HTTP headers, where they are base64url without the metadata's `-bin`.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Unauthenticated> {
        let read = |name: &str| match headers.get(name.trim_end_matches("-bin")) {
            None => Ok(Vec::new()),
            Some(value) => {
                let bytes = value.to_str().ok().and_then(from_base64url);
                bytes.ok_or(Unauthenticated::Missing("base64url in a sublet- header"))
            }
        };
        let found = Credentials {
            token: read(TOKEN_METADATA)?,
            receipt: read(RECEIPT_METADATA)?,
            proof: read(PROOF_METADATA)?,
            inclusion: read(INCLUSION_METADATA)?,
        };
        if found.proof.is_empty() {
            Err(Unauthenticated::Missing("the call proof"))
        } else {
            Ok(found)
        }
    }

    /// As HTTP headers; what is empty is left out.
    pub fn to_headers(&self) -> Vec<(&'static str, String)> {
        let parts = [
            ("sublet-token", &self.token),
            ("sublet-receipt", &self.receipt),
            ("sublet-proof", &self.proof),
            ("sublet-inclusion", &self.inclusion),
        ];
        let shown = parts.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        shown.map(|(name, bytes)| (name, base64url(bytes))).collect()
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
