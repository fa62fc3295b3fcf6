//! How a caller's credentials travel: in gRPC metadata or in HTTP headers. docs/FORMATS, "On the wire".
//!
//! Owns: their names and forms on the wire. Does not own: what they are (`sublet_core::authorize`), what they
//! are worth.

use http::HeaderMap;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

pub use sublet_core::authorize::Credentials;
use sublet_core::no::Unauthenticated;
use sublet_core::text::{base64url, from_base64url};

use crate::{INCLUSION_METADATA, PROOF_METADATA, RECEIPT_METADATA, TOKEN_METADATA};

/// Takes them out of a request's metadata. Refuses a call without a proof.
pub fn from_metadata(metadata: &MetadataMap) -> Result<Credentials, Unauthenticated> {
    let read = |name: &str| {
        let value = metadata.get_bin(name).and_then(|value| value.to_bytes().ok());
        value.map(|bytes| bytes.to_vec()).filter(|bytes| !bytes.is_empty())
    };
    with_proof(Credentials {
        token: read(TOKEN_METADATA),
        receipt: read(RECEIPT_METADATA),
        proof: read(PROOF_METADATA).unwrap_or_default(),
        inclusion: read(INCLUSION_METADATA),
    })
}

/// Takes them out of HTTP headers, where they are base64url without the metadata's `-bin`.
pub fn from_headers(headers: &HeaderMap) -> Result<Credentials, Unauthenticated> {
    let read = |name: &str| match headers.get(name.trim_end_matches("-bin")) {
        None => Ok(None),
        Some(value) => {
            let bytes = value.to_str().ok().and_then(from_base64url);
            let bytes = bytes.ok_or(Unauthenticated::Missing("base64url in a sublet- header"))?;
            Ok::<_, Unauthenticated>(Some(bytes).filter(|bytes| !bytes.is_empty()))
        }
    };
    with_proof(Credentials {
        token: read(TOKEN_METADATA)?,
        receipt: read(RECEIPT_METADATA)?,
        proof: read(PROOF_METADATA)?.unwrap_or_default(),
        inclusion: read(INCLUSION_METADATA)?,
    })
}

fn with_proof(found: Credentials) -> Result<Credentials, Unauthenticated> {
    match found.proof.is_empty() {
        true => Err(Unauthenticated::Missing("the call proof")),
        false => Ok(found),
    }
}

/// The parts that are there, by the names of their metadata.
fn parts(shown: &Credentials) -> impl Iterator<Item = (&'static str, &[u8])> {
    let parts = [
        (TOKEN_METADATA, shown.token.as_deref()),
        (RECEIPT_METADATA, shown.receipt.as_deref()),
        (PROOF_METADATA, Some(shown.proof.as_slice())),
        (INCLUSION_METADATA, shown.inclusion.as_deref()),
    ];
    let there = parts.into_iter().filter_map(|(name, bytes)| bytes.map(|bytes| (name, bytes)));
    there.filter(|(_, bytes)| !bytes.is_empty())
}

/// As HTTP headers; what is not there is left out.
pub fn to_headers(shown: &Credentials) -> Vec<(&'static str, String)> {
    let header =
        |(name, bytes): (&'static str, &[u8])| (name.trim_end_matches("-bin"), base64url(bytes));
    parts(shown).map(header).collect()
}

/// Puts them into a request's metadata; what is not there is left out.
pub fn into_metadata(shown: &Credentials, metadata: &mut MetadataMap) {
    for (name, bytes) in parts(shown) {
        metadata.insert_bin(name, BinaryMetadataValue::from_bytes(bytes));
    }
}
