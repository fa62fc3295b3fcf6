//! A client certificate: which workload a connection is from (X.509-SVID; compare RFC 8705).
//!
//! Owns: the check against the authorities of the certificate's own trust domain. Does not own: the
//! handshake, which proves possession of the key (`tls`); which agent it is (`enroll::x509`, `authenticate`).
//!
//! Invariants: the bundles of trust domains are never merged. A certificate that names no workload or
//! two is refused. If a connection shows a certificate that is not valid, nothing else of it is accepted.

use std::collections::HashMap;
use std::sync::Arc;

use sublet_core::base::id::SpiffeId;
use sublet_core::refusal::BadCertificate;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};

/// A client certificate that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The workload that it names.
    pub id: SpiffeId,
    /// The certificate, followed by those up to its authority.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Certificate {
    /// Returns the certificate itself, in DER.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map(AsRef::as_ref).unwrap_or_default()
    }

    /// Returns its trust domain as an issuer's name, `spiffe://` and the domain.
    pub fn issuer(&self) -> String {
        format!("spiffe://{}", self.id.trust_domain())
    }
}

/// Returns the one SPIFFE id of a certificate (X.509-SVID section 2); `None` if it has none or several.
fn spiffe_id(certificate: &CertificateDer<'_>) -> Option<SpiffeId> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_uri_names();
    match (names.next(), names.next()) {
        (Some(name), None) => name.parse().ok(),
        _ => None,
    }
}

/// Verifies a client certificate with the authorities of the trust domain that it names.
#[derive(Debug)]
pub struct ByDomain {
    domains: HashMap<String, Arc<dyn ClientCertVerifier>>,
    subjects: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
    required: bool,
}

impl ByDomain {
    /// Makes it from these authorities. `subjects` are the authorities' names that clients are told.
    pub fn new(
        domains: HashMap<String, Arc<dyn ClientCertVerifier>>,
        subjects: Vec<DistinguishedName>,
        provider: Arc<CryptoProvider>,
        required: bool,
    ) -> Self {
        ByDomain { domains, subjects, provider, required }
    }

    /// Returns the workload of a certificate, if the certificate is valid now.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'static>],
        now: UnixTime,
    ) -> Result<Certificate, BadCertificate> {
        let (leaf, between) = chain.split_first().ok_or(BadCertificate::Names)?;
        let id = self.judge(leaf, between, now)?;
        Ok(Certificate { id, chain: chain.to_vec() })
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<SpiffeId, BadCertificate> {
        let id = spiffe_id(leaf).ok_or(BadCertificate::Names)?;
        let domain = format!("spiffe://{}", id.trust_domain());
        let verifier = self.domains.get(&domain);
        let verifier = verifier.ok_or_else(|| BadCertificate::Domain(domain.clone()))?;
        match verifier.verify_client_cert(leaf, between, now) {
            Ok(_) => Ok(id),
            Err(error) => Err(bad(error, domain)),
        }
    }
}

/// Returns our error for an error of rustls.
fn bad(error: Error, domain: String) -> BadCertificate {
    use CertificateError as Why;
    match error {
        Error::InvalidCertificate(
            Why::Expired
            | Why::ExpiredContext { .. }
            | Why::NotValidYet
            | Why::NotValidYetContext { .. },
        ) => BadCertificate::Time,
        Error::InvalidCertificate(Why::UnknownIssuer | Why::BadSignature) => {
            BadCertificate::Authority(domain)
        }
        other => BadCertificate::Form(other.to_string()),
    }
}

/// Returns the TLS error with which a handshake ends.
fn alert(bad: &BadCertificate) -> CertificateError {
    match bad {
        BadCertificate::Time => CertificateError::Expired,
        BadCertificate::Domain(_) | BadCertificate::Authority(_) => CertificateError::UnknownIssuer,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}

impl ClientCertVerifier for ByDomain {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // If no certificate is required, an invalid one is refused at the first call, with a reason. A
        // handshake cannot carry a reason.
        match self.judge(leaf, between, now) {
            Err(bad) if self.required => Err(Error::InvalidCertificate(alert(&bad))),
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 alone is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.required
    }
}
