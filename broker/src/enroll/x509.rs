//! Enrollment by a SPIFFE X.509-SVID, shown in TLS (X.509-SVID section 5; RFC 8705 in spirit).
//!
//! Owns: that the certificate of the connection is the one that the request names, and holds now. Does
//! not own: the handshake (`tls`), which agent it is (profiles).
//!
//! Invariants: the new key's signature covers the certificate, so that nobody's request is enrolled on
//! another's connection; authorities are those of the certificate's own trust domain.

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

/// The method.
pub struct X509Svid(Arc<Tls>);

impl X509Svid {
    /// By the certificates that this TLS takes.
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
        // It held when the connection's first call came.
        self.0.verify(&certificate.chain, now).map_err(Unauthenticated::from)?;
        Ok(Credential::Attested(Box::new(attested(certificate, now))))
    }
}

/// What a certificate shows.
pub(crate) fn attested(certificate: &Certificate, now: UnixMillis) -> Attested {
    Attested {
        method: X509_SVID,
        issuer: certificate.issuer(),
        claims: spiffe_claims(&certificate.id),
        id: sha256(certificate.leaf()),
        once: false,
        // It held a moment ago; the decision is made in this one.
        expires_at: now.plus_ms(60_000),
    }
}
