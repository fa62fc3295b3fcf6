//! One token and the session with it: opened anew when the device has forgotten it.
//!
//! Owns: module, slot, login; making, finding and destroying keys. Does not own: signing (`key`).
//!
//! Invariants: a key that is made is marked sensitive and not extractable; its CKA_ID is the thumbprint of
//! its public half (RFC 7638), by which it is found; the PIN is read when it is needed and not kept.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use sublet_core::key::{Algorithm, PublicKey};
use zeroize::Zeroizing;

use crate::{TokenKey, Trouble, Uri};

/// CKA_EC_PARAMS of Ed25519: the curve's name, as PKCS#11 3.0 section 6.3.3 has it.
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";

/// CKA_EC_PARAMS of secp256r1: its object identifier (RFC 5480, section 2.1.1.1).
const SECP256R1: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A token that is open. Clones share its session.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    context: Pkcs11,
    uri: Uri,
    session: Mutex<Held>,
}

/// What is held between two calls.
#[derive(Default)]
struct Held {
    session: Option<Session>,
    /// SHA-256 of a PIN that the token has refused. Tokens lock themselves after a few wrong ones, so it is
    /// not shown again: not before the file says another.
    refused: Option<[u8; 32]>,
}

impl Token {
    /// Loads the module, finds the token and logs in.
    pub fn open(uri: &Uri) -> Result<Self, Trouble> {
        let path = uri.module().to_owned();
        let module = |error| Trouble::Module { path: path.clone(), error };
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

    /// The kind of keys that it makes: Ed25519 where it offers them, else secp256r1.
    pub fn algorithm(&self) -> Result<Algorithm, Trouble> {
        let offered = self.0.context.get_mechanism_list(self.0.slot()?)?;
        let all = |needed: [MechanismType; 2]| needed.iter().all(|one| offered.contains(one));
        if all([MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA]) {
            return Ok(Algorithm::Ed25519);
        }
        if all([MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA]) {
            return Ok(Algorithm::Secp256r1);
        }
        Err(Trouble::NoAlgorithm)
    }

    /// Makes a key that stays here.
    pub fn make(&self, label: &str) -> Result<TokenKey, Trouble> {
        let (mechanism, parameters) = match self.algorithm()? {
            Algorithm::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, EDWARDS25519),
            Algorithm::Secp256r1 => (Mechanism::EccKeyPairGen, SECP256R1),
        };
        let label = Attribute::Label(label.as_bytes().to_vec());
        let public = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(parameters.to_vec()),
            label.clone(),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            label,
        ];
        let key = self.with(|session| {
            let (public, private) = session.generate_key_pair(&mechanism, &public, &private)?;
            named(session, public, private).inspect_err(|_| {
                let _ = session.destroy_object(private);
                let _ = session.destroy_object(public);
            })
        })?;
        Ok(TokenKey::new(self.clone(), key))
    }

    /// The key with this public half, if it is here.
    pub fn find(&self, public: &PublicKey) -> Result<Option<TokenKey>, Trouble> {
        let found = self.with(|session| private(session, public))?;
        Ok(found.map(|_| TokenKey::new(self.clone(), public.clone())))
    }

    /// The one key with this label, if there is one.
    pub fn labelled(&self, label: &str) -> Result<Option<TokenKey>, Trouble> {
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let public = self.with(|session| match session.find_objects(&template)?.as_slice() {
            [] => Ok(None),
            [one] => public_key(session, *one).map(Some),
            more => Err(Trouble::Object { label: label.to_owned(), found: more.len() }),
        })?;
        let Some(public) = public else { return Ok(None) };
        let found = self.find(&public)?;
        found.map(Some).ok_or_else(|| Trouble::NotOurs(label.to_owned()))
    }

    /// Destroys a key for ever.
    pub fn destroy(&self, public: &PublicKey) -> Result<(), Trouble> {
        let id = Attribute::Id(public.thumbprint().0.to_vec());
        self.with(|session| {
            for object in session.find_objects(std::slice::from_ref(&id))? {
                session.destroy_object(object)?;
            }
            Ok(())
        })
    }

    /// Does something in a session where the user is logged in. If it fails the session may be what is
    /// wrong: a device was taken out, a connection broke. So it is tried once more, in a new one.
    pub(crate) fn with<T>(
        &self,
        work: impl Fn(&Session) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut held = self.0.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = held.session.as_ref()
            && let Ok(done) = work(session)
        {
            return Ok(done);
        }
        // Closed first: some tokens have one session alone.
        held.session = None;
        let session = self.0.log_in(&mut held.refused)?;
        work(held.session.insert(session))
    }
}

