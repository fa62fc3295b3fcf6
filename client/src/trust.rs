//! The trust bundle that this process goes by, and its updates.
//!
//! Owns: one shared bundle, replaced whole. Does not own: which bundle is acceptable
//! (`sublet_core::trust::bundle`), where the first one comes from (an operator's file, or
//! enrollment).
//!
//! Invariants: a bundle is replaced only by one that it accepts itself, and never by an older one
//! (SPEC 2.11); a verifier reads the current bundle for every check and keeps no copy.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use sublet_core::base::id::{TrustDomain, UnixMillis};
use sublet_core::base::key::PublicKey;
use sublet_core::refusal::Unauthenticated;
use sublet_core::token::verify::{TaintedIdentity, VerifiedToken};
use sublet_core::token::{Presentation, UnverifiedToken};
use sublet_core::trust::bundle::{KeyRefusal, KeyState, TrustBundle, TrustedKey};

use crate::broker::connect::Broker;
use crate::error::Error;
use crate::files;

/// A trust bundle that can be updated. Clones share one bundle.
#[derive(Clone, Debug)]
pub struct Trust(Arc<RwLock<Arc<TrustBundle>>>);

impl Trust {
    /// Starts from this bundle.
    pub fn new(bundle: TrustBundle) -> Self {
        Trust(Arc::new(RwLock::new(Arc::new(bundle))))
    }

    /// Reads the first bundle from a `trust.json`. Errors: the file cannot be read, or the bundle
    /// is not acceptable at `now`.
    pub fn open(path: &Path, now: UnixMillis) -> Result<Self, Error> {
        let text = files::read(path)?;
        let bundle = TrustBundle::open(&text, now);
        let detail = |bad| format!("the trust bundle (trust.json) is not acceptable: {bad}");
        bundle.map(Trust::new).map_err(|bad| Error::file(path, detail(bad)))
    }

    /// Returns the current bundle.
    pub fn current(&self) -> Arc<TrustBundle> {
        // The value is replaced whole, so it is complete even if a writer panicked.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the trust domain. No update changes it.
    pub fn domain(&self) -> TrustDomain {
        self.current().trust_domain().clone()
    }

    /// Replaces the bundle by a newer one that the current bundle accepts. Returns whether it
    /// changed.
    pub fn update(&self, text: &[u8], now: UnixMillis) -> Result<bool, Error> {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let next = held.accept_update(text, now)?;
        let changed = next != **held;
        if changed {
            tracing::info!(version = next.version(), "trust bundle updated");
            *held = Arc::new(next);
        }
        Ok(changed)
    }

    /// Fetches the broker's bundle and takes it if it is newer. Returns its text when the bundle
    /// changed, so that the caller can store it; `None` otherwise.
    pub async fn refresh(&self, broker: &Broker) -> Result<Option<Vec<u8>>, Error> {
        let text = broker.trust_bundle().await?;
        let changed = self.update(&text, broker.ports().clock.now())?;
        Ok(changed.then_some(text))
    }

    /// Checks a broker's answer. If the check fails, the answer may be signed by a new key: the
    /// bundle is fetched with `refresh`, and if it is newer, the answer is checked again.
    pub(crate) async fn check<T, R>(
        &self,
        refresh: impl Future<Output = Result<R, Error>>,
        check: impl Fn(&Trust) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.current().version();
        match check(self) {
            Err(failure) => {
                // Another task may have updated the bundle meanwhile, so the current version
                // decides.
                let asked = refresh.await;
                match asked.is_ok() && self.current().version() != before {
                    true => check(self),
                    false => Err(failure),
                }
            }
            held => held,
        }
    }

    /// Decodes and verifies a token.
    pub fn verify(&self, token: &[u8]) -> Result<VerifiedToken, Error> {
        let token = UnverifiedToken::decode(token)?;
        Ok(VerifiedToken::verify(token, &self.current())?)
    }

    /// Decodes and verifies this agent's own identity token. A token whose root is tainted is
    /// accepted here, because the broker renews it.
    pub(crate) fn verify_own(&self, identity: &[u8]) -> Result<VerifiedToken, Error> {
        let (token, bundle) = (UnverifiedToken::decode(identity)?, self.current());
        match VerifiedToken::verify(token.clone(), &bundle) {
            Err(Unauthenticated::Root(KeyRefusal::Tainted(_))) => {
                Ok(TaintedIdentity::verify(token, &bundle)?.into_token())
            }
            verified => Ok(verified?),
        }
    }

    /// Returns whether the bundle lists this key as tainted.
    pub(crate) fn is_tainted(&self, key: &PublicKey) -> bool {
        let tainted = |listed: &TrustedKey| listed.state == KeyState::Tainted;
        self.current().keys().iter().any(|listed| listed.public == *key && tainted(listed))
    }

    /// Verifies a token in text form. Returns it with the bytes of its receipt, which are not
    /// decoded; `None` when the text has no receipt.
    pub fn verify_text(&self, text: &str) -> Result<(VerifiedToken, Option<Vec<u8>>), Error> {
        let presentation = Presentation::from_text(text)?;
        Ok((self.verify(&presentation.token)?, presentation.receipt))
    }
}

impl From<TrustBundle> for Trust {
    fn from(bundle: TrustBundle) -> Self {
        Trust::new(bundle)
    }
}
