//! A device that makes keys and signs with them. The private keys never leave it.
//!
//! Owns: the trait of a device. Does not own: the protocol of a device (`sublet_pkcs11`, with the
//! feature `pkcs11`).

use std::sync::Arc;

use sublet_core::base::id::TrustDomain;
use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::Signer;
use sublet_core::trust::bundle::KeyUse;

use crate::config::KeysConfig;

/// A device. Its errors are texts for people.
pub trait Device: Send + Sync {
    /// Returns whether keys of this use are made here.
    fn holds(&self, use_: KeyUse) -> bool;
    /// Returns the key with this name, from an interrupted first start; if there is none, makes it.
    fn first(&self, name: &str) -> Result<Arc<dyn Signer>, String>;
    /// Makes a key.
    fn make(&self, use_: KeyUse) -> Result<Arc<dyn Signer>, String>;
    /// Returns the signer of this public key; `None` if the device does not have it.
    fn find(&self, key: &PublicKey) -> Result<Option<Arc<dyn Signer>>, String>;
    /// Destroys a key for ever.
    fn forget(&self, key: &PublicKey) -> Result<(), String>;
}

/// Returns the device of a configuration; `None` if it names none.
#[cfg(not(feature = "pkcs11"))]
pub(super) fn open(
    config: &KeysConfig,
    _: &TrustDomain,
) -> Result<Option<Box<dyn Device>>, String> {
    match &config.pkcs11 {
        None => Ok(None),
        Some(_) => Err("this binary knows no PKCS#11: build it with --features pkcs11".to_owned()),
    }
}

#[cfg(feature = "pkcs11")]
pub(super) use pkcs11::open;

#[cfg(feature = "pkcs11")]
mod pkcs11 {
    use sublet_core::base::sign::SignerFault;
    use sublet_core::trust::rotation::can_be;
    use sublet_pkcs11::{Token, TokenKey, Uri};
    use tokio::runtime::{Handle, RuntimeFlavor};

    use super::*;

    /// A PKCS#11 token.
    struct Hsm {
        token: Token,
        domain: TrustDomain,
        uses: Vec<KeyUse>,
    }

    /// Opens the device of a configuration; `None` if it names none.
    pub(in crate::keys) fn open(
        config: &KeysConfig,
        domain: &TrustDomain,
    ) -> Result<Option<Box<dyn Device>>, String> {
        let Some(uri) = &config.pkcs11 else { return Ok(None) };
        let uri: Uri = uri.parse().map_err(|bad: sublet_pkcs11::DeviceError| bad.to_string())?;
        let token = Token::open(&uri).map_err(|bad| bad.to_string())?;
        let algorithm = token.algorithm().map_err(|bad| bad.to_string())?;
        let (uses, others): (Vec<KeyUse>, Vec<KeyUse>) =
            config.pkcs11_uses.iter().partition(|use_| can_be(**use_, algorithm));
        for use_ in others.iter().map(|use_| use_.name()) {
            let algorithm = algorithm.name();
            tracing::warn!(use_, algorithm, "its keys stay files: the token makes others");
        }
        Ok(Some(Box::new(Hsm { token, domain: domain.clone(), uses })))
    }

    /// A key whose signatures take long. Other tasks of the thread continue on another thread meanwhile.
    struct Aside(TokenKey);

    impl Signer for Aside {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }

        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFault> {
            match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
                Ok(RuntimeFlavor::MultiThread) => {
                    tokio::task::block_in_place(|| self.0.sign(message))
                }
                _ => self.0.sign(message),
            }
        }
    }

    impl Device for Hsm {
        fn holds(&self, use_: KeyUse) -> bool {
            self.uses.contains(&use_)
        }

        fn first(&self, name: &str) -> Result<Arc<dyn Signer>, String> {
            let label = format!("sublet {} first {name}", self.domain);
            let found = self.token.labelled(&label).map_err(|bad| bad.to_string())?;
            let key = match found {
                Some(key) => key,
                None => self.token.make(&label).map_err(|bad| bad.to_string())?,
            };
            Ok(Arc::new(Aside(key)))
        }

        fn make(&self, use_: KeyUse) -> Result<Arc<dyn Signer>, String> {
            let label = format!("sublet {} {}", self.domain, use_.name());
            let made = self.token.make(&label).map_err(|bad| bad.to_string())?;
            Ok(Arc::new(Aside(made)))
        }

        fn find(&self, key: &PublicKey) -> Result<Option<Arc<dyn Signer>>, String> {
            let found = self.token.find(key).map_err(|bad| bad.to_string())?;
            Ok(found.map(|key| Arc::new(Aside(key)) as Arc<dyn Signer>))
        }

        fn forget(&self, key: &PublicKey) -> Result<(), String> {
            self.token.destroy(key).map_err(|bad| bad.to_string())
        }
    }
}
