//! What an identity is at this moment, where other processes have its directory too.
//!
//! Owns: taking what they have kept, and keeping the trust bundle that an identity needs. Does not own:
//! asking for another identity (the module above).
//!
//! Invariants: what is in memory is what was on disk when it was last looked at, or younger; a bundle on
//! disk never goes back; an identity is kept behind the bundle that it needs.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use sublet_core::trust::bundle::SignedBundle;

use super::Identity;
use crate::agent::current::Current;
use crate::agent::directory::Stamp;
use crate::error::Error;
use crate::files;

/// How long a directory is waited for to keep a trust bundle that holds already.
const TRUST_DEADLINE: Duration = Duration::from_secs(1);

impl Identity {
    /// Takes what another process has kept, by a root that nobody here has heard of where it must be.
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

    /// Takes what another process with this directory has renewed or rotated meanwhile.
    fn reload(&self) -> Result<(), Error> {
        let current = self.kept();
        let bytes = self.0.directory.token()?;
        if bytes == current.token.encode() {
            return Ok(());
        }
        // It may be by a root that this process has not heard of, and the other has.
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

    /// Takes the broker's trust bundle, if it is newer and the one held vouches for it, and keeps
    /// it. A bundle outside this directory is an operator's, and left alone.
    pub async fn refresh_trust(&self) -> Result<(), Error> {
        let text = self.broker()?.trust_bundle().await?;
        self.take_trust(&text)?;
        // It holds whether or not it can be kept; an identity that needs it keeps it before itself. So
        // nobody is waited for who holds the directory for long.
        let kept = match self.0.directory.lock_within(TRUST_DEADLINE, &self.0.ports).await {
            Ok(_one_process) => self.write_trust(&text),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = kept {
            tracing::warn!(agent = %self.id(), "the trust bundle is not kept: {failure}");
        }
        Ok(())
    }

    /// Takes a bundle and keeps it. For whoever has the directory's lock.
    pub(super) fn keep_trust(&self, text: &[u8]) -> Result<(), Error> {
        self.take_trust(text)?;
        self.write_trust(text)
    }

    fn take_trust(&self, text: &[u8]) -> Result<(), Error> {
        match self.trust().update(text, self.0.ports.clock.now()) {
            // An answer from before the one that is held.
            Err(failure) if failure.code() == "bundle_rolled_back" => Ok(()),
            taken => taken.map(drop),
        }
    }

    /// Whoever shares this trust may have taken the bundle before: what counts is what is on disk.
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

    /// The identity of this moment, which another process may have renewed.
    pub(crate) fn current(&self) -> Current {
        let now = self.0.directory.stamp();
        let mut seen = self.seen();
        if now.is_some() && *seen != now {
            match self.reload() {
                Ok(()) => *seen = now,
                // It is looked at again: what was missing may come.
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
        // Replaced whole, so a writer that panicked left a whole one.
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, next: Current) {
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}
