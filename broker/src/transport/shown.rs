//! The client certificate that a connection showed, until it is known to be valid.
//!
//! Owns: checking it again with each call until it is valid. Does not own: the check (`certificate`, `tls`).
//!
//! Invariants: a certificate that was found valid stays valid for its connection.

use std::fmt;
use std::sync::{Arc, OnceLock};

use sublet_core::base::id::UnixMillis;
use sublet_core::refusal::BadCertificate;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::transport::certificate::Certificate;
use crate::transport::tls::Tls;

/// What a client showed when it connected. It is checked with each call until it is valid, because the
/// authorities or a clock may be late for a moment.
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    tls: Arc<Tls>,
    holds: OnceLock<Certificate>,
}

impl Shown {
    /// Takes what a connection has shown; `None` if it showed no certificate.
    pub(crate) fn of(chain: Option<&[CertificateDer<'_>]>, tls: &Arc<Tls>) -> Option<Self> {
        let chain: Vec<_> = chain?.iter().map(|one| one.clone().into_owned()).collect();
        Some(Shown { chain, tls: tls.clone(), holds: OnceLock::new() })
    }

    /// Returns the certificate, if it is valid.
    pub(crate) fn certificate(&self, now: UnixMillis) -> Result<&Certificate, BadCertificate> {
        if let Some(certificate) = self.holds.get() {
            return Ok(certificate);
        }
        let certificate = self.tls.verify(&self.chain, now)?;
        Ok(self.holds.get_or_init(|| certificate))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({} certificates)", self.chain.len())
    }
}
