//! What a connection showed of itself: a client's certificate, until it is known whether it holds.
//!
//! Owns: asking it anew with each call until it holds. Does not own: whether it does (`certificate`, `tls`).
//!
//! Invariants: one that was found to hold holds for its connection.

use std::fmt;
use std::sync::{Arc, OnceLock};

use sublet_core::base::id::UnixMillis;
use sublet_core::refusal::BadCertificate;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::transport::certificate::Certificate;
use crate::transport::tls::Tls;

/// What a client showed when it connected. Whether it holds is asked with each call until it does: the
/// authorities or a clock may be behind for a moment.
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    tls: Arc<Tls>,
    holds: OnceLock<Certificate>,
}

impl Shown {
    /// What a connection has shown; `None` for none.
    pub(crate) fn of(chain: Option<&[CertificateDer<'_>]>, tls: &Arc<Tls>) -> Option<Self> {
        let chain: Vec<_> = chain?.iter().map(|one| one.clone().into_owned()).collect();
        Some(Shown { chain, tls: tls.clone(), holds: OnceLock::new() })
    }

    /// The certificate, if it holds.
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
