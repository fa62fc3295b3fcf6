//! The broker's private keys, in files or in a device.
//!
//! Owns: finding the signer of a key in the trust bundle, and where a new key is made. Does not own:
//! which key signs (the trust bundle in the store), rotation (`sublet_core::trust::rotation`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sublet_core::base::key::{PublicKey, Thumbprint};
use sublet_core::base::sign::{Signer, SignerFault};
use sublet_core::refusal::Fault;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};
use sublet_core::trust::rotation::USES;

use super::device::Device;
use super::files::{BadKeys, KeyFiles};

/// One key that signs.
#[derive(Clone)]
pub struct OwnKey {
    /// Its number in the trust bundle.
    pub id: KeyId,
    /// Its signer.
    pub signer: Arc<dyn Signer>,
}

/// The private keys, by their public keys. Clones share them.
#[derive(Clone, Default)]
pub struct Signers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: RwLock<HashMap<Thumbprint, Arc<dyn Signer>>>,
    /// Keys that were made for a step whose result is unknown.
    spare: Mutex<Vec<(KeyUse, PublicKey)>>,
    /// Where new keys are made; `None` in tests that bring their own keys.
    place: Option<Place>,
}

struct Place {
    files: KeyFiles,
    device: Option<Box<dyn Device>>,
}

impl Signers {
    /// The keys of a directory and of a device.
    pub fn open(files: KeyFiles, device: Option<Box<dyn Device>>) -> Result<Self, BadKeys> {
        let keys = files.all()?;
        let place = Some(Place { files, device });
        let signers = Signers(Arc::new(Inner { place, ..Inner::default() }));
        keys.into_iter().for_each(|key| signers.add(Arc::new(key)));
        Ok(signers)
    }

    /// Returns the signer of a key in the trust bundle. A fault if there is no private key for it.
    pub fn of(&self, key: &TrustedKey) -> Result<Arc<dyn Signer>, Fault> {
        let name = key.public.thumbprint();
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(signer) = known {
            return Ok(signer);
        }
        let none = format!("no private half of the {} key {}", key.use_.name(), key.id);
        let device = self.0.place.as_ref().and_then(|place| place.device.as_ref());
        let found = device.map(|device| device.find(&key.public)).transpose();
        let found = found.map_err(|bad| SignerFault(format!("{none}: {bad}")))?.flatten();
        let signer = found.ok_or(Fault::Internal(none))?;
        self.add(signer.clone());
        Ok(signer)
    }

    /// Returns the active key of a use in this bundle, and its signer. A fault if there is none.
    pub fn active(&self, bundle: &TrustBundle, use_: KeyUse) -> Result<OwnKey, Fault> {
        let key = bundle.active(use_);
        let key =
            key.ok_or_else(|| Fault::Internal(format!("there is no active {} key", use_.name())))?;
        Ok(OwnKey { id: key.id, signer: self.of(key)? })
    }

    /// Checks that there is a signer for each use. A fault if one is missing, before any call is served.
    /// If a prepared key has none, it is only logged, because it can be retired while the broker runs.
    pub fn check(&self, bundle: &TrustBundle) -> Result<(), Fault> {
        USES.iter().try_for_each(|use_| self.active(bundle, *use_).map(drop))?;
        for key in bundle.keys().iter().filter(|key| key.state == KeyState::Prepared) {
            if let Err(fault) = self.of(key) {
                tracing::error!(id = key.id.0, %fault, "it cannot be activated; prepare another");
            }
        }
        Ok(())
    }

    /// Adds a signer.
    pub fn add(&self, signer: Arc<dyn Signer>) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(signer.public_key().thumbprint(), signer);
    }

    /// Returns a key of the first start, by its name: from the device if it holds that use, else from a
    /// file. If the first start was interrupted, the key that it made is returned.
    pub(super) fn first(&self, use_: KeyUse, name: &str) -> Result<PublicKey, BadKeys> {
        let place = self.place()?;
        match place.device_of(use_) {
            Some(device) => self.added(device.first(name).map_err(BadKeys::Device)?),
            None => self.added(Arc::new(place.files.first(name)?)),
        }
    }

    /// Makes a key and stores it safely before it returns the public key. Blocks.
    pub fn make(&self, use_: KeyUse) -> Result<PublicKey, BadKeys> {
        let place = self.place()?;
        match place.device_of(use_) {
            Some(device) => self.added(device.make(use_).map_err(BadKeys::Device)?),
            None => self.added(Arc::new(place.files.make(use_)?)),
        }
    }

    /// Destroys a key that was made and never published. Blocks.
    pub fn forget(&self, use_: KeyUse, key: &PublicKey) -> Result<(), BadKeys> {
        let place = self.place()?;
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).remove(&key.thumbprint());
        match place.device_of(use_) {
            Some(device) => device.forget(key).map_err(BadKeys::Device),
            None => place.files.forget(use_, key),
        }
    }

    /// Keeps a key for the next step that needs a new one of this use.
    pub fn keep_spare(&self, use_: KeyUse, key: PublicKey) {
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).push((use_, key));
    }

    /// Returns a kept key of this use that is still free; `None` if there is none.
    pub fn take_spare(
        &self,
        use_: KeyUse,
        is_free: impl Fn(&PublicKey) -> bool,
    ) -> Option<PublicKey> {
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.retain(|(_, key)| is_free(key));
        let at = spare.iter().position(|(of, _)| *of == use_)?;
        Some(spare.swap_remove(at).1)
    }

    fn place(&self) -> Result<&Place, BadKeys> {
        self.0.place.as_ref().ok_or_else(|| BadKeys::Device("there is no place for keys".into()))
    }

    fn added(&self, signer: Arc<dyn Signer>) -> Result<PublicKey, BadKeys> {
        let public = signer.public_key().clone();
        self.add(signer);
        Ok(public)
    }
}

impl Place {
    fn device_of(&self, use_: KeyUse) -> Option<&dyn Device> {
        self.device.as_deref().filter(|device| device.holds(use_))
    }
}
