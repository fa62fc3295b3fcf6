//! The current identity of a process that shares its directory with other processes.
//!
//! Owns: taking over what other processes stored, and storing the trust bundle that an identity
//! needs. Does not own: asking for another identity (the module above).
//!
//! Invariants: memory holds what was on disk at the last look, or something newer; a trust bundle
//! on disk is never replaced by an older one; an identity is stored after the bundle that it needs.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use sublet_core::trust::bundle::SignedBundle;

use super::Identity;
use crate::agent::current::Current;
use crate::agent::directory::Stamp;
use crate::error::Error;
use crate::files;

/// How long storing a trust bundle waits for the lock of the directory. The bundle is in use
/// already.
const TRUST_DEADLINE: Duration = Duration::from_secs(1);

impl Identity {
    /// Takes over the identity on disk. If its root key is unknown here, the trust bundle is
    /// fetched first.
    pub(super) async fn take_over(&self) -> Result<(), Error> {
        match self.reload() {
            Err(failure) if failure.code() == "unknown_key" => {
                let text = self.broker()?.trust_bundle().await?;
                self.keep_trust(&text)?;
                self.reload()
            }
            taken => taken,
        }
    }

    /// Takes over an identity that another process with this directory renewed or rotated.
    fn reload(&self) -> Result<(), Error> {
        let current = self.kept();
        let bytes = self.0.directory.token()?;
        if bytes == current.token.encode() {
            return Ok(());
        }
        // The other process may have a trust bundle with a root that this process does not know.
        let about = self.0.directory.about()?;
        let trust = files::read(&self.0.directory.trust_path(&about));
        let now = self.0.ports.clock.now();
        if let Err(failure) = trust.and_then(|trust| self.trust().update(&trust, now)) {
            tracing::debug!(agent = %self.id(), "the trust bundle on disk is not taken: {failure}");
        }
        let token = self.trust().verify_own(&bytes)?;
        let key = self.0.directory.key_of(token.holder_key())?;
        if token.is_identity() && token.root().agent == self.id() {
            self.replace(Current { key: Arc::new(key), token: Arc::new(token) });
        }
        Ok(())
    }

    /// Fetches the broker's trust bundle, takes it if it is newer and the current one accepts it,
    /// and stores it. A bundle outside this directory belongs to an operator and is not written.
    pub async fn refresh_trust(&self) -> Result<(), Error> {
        let text = self.broker()?.trust_bundle().await?;
        self.take_trust(&text)?;
        // The bundle is in use even if it cannot be stored, and an identity that needs it stores it
        // before itself. So a long wait for the lock is not worth it.
        let kept = match self.0.directory.lock_within(TRUST_DEADLINE, &self.0.ports).await {
            Ok(_one_process) => self.write_trust(&text),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = kept {
            tracing::warn!(agent = %self.id(), "the trust bundle is not kept: {failure}");
        }
        Ok(())
    }

    /// Takes a bundle and stores it. The caller must hold the directory's lock.
    pub(super) fn keep_trust(&self, text: &[u8]) -> Result<(), Error> {
        self.take_trust(text)?;
        self.write_trust(text)
    }

    fn take_trust(&self, text: &[u8]) -> Result<(), Error> {
        match self.trust().update(text, self.0.ports.clock.now()) {
            // The answer is older than the bundle in use.
            Err(failure) if failure.code() == "bundle_rolled_back" => Ok(()),
            taken => taken.map(drop),
        }
    }

    /// Another user of this trust may have taken the bundle already, so the version on disk
    /// decides.
    fn write_trust(&self, text: &[u8]) -> Result<(), Error> {
        let about = self.0.directory.about()?;
        if !about.trust.is_relative() {
            return Ok(());
        }
        let path = self.0.directory.trust_path(&about);
        let version = |text: Vec<u8>| Some(SignedBundle::read(text).ok()?.bundle().version());
        match files::read(&path).ok().and_then(version) < version(text.to_vec()) {
            true => files::replace(&path, text),
            false => Ok(()),
        }
    }

    /// Returns the current identity, after taking over what another process stored.
    pub(crate) fn current(&self) -> Current {
        let now = self.0.directory.stamp();
        let mut seen = self.seen();
        if now.is_some() && *seen != now {
            match self.reload() {
                Ok(()) => *seen = now,
                // The stamp is not noted, so the next call tries again.
                Err(failure) => {
                    tracing::warn!(agent = %self.id(), "what is on disk is not taken: {failure}");
                }
            }
        }
        self.kept()
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Option<Stamp>> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn kept(&self) -> Current {
        // The value is replaced whole, so it is complete even if a writer panicked.
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, next: Current) {
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}
