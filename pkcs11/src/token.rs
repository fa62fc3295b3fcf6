//! One token and the session with it. The session is opened again when the device has lost it.
//!
//! Owns: module, slot, login. Does not own: keys (`keys`), signing (`key`).
//!
//! Invariants: the PIN is read when it is needed, and not kept.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use sublet_core::base::key::Algorithm;
use zeroize::Zeroizing;

use crate::{DeviceError, Uri};

/// An open token. Clones share its session.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    context: Pkcs11,
    uri: Uri,
    session: Mutex<Held>,
}

/// The session, and the PIN that was refused.
#[derive(Default)]
struct Held {
    session: Option<Session>,
    /// The SHA-256 of a PIN that the token refused. It is not shown again until the file has another
    /// one, because tokens lock themselves after a few wrong PINs.
    refused: Option<[u8; 32]>,
}

impl Token {
    /// Loads the module, finds the token and logs in.
    pub fn open(uri: &Uri) -> Result<Self, DeviceError> {
        let path = uri.module().to_owned();
        let module = |error| DeviceError::Module { path: path.clone(), error };
        let context = Pkcs11::new(uri.module()).map_err(module)?;
        let threads = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match context.initialize(threads) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(module(error)),
        }
        let inner = Inner { context, uri: uri.clone(), session: Mutex::default() };
        let token = Token(Arc::new(inner));
        token.with(|_| Ok(()))?;
        Ok(token)
    }

    /// Returns the kind of keys that the token makes: Ed25519 if it can, else secp256r1. An error if it
    /// makes neither.
    pub fn algorithm(&self) -> Result<Algorithm, DeviceError> {
        let offered = self.0.context.get_mechanism_list(self.0.slot()?)?;
        let all = |needed: [MechanismType; 2]| needed.iter().all(|one| offered.contains(one));
        if all([MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA]) {
            return Ok(Algorithm::Ed25519);
        }
        if all([MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA]) {
            return Ok(Algorithm::Secp256r1);
        }
        Err(DeviceError::NoAlgorithm)
    }

    /// Runs work in a session with a logged-in user. If it fails, the session may be broken, because the
    /// device was removed or a connection failed. The work is then tried once more in a new session.
    pub(crate) fn with<T>(
        &self,
        work: impl Fn(&Session) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let mut held = self.0.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = held.session.as_ref()
            && let Ok(done) = work(session)
        {
            return Ok(done);
        }
        // The old session is closed first, because some tokens have only one.
        held.session = None;
        let session = self.0.log_in(&mut held.refused)?;
        work(held.session.insert(session))
    }
}

impl Inner {
    fn slot(&self) -> Result<Slot, DeviceError> {
        for slot in self.context.get_slots_with_initialized_token()? {
            if self.context.get_token_info(slot)?.label() == self.uri.token() {
                return Ok(slot);
            }
        }
        Err(DeviceError::NoToken(self.uri.token().to_owned()))
    }

    fn log_in(&self, refused: &mut Option<[u8; 32]>) -> Result<Session, DeviceError> {
        let session = self.context.open_rw_session(self.slot()?)?;
        let pin = pin(self.uri.pin())?;
        let shown: [u8; 32] = Sha256::digest(pin.expose_secret()).into();
        if *refused == Some(shown) {
            let detail =
                "the token has refused it, and is not asked again until it changes".to_owned();
            return Err(DeviceError::Pin { path: self.uri.pin().to_owned(), detail });
        }
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => {
                *refused = is_of_the_pin(&error).then_some(shown);
                Err(error.into())
            }
        }
    }
}

/// Returns whether the error is about the PIN.
fn is_of_the_pin(error: &Error) -> bool {
    use RvError::{PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked};
    let of_the_pin = [PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked];
    matches!(error, Error::Pkcs11(why, _) if of_the_pin.contains(why))
}

/// Returns the user's PIN, without the end of its line. An error if others may read the file.
fn pin(path: &Path) -> Result<AuthPin, DeviceError> {
    let bad = |detail: String| DeviceError::Pin { path: path.to_owned(), detail };
    let about = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(bad(format!("others may read it (mode {mode:o}): chmod 600")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let text = Zeroizing::new(text);
    Ok(AuthPin::new(text.trim_end().to_owned().into_boxed_str()))
}