impl Inner {
    fn slot(&self) -> Result<Slot, Trouble> {
        for slot in self.context.get_slots_with_initialized_token()? {
            if self.context.get_token_info(slot)?.label() == self.uri.token() {
                return Ok(slot);
            }
        }
        Err(Trouble::NoToken(self.uri.token().to_owned()))
    }

    fn log_in(&self, refused: &mut Option<[u8; 32]>) -> Result<Session, Trouble> {
        let session = self.context.open_rw_session(self.slot()?)?;
        let pin = pin(self.uri.pin())?;
        let shown: [u8; 32] = Sha256::digest(pin.expose_secret()).into();
        if *refused == Some(shown) {
            let says =
                "the token has refused it, and is not asked again until it changes".to_owned();
            return Err(Trouble::Pin { path: self.uri.pin().to_owned(), says });
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

/// Whether the token says that it is the PIN.
fn is_of_the_pin(error: &Error) -> bool {
    use RvError::{PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked};
    let of_the_pin = [PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked];
    matches!(error, Error::Pkcs11(why, _) if of_the_pin.contains(why))
}

/// The user's PIN, without the end of its line. A file that others may read is refused.
fn pin(path: &Path) -> Result<AuthPin, Trouble> {
    let bad = |says: String| Trouble::Pin { path: path.to_owned(), says };
    let about = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(bad(format!("others may read it (mode {mode:o}): chmod 600")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let text = Zeroizing::new(text);
    Ok(AuthPin::new(text.trim_end().to_owned().into_boxed_str()))
}

/// Gives both halves of a new key the id by which it is found.
fn named(
    session: &Session,
    public: ObjectHandle,
    private: ObjectHandle,
) -> Result<PublicKey, Trouble> {
    let key = public_key(session, public)?;
    let id = [Attribute::Id(key.thumbprint().0.to_vec())];
    session.update_attributes(private, &id)?;
    session.update_attributes(public, &id)?;
    Ok(key)
}

/// The handle of a private half in this session.
pub(crate) fn private(
    session: &Session,
    public: &PublicKey,
) -> Result<Option<ObjectHandle>, Trouble> {
    let template =
        [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(public.thumbprint().0.to_vec())];
    Ok(session.find_objects(&template)?.first().copied())
}

/// Reads a public half: CKA_EC_POINT is an OCTET STRING around the point, or the bare point.
fn public_key(session: &Session, object: ObjectHandle) -> Result<PublicKey, Trouble> {
    let asked = [AttributeType::EcPoint, AttributeType::EcParams];
    let (mut point, mut parameters) = (Vec::new(), Vec::new());
    for attribute in session.get_attributes(object, &asked)? {
        match attribute {
            Attribute::EcPoint(bytes) => point = bytes,
            Attribute::EcParams(bytes) => parameters = bytes,
            _ => {}
        }
    }
    let of_p256 = parameters == SECP256R1;
    let whole = if of_p256 { 65 } else { 32 };
    let point = match point.as_slice() {
        [0x04, length, rest @ ..] if rest.len() == whole && usize::from(*length) == whole => rest,
        bare => bare,
    };
    let bad = |says: &dyn std::fmt::Display| Trouble::Key(says.to_string());
    match (of_p256, point) {
        (true, [0x04, coordinates @ ..]) => match coordinates.split_at_checked(32) {
            Some((x, y)) if y.len() == 32 => {
                let sign = 2 + (y.last().copied().unwrap_or(0) & 1);
                let compressed = [&[sign], x].concat();
                PublicKey::from_bytes(Algorithm::Secp256r1, &compressed).map_err(|no| bad(&no))
            }
            _ => Err(bad(&"its point has another length")),
        },
        (true, _) => Err(bad(&"its point is not uncompressed")),
        (false, point) => PublicKey::from_bytes(Algorithm::Ed25519, point).map_err(|no| bad(&no)),
    }
}
