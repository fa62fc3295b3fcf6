//! Enrollment with a SPIFFE X.509-SVID, shown in TLS (X.509-SVID section 5; compare RFC 8705).
//!
//! Owns: the check that the connection's certificate is the one that the request names and is valid now.
//! Does not own: the handshake (`tls`), which agent it is (profiles).
//!
//! Invariants: the new key's signature covers the certificate, so a request cannot be enrolled on
//! another connection. Only authorities of the certificate's own trust domain are used.

use std::sync::Arc;

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::UnixMillis;
use sublet_core::decide::Credential;
use sublet_core::evidence::workload::Attested;
use sublet_core::refusal::{BadCertificate, Refusal, Unauthenticated};

use super::method::{Method, Presented, spiffe_claims};
use super::names::X509_SVID;
use crate::transport::certificate::Certificate;
use crate::transport::tls::Tls;

/// The method `x509_svid`.
pub struct X509Svid(Arc<Tls>);

impl X509Svid {
    /// The method for the certificates that this TLS accepts.
    pub fn new(tls: Arc<Tls>) -> Self {
        X509Svid(tls)
    }
}

#[tonic::async_trait]
impl Method for X509Svid {
    fn name(&self) -> &'static str {
        X509_SVID
    }

    async fn show(&self, shown: &Presented<'_>, now: UnixMillis) -> Result<Credential, Refusal> {
        let certificate = shown
            .certificate
            .ok_or(Unauthenticated::Missing("a client certificate of the connection"))?;
        if certificate.leaf() != shown.credential {
            return Err(Unauthenticated::from(BadCertificate::Another).into());
        }
        // The certificate was valid at the connection's first call, and is checked again here.
        self.0.verify(&certificate.chain, now).map_err(Unauthenticated::from)?;
        Ok(Credential::Attested(Box::new(attested(certificate, now))))
    }
}

/// Returns what a certificate shows.
pub(crate) fn attested(certificate: &Certificate, now: UnixMillis) -> Attested {
    Attested {
        method: X509_SVID,
        issuer: certificate.issuer(),
        claims: spiffe_claims(&certificate.id),
        id: sha256(certificate.leaf()),
        once: false,
        // It is valid now, and the decision follows at once.
        expires_at: now.plus_ms(60_000),
    }
}
