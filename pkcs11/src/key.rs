//! Signing with a key of a token.
//!
//! Invariant: every signature that is returned verifies under the public key, in the one form that
//! [`sublet_core::base::key::PublicKey::verify`] accepts.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use sha2::{Digest as _, Sha256};
use sublet_core::base::key::{Algorithm, PublicKey};
use sublet_core::base::sign::{Signer, SignerFault, secp256r1_signature};

use crate::DeviceError;
use crate::token::Token;

/// A key of a token.
pub struct TokenKey {
    token: Token,
    public: PublicKey,
}

impl TokenKey {
    pub(crate) fn new(token: Token, public: PublicKey) -> Self {
        TokenKey { token, public }
    }
}

impl Signer for TokenKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFault> {
        let signed = match self.public.algorithm() {
            Algorithm::Ed25519 => {
                let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
                self.raw(&pure, message)?
            }
            Algorithm::Secp256r1 => {
                let raw = self.raw(&Mechanism::Ecdsa, &Sha256::digest(message))?;
                let none = || SignerFault("the token's answer is no signature".to_owned());
                secp256r1_signature(&raw).ok_or_else(none)?
            }
        };
        if self.public.verify(message, &signed) {
            return Ok(signed);
        }
        Err(SignerFault("what the token signed does not verify under its public key".to_owned()))
    }
}

impl TokenKey {
    fn raw(&self, mechanism: &Mechanism<'_>, data: &[u8]) -> Result<Vec<u8>, SignerFault> {
        let signed = self.token.with(|session| {
            let none = || DeviceError::Key(format!("{} is not here any more", self.public));
            let key = private(session, &self.public)?.ok_or_else(none)?;
            Ok(session.sign(mechanism, key, data)?)
        });
        signed.map_err(|trouble| SignerFault(trouble.to_string()))
    }
}

/// Returns the handle of a private key in this session; `None` if the token does not have it.
pub(crate) fn private(
    session: &Session,
    public: &PublicKey,
) -> Result<Option<ObjectHandle>, DeviceError> {
    let template =
        [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(public.thumbprint().0.to_vec())];
    Ok(session.find_objects(&template)?.first().copied())
}
