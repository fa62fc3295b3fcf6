//! Keys in a PKCS#11 token, named by a `pkcs11:` URI (RFC 7512). Needs the feature `pkcs11`.

use std::path::Path;
use std::sync::Arc;

use sublet_core::base::sign::Signer;

use crate::cli_error::CliError;

/// Whether the place of a key is a `pkcs11:` URI and not a file.
pub(crate) fn names_a_token(place: &Path) -> bool {
    place.to_str().is_some_and(|text| text.starts_with("pkcs11:"))
}

/// Opens the key that the `object` of a URI names.
#[cfg(feature = "pkcs11")]
pub(crate) fn open(place: &Path) -> Result<Arc<dyn Signer>, CliError> {
    let (token, label) = token(place)?;
    let found = token.labelled(&label).map_err(trouble)?;
    let none = || CliError::local(format!("the PKCS#11 token has no key with the label {label:?}"));
    Ok(Arc::new(found.ok_or_else(none)?))
}

/// Makes a key in a token. Its label is the `object` of the URI and must be new.
#[cfg(feature = "pkcs11")]
pub(crate) fn make(place: &Path) -> Result<Arc<dyn Signer>, CliError> {
    let (token, label) = token(place)?;
    if token.labelled(&label).map_err(trouble)?.is_some() {
        return Err(CliError::local(format!(
            "the PKCS#11 token already has a key with the label {label:?}"
        )));
    }
    Ok(Arc::new(token.make(&label).map_err(trouble)?))
}

#[cfg(feature = "pkcs11")]
fn token(place: &Path) -> Result<(sublet_pkcs11::Token, String), CliError> {
    let uri: sublet_pkcs11::Uri = place.to_string_lossy().parse().map_err(trouble)?;
    let label = uri.object().map(str::to_owned);
    let label =
        label.ok_or_else(|| CliError::usage("the pkcs11: URI names no key: add object=LABEL"))?;
    Ok((sublet_pkcs11::Token::open(&uri).map_err(trouble)?, label))
}

#[cfg(feature = "pkcs11")]
fn trouble(trouble: sublet_pkcs11::DeviceError) -> CliError {
    CliError::local(trouble.to_string())
}

#[cfg(not(feature = "pkcs11"))]
pub(crate) fn open(_: &Path) -> Result<Arc<dyn Signer>, CliError> {
    Err(unknown())
}

#[cfg(not(feature = "pkcs11"))]
pub(crate) fn make(_: &Path) -> Result<Arc<dyn Signer>, CliError> {
    Err(unknown())
}

#[cfg(not(feature = "pkcs11"))]
fn unknown() -> CliError {
    CliError::local("this binary has no PKCS#11 support: build it with --features pkcs11")
}
