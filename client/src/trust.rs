//! The trust bundle that this process goes by, and its updates.
//!
//! Owns: one shared bundle, replaced whole. Does not own: what makes a bundle good
//! (`sublet_core::trust::bundle`), where the first one comes from (an operator's file, or enrollment).
//!
//! Invariants: a bundle is replaced only by one that it vouches for itself, and never by an older
//! one (SPEC 2.11); who verifies takes the bundle of the moment and keeps no copy.

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

/// A trust bundle that may be replaced by a newer one. Clones share it.
#[derive(Clone, Debug)]
pub struct Trust(Arc<RwLock<Arc<TrustBundle>>>);

impl Trust {
    /// Goes by this bundle.
    pub fn new(bundle: TrustBundle) -> Self {
        Trust(Arc::new(RwLock::new(Arc::new(bundle))))
    }

    /// Goes by the bundle in a `trust.json`, which is where trust begins.
    pub fn open(path: &Path, now: UnixMillis) -> Result<Self, Error> {
        let text = files::read(path)?;
        let bundle = TrustBundle::open(&text, now);
        let detail = |bad| format!("no trust bundle that can be gone by (trust.json): {bad}");
        bundle.map(Trust::new).map_err(|bad| Error::file(path, detail(bad)))
    }

    /// The bundle of this moment.
    pub fn current(&self) -> Arc<TrustBundle> {
        // A bundle is put in whole, so a writer that panicked left a whole one.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The trust domain, which no update changes.
    pub fn domain(&self) -> TrustDomain {
        self.current().trust_domain().clone()
    }

    /// Takes a newer bundle, if the one held vouches for it. Says whether anything changed.
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

    /// Asks the broker for its bundle and takes it, if it is newer. Gives the text when it
    /// changed, to be kept.
    pub async fn refresh(&self, broker: &Broker) -> Result<Option<Vec<u8>>, Error> {
        let text = broker.trust_bundle().await?;
        let changed = self.update(&text, broker.ports().clock.now())?;
        Ok(changed.then_some(text))
    }

    /// Checks a broker's answer. One that does not hold may be by a key that the broker made meanwhile:
    /// its bundle is asked for then, by `refresh`, and if it is a newer one, the answer is checked again.
    pub(crate) async fn check<T, R>(
        &self,
        refresh: impl Future<Output = Result<R, Error>>,
        check: impl Fn(&Trust) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.current().version();
        match check(self) {
            Err(failure) => {
                // Somebody else may have taken it meanwhile: what counts is what is held now.
                let asked = refresh.await;
                match asked.is_ok() && self.current().version() != before {
                    true => check(self),
                    false => Err(failure),
                }
            }
            held => held,
        }
    }

    /// Reads and verifies a token's bytes.
    pub fn verify(&self, token: &[u8]) -> Result<VerifiedToken, Error> {
        let token = UnverifiedToken::decode(token)?;
        Ok(VerifiedToken::verify(token, &self.current())?)
    }

    /// Reads and verifies an identity that is one's own: one whose root was tainted is of no use but to
    /// be renewed, which the broker does.
    pub(crate) fn verify_own(&self, identity: &[u8]) -> Result<VerifiedToken, Error> {
        let (token, bundle) = (UnverifiedToken::decode(identity)?, self.current());
        match VerifiedToken::verify(token.clone(), &bundle) {
            Err(Unauthenticated::Root(KeyRefusal::Tainted(_))) => {
                Ok(TaintedIdentity::verify(token, &bundle)?.into_token())
            }
            verified => Ok(verified?),
        }
    }

    /// Whether what this key signed holds no more.
    pub(crate) fn is_tainted(&self, key: &PublicKey) -> bool {
        let tainted = |listed: &TrustedKey| listed.state == KeyState::Tainted;
        self.current().keys().iter().any(|listed| listed.public == *key && tainted(listed))
    }

    /// Reads and verifies the token in a text form, and gives the receipt beside it, if there is one,
    /// unread.
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
