//! The private halves of the broker's keys, wherever they lie: files, or a device that lets nobody have
//! them.
//!
//! Owns: finding the signer of a key that the trust bundle lists, and where a new key is made. Does not
//! own: which of them signs (the trust bundle in the store says so), their life
//! (`sublet_core::trust::rotation`).

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
    /// Its number in the bundle.
    pub id: KeyId,
    /// The signer.
    pub signer: Arc<dyn Signer>,
}

/// The private halves, by their public ones. Clones share them.
#[derive(Clone, Default)]
pub struct Signers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: RwLock<HashMap<Thumbprint, Arc<dyn Signer>>>,
    /// Made for steps of which it is not known what became.
    spare: Mutex<Vec<(KeyUse, PublicKey)>>,
    /// Where new ones are made; nowhere for tests that bring their own.
    place: Option<Place>,
}

struct Place {
    files: KeyFiles,
    device: Option<Box<dyn Device>>,
}

impl Signers {
    /// Those of a directory and of a device.
    pub fn open(files: KeyFiles, device: Option<Box<dyn Device>>) -> Result<Self, BadKeys> {
        let keys = files.all()?;
        let place = Some(Place { files, device });
        let signers = Signers(Arc::new(Inner { place, ..Inner::default() }));
        keys.into_iter().for_each(|key| signers.add(Arc::new(key)));
        Ok(signers)
    }

    /// The signer of a key that the trust bundle lists.
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

    /// The key that signs for a use by this bundle, and its signer.
    pub fn active(&self, bundle: &TrustBundle, use_: KeyUse) -> Result<OwnKey, Fault> {
        let key = bundle.active(use_);
        let key =
            key.ok_or_else(|| Fault::Internal(format!("there is no active {} key", use_.name())))?;
        Ok(OwnKey { id: key.id, signer: self.of(key)? })
    }

    /// Whether there is a signer for each use. What is missing shows before anyone is served. Of a key that
    /// is to sign later it is told: it can be retired, by a broker that runs.
    pub fn check(&self, bundle: &TrustBundle) -> Result<(), Fault> {
        USES.iter().try_for_each(|use_| self.active(bundle, *use_).map(drop))?;
        for key in bundle.keys().iter().filter(|key| key.state == KeyState::Prepared) {
            if let Err(fault) = self.of(key) {
                tracing::error!(id = key.id.0, %fault, "it cannot be activated; prepare another");
            }
        }
        Ok(())
    }

    /// One more.
    pub fn add(&self, signer: Arc<dyn Signer>) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(signer.public_key().thumbprint(), signer);
    }

    /// A key of a broker that starts for the first time, by its name, so that one that was killed meanwhile
    /// finds those that it had made: of the device where it holds that use, else a file.
    pub(super) fn first(&self, use_: KeyUse, name: &str) -> Result<PublicKey, BadKeys> {
        let place = self.place()?;
        match place.device_of(use_) {
            Some(device) => self.added(device.first(name).map_err(BadKeys::Device)?),
            None => self.added(Arc::new(place.files.first(name)?)),
        }
    }

    /// Makes a key, which lies safe before anybody hears of its public half. Blocks.
    pub fn make(&self, use_: KeyUse) -> Result<PublicKey, BadKeys> {
        let place = self.place()?;
        match place.device_of(use_) {
            Some(device) => self.added(device.make(use_).map_err(BadKeys::Device)?),
            None => self.added(Arc::new(place.files.make(use_)?)),
        }
    }

    /// Takes back a key that was made and nobody heard of. Blocks.
    pub fn forget(&self, use_: KeyUse, key: &PublicKey) -> Result<(), BadKeys> {
        let place = self.place()?;
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).remove(&key.thumbprint());
        match place.device_of(use_) {
            Some(device) => device.forget(key).map_err(BadKeys::Device),
            None => place.files.forget(use_, key),
        }
    }

    /// Keeps a key for the next step that makes one of its use.
    pub fn keep_spare(&self, use_: KeyUse, key: PublicKey) {
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).push((use_, key));
    }

    /// A key of this use that was kept, if it is still free.
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
