//! The keys of a token: making, finding and destroying them.
//!
//! Owns: their attributes. Does not own: the session (`token`), signing (`key`).
//!
//! Invariants: a new key is marked sensitive and not extractable. Its CKA_ID is the thumbprint of its
//! public key (RFC 7638), by which it is found.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use sublet_core::base::key::{Algorithm, PublicKey};

use crate::DeviceError;
use crate::key::{TokenKey, private};
use crate::token::Token;

/// The CKA_EC_PARAMS of Ed25519: the curve's name (PKCS#11 3.0, section 6.3.3).
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";

/// The CKA_EC_PARAMS of secp256r1: its object identifier (RFC 5480, section 2.1.1.1).
const SECP256R1: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

impl Token {
    /// Makes a key that never leaves the token.
    pub fn make(&self, label: &str) -> Result<TokenKey, DeviceError> {
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

    /// Returns the key with this public key; `None` if the token does not have it.
    pub fn find(&self, public: &PublicKey) -> Result<Option<TokenKey>, DeviceError> {
        let found = self.with(|session| private(session, public))?;
        Ok(found.map(|_| TokenKey::new(self.clone(), public.clone())))
    }

    /// Returns the key with this label; `None` if there is none. An error if several have it, or if
    /// sublet did not make it.
    pub fn labelled(&self, label: &str) -> Result<Option<TokenKey>, DeviceError> {
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let public = self.with(|session| match session.find_objects(&template)?.as_slice() {
            [] => Ok(None),
            [one] => public_key(session, *one).map(Some),
            more => Err(DeviceError::Object { label: label.to_owned(), found: more.len() }),
        })?;
        let Some(public) = public else { return Ok(None) };
        let found = self.find(&public)?;
        found.map(Some).ok_or_else(|| DeviceError::NotOurs(label.to_owned()))
    }

    /// Destroys a key for ever.
    pub fn destroy(&self, public: &PublicKey) -> Result<(), DeviceError> {
        let id = Attribute::Id(public.thumbprint().0.to_vec());
        self.with(|session| {
            for object in session.find_objects(std::slice::from_ref(&id))? {
                session.destroy_object(object)?;
            }
            Ok(())
        })
    }
}

/// Sets the CKA_ID of a new key pair, by which it is found.
fn named(
    session: &Session,
    public: ObjectHandle,
    private: ObjectHandle,
) -> Result<PublicKey, DeviceError> {
    let key = public_key(session, public)?;
    let id = [Attribute::Id(key.thumbprint().0.to_vec())];
    session.update_attributes(private, &id)?;
    session.update_attributes(public, &id)?;
    Ok(key)
}

/// Reads a public key. CKA_EC_POINT is an OCTET STRING around the point, or the bare point.
fn public_key(session: &Session, object: ObjectHandle) -> Result<PublicKey, DeviceError> {
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
    let bad = |detail: &dyn std::fmt::Display| DeviceError::Key(detail.to_string());
    match (of_p256, point) {
        (true, [0x04, coordinates @ ..]) => match coordinates.split_at_checked(32) {
            Some((x, y)) if y.len() == 32 => {
                let sign = 2 + (y.last().copied().unwrap_or(0) & 1);
                let compressed = [&[sign], x].concat();
                PublicKey::from_bytes(Algorithm::Secp256r1, &compressed)
                    .map_err(|refusal| bad(&refusal))
            }
            _ => Err(bad(&"its point has another length")),
        },
        (true, _) => Err(bad(&"its point is not uncompressed")),
        (false, point) => {
            PublicKey::from_bytes(Algorithm::Ed25519, point).map_err(|refusal| bad(&refusal))
        }
    }
}
