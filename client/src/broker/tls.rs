//! TLS to a broker: the authorities to trust, and the client certificate to show.
//!
//! Owns: the TLS files, which are read when a connection is prepared and again when they have
//! changed. Does not own: the protocol (rustls).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sublet_core::base::bytes::sha256;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::files;

/// TLS settings. By default no client certificate is shown, and the broker's certificate must be of
/// a public authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The PEM file of the authorities that may have signed the broker's certificate. If it is set,
    /// public authorities are not trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The PEM file of the client certificate: a SPIFFE X.509-SVID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The PEM file of the client certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The address of the Workload API that certificate and key come from, and their successors
    /// will.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_api: Option<String>,
}

impl Tls {
    /// Returns the same settings with absolute paths.
    pub(crate) fn absolute(&self) -> Result<Self, Error> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|error| Error::io("read", path, &error))
        };
        let socket = |socket: &String| match socket.strip_prefix("unix:") {
            Some(path) => absolute(&path.into()).map(|path| format!("unix:{}", path.display())),
            None => Ok(socket.clone()),
        };
        Ok(Tls {
            ca: self.ca.as_ref().map(absolute).transpose()?,
            certificate: self.certificate.as_ref().map(absolute).transpose()?,
            key: self.key.as_ref().map(absolute).transpose()?,
            workload_api: self.workload_api.as_ref().map(socket).transpose()?,
        })
    }

    /// Returns the SHA-256 over the current content of the files.
    pub(crate) fn digest(&self) -> Result<[u8; 32], Error> {
        let files = [&self.ca, &self.certificate, &self.key].into_iter().flatten();
        let digests = files.map(|path| Ok(sha256(&Zeroizing::new(files::read(path)?))));
        Ok(sha256(&digests.collect::<Result<Vec<_>, Error>>()?.concat()))
    }

    pub(crate) fn config(&self) -> Result<ClientTlsConfig, Error> {
        let config = match &self.ca {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem(path)?)),
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let certificate = pem(certificate)?;
                // An SVID of the Workload API is one file with certificate and key. Settings of
                // earlier enrollments may name two files.
                let key = match self.workload_api.is_some() && has_key(&certificate) {
                    true => certificate.clone(),
                    false => pem(key)?,
                };
                Ok(config.identity(Identity::from_pem(certificate, key)))
            }
            (None, None) => Ok(config),
            _ => Err(Error::local("bad_tls", "a client certificate and its key belong together")),
        }
    }

    /// Reads the client certificate as DER, which an enrollment request includes. The code of the
    /// error is `bad_tls` when no certificate is set.
    pub fn leaf(&self) -> Result<Vec<u8>, Error> {
        let none = || Error::local("bad_tls", "there is no client certificate to show");
        let path = self.certificate.as_ref().ok_or_else(none)?;
        first_certificate(&files::read_text(path)?)
            .ok_or_else(|| Error::file(path, "no certificate in PEM"))
    }
}

fn pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    files::read(path).map(Zeroizing::new)
}

fn has_key(pem: &[u8]) -> bool {
    String::from_utf8_lossy(pem).contains("-----BEGIN PRIVATE KEY-----")
}

/// Returns the first certificate of a PEM text (RFC 7468) as DER; `None` when there is none.
fn first_certificate(pem: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let (_, from) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = from.split_once("-----END CERTIFICATE-----")?;
    let body: String = body.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_without_its_key_is_no_setting() {
        let alone = Tls { certificate: Some("svid.pem".into()), ..Tls::default() };
        assert_eq!(alone.config().unwrap_err().code(), "bad_tls");
        assert_eq!(Tls::default().leaf().unwrap_err().code(), "bad_tls");
    }
}
