//! TLS towards a broker: whom to believe, and what to show.
//!
//! Owns: the files of it, read when a connection is prepared, and again when they have changed. Does not own: the protocol (rustls).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sublet_core::base::bytes::sha256;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::files;

/// What is said about TLS; by default nothing, and the broker's certificate is of a public authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The authorities that the broker's certificate may be of, PEM; no public one is then believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The certificate that is shown, PEM: a SPIFFE X.509-SVID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The Workload API that the two come from, and their next ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_api: Option<String>,
}

impl Tls {
    /// The same with paths that hold from everywhere.
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

    /// SHA-256 over the files of it, as they are now.
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
                // What the Workload API gives is one file by now; who enrolled before was told of two.
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

    /// The bytes of the certificate that is shown (DER), which a request may name.
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

/// The first certificate of a PEM text (RFC 7468).
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
