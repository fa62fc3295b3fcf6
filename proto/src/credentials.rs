//! A caller's credentials in gRPC metadata or in HTTP headers. SPEC 5.12; docs/FORMATS, "On the
//! wire".
//!
//! Owns: their names and forms on the wire, and that no other name is accepted. Does not own: the
//! type (`sublet_core::authorize`), whether they are valid.
//!
//! Invariants: an unknown name that begins with `sublet-` is refused by its name, and so is a part
//! that occurs twice, so no caller can believe that an ignored part was considered.

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

pub use sublet_core::authorize::Credentials;
use sublet_core::base::limits::FURTHER_BYTES_MAX;
use sublet_core::base::text::{base64url, from_base64url};
use sublet_core::evidence::proof::{proof_bytes, proof_text};
use sublet_core::refusal::{Malformed, Refusal, Unauthenticated};
use sublet_core::token::Presentation;

use crate::{
    FURTHER_METADATA, INCLUSION_METADATA, POSITION_METADATA, PROOF_METADATA, RECEIPT_METADATA,
    TOKEN_METADATA,
};

const TOKEN_HEADER: &str = "sublet-token";
const PROOF_HEADER: &str = "sublet-proof";
const INCLUSION_HEADER: &str = "sublet-inclusion";
const FURTHER_HEADER: &str = "sublet-further";

/// The start of the name of every part.
const OURS: &str = "sublet-";

/// The form of credentials on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Metadata of gRPC: each part has a key of its own, as bytes.
    Metadata,
    /// Headers of HTTP: texts, with the receipt inside `sublet-token`.
    Headers,
}

impl Form {
    /// Returns the parts that a reader accepts. `sublet-position` is for clusters: it is accepted,
    /// and has no meaning here.
    fn known(self) -> &'static [&'static str] {
        match self {
            Form::Metadata => &[
                TOKEN_METADATA,
                RECEIPT_METADATA,
                PROOF_METADATA,
                INCLUSION_METADATA,
                POSITION_METADATA,
            ],
            Form::Headers => &[TOKEN_HEADER, PROOF_HEADER, INCLUSION_HEADER, POSITION_METADATA],
        }
    }

    fn further(self) -> &'static str {
        match self {
            Form::Metadata => FURTHER_METADATA,
            Form::Headers => FURTHER_HEADER,
        }
    }
}

/// Refuses a request with an unknown part, or with a part that occurs twice.
pub fn check_names(headers: &HeaderMap, form: Form) -> Result<(), Malformed> {
    for name in headers.keys().filter(|name| name.as_str().starts_with(OURS)) {
        let part =
            |detail: &str| Malformed::Part { name: shortened(name), detail: detail.to_owned() };
        if form.known().contains(&name.as_str()) {
            if headers.get_all(name).iter().count() > 1 {
                return Err(part("it stands twice"));
            }
        } else if name.as_str() == form.further() {
            return Err(not_understood(name, headers.get(name)));
        } else if form == Form::Headers && name.as_str().starts_with("sublet-receipt") {
            return Err(part("the receipt is inside sublet-token"));
        } else {
            return Err(part("this reader knows no such part"));
        }
    }
    Ok(())
}

/// Returns the error of the further part, which no reader understands yet and which may not be
/// large.
fn not_understood(name: &HeaderName, value: Option<&HeaderValue>) -> Malformed {
    // The value is base64: four characters are three bytes.
    let bytes = value.map_or(0, |value| value.len() / 4 * 3);
    match bytes > FURTHER_BYTES_MAX {
        true => Malformed::PartTooLarge { name: shortened(name), bytes },
        false => Malformed::Part {
            name: shortened(name),
            detail: "it is reserved, and this reader does not understand it".to_owned(),
        },
    }
}

/// Returns a name, cut for use in a message.
fn shortened(name: &HeaderName) -> String {
    name.as_str().chars().take(64).collect()
}

/// Reads credentials from a request's metadata. A call without a proof is refused, and unknown
/// parts are.
pub fn from_metadata(metadata: &MetadataMap) -> Result<Credentials, Refusal> {
    check_names(metadata.as_ref(), Form::Metadata)?;
    let read = |name: &str| match metadata.get_bin(name) {
        None => Ok(None),
        Some(value) => {
            let bytes = value.to_bytes().map_err(|_| not_base64(name))?;
            Ok::<_, Malformed>(Some(bytes.to_vec()).filter(|bytes| !bytes.is_empty()))
        }
    };
    with_proof(Credentials {
        token: read(TOKEN_METADATA)?,
        receipt: read(RECEIPT_METADATA)?,
        proof: read(PROOF_METADATA)?.unwrap_or_default(),
        inclusion: read(INCLUSION_METADATA)?,
    })
}

/// Reads credentials from HTTP headers. A call without a proof is refused, and unknown parts are.
pub fn from_headers(headers: &HeaderMap) -> Result<Credentials, Refusal> {
    check_names(headers, Form::Headers)?;
    let text = |name: &str| match headers.get(name) {
        None => Ok(None),
        Some(value) => value.to_str().map(Some).map_err(|_| not_base64(name)),
    };
    let shown = text(TOKEN_HEADER)?.map(Presentation::from_text).transpose();
    let shown = shown.map_err(Malformed::from)?;
    let (token, receipt) = shown.map_or((None, None), |shown| (Some(shown.token), shown.receipt));
    let proof = text(PROOF_HEADER)?.map(proof_bytes).transpose().map_err(Malformed::Proof)?;
    let inclusion = text(INCLUSION_HEADER)?
        .map(|text| from_base64url(text).ok_or_else(|| not_base64(INCLUSION_HEADER)));
    let inclusion = inclusion.transpose()?.filter(|bytes| !bytes.is_empty());
    with_proof(Credentials { token, receipt, proof: proof.unwrap_or_default(), inclusion })
}

fn not_base64(name: &str) -> Malformed {
    Malformed::Part { name: name.to_owned(), detail: "it is not base64".to_owned() }
}

fn with_proof(found: Credentials) -> Result<Credentials, Refusal> {
    match found.proof.is_empty() {
        true => Err(Unauthenticated::Missing("the call proof").into()),
        false => Ok(found),
    }
}

/// Returns credentials as HTTP headers; missing parts are left out.
pub fn to_headers(shown: &Credentials) -> Vec<(&'static str, String)> {
    let Credentials { token, receipt, proof, inclusion } = shown;
    let token = token.as_ref().map(|token| {
        let shown = Presentation { token: token.clone(), receipt: receipt.clone() };
        (TOKEN_HEADER, shown.to_text())
    });
    let proof = (PROOF_HEADER, proof_text(proof));
    let inclusion = inclusion.as_ref().map(|bytes| (INCLUSION_HEADER, base64url(bytes)));
    token.into_iter().chain([proof]).chain(inclusion).collect()
}

/// Writes credentials into a request's metadata; missing parts are left out.
pub fn into_metadata(shown: &Credentials, metadata: &mut MetadataMap) {
    let parts = [
        (TOKEN_METADATA, shown.token.as_deref()),
        (RECEIPT_METADATA, shown.receipt.as_deref()),
        (PROOF_METADATA, Some(shown.proof.as_slice())),
        (INCLUSION_METADATA, shown.inclusion.as_deref()),
    ];
    for (name, bytes) in parts {
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            metadata.insert_bin(name, BinaryMetadataValue::from_bytes(bytes));
        }
    }
}
