//! Public keys and signatures, each in one form only. SPEC section 2 (2.7, 2.8).
//!
//! Owns: the encoding of a key, which keys are refused, strict verification. Does not own: who has
//! a key (the trust bundle, the broker), how a private key is kept (`sign`).
//!
//! Invariants: every [`PublicKey`] is canonical and not weak; the algorithm of a signature comes
//! from the key, never from the message; Ed25519 is verified strictly (RFC 8032 with cofactorless
//! equation and small-order keys refused), ECDSA is minimal DER and low-s.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use p256::ecdsa::signature::Verifier as _;
use sha2::{Digest as _, Sha256};

use crate::base::text::base64url;

/// The signature algorithms of Biscuit v3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032) with keys of 32 bytes.
    Ed25519,
    /// ECDSA over P-256 with SHA-256, with compressed keys of 33 bytes.
    Secp256r1,
}

impl Algorithm {
    /// Returns the name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::Secp256r1 => "secp256r1",
        }
    }

    /// Returns Biscuit's number of the algorithm, as it is written in a block and in a hop id.
    pub fn number(self) -> u8 {
        match self {
            Algorithm::Ed25519 => 0,
            Algorithm::Secp256r1 => 1,
        }
    }

    /// Returns the algorithm with this number of Biscuit; `None` for an unknown number.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Algorithm::Ed25519),
            1 => Some(Algorithm::Secp256r1),
            _ => None,
        }
    }

    /// Returns the algorithm with this name; `None` for an unknown name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Algorithm::Ed25519, Algorithm::Secp256r1].into_iter().find(|a| a.name() == name)
    }
}

/// A message with its signature and the key that is said to have signed it.
pub(crate) struct Signed<'a> {
    pub(crate) key: &'a PublicKey,
    pub(crate) message: Vec<u8>,
    pub(crate) signature: &'a [u8],
}

/// Why bytes are not a public key that Sublet accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The bytes are not 32 (Ed25519) or 33 (secp256r1), or not a point of the curve.
    #[error("the bytes are no point of the curve")]
    NotAPoint,
    /// The bytes are a second encoding of a key that has a canonical one.
    #[error("the key is not in its canonical form")]
    NotCanonical,
    /// The text is a private key instead of a public one.
    #[error("this is a private key, and the public one is expected: key.pub, and not key.pem")]
    Private,
    /// The text is not the text form of a public key.
    #[error("no public key: one line of ed25519: or secp256r1: and base64url is expected")]
    Text,
    /// The Ed25519 key is of small order, so signatures under it verify for many messages.
    #[error("the key is weak (small order)")]
    Weak,
}

/// A public key that is canonical, on the curve and not weak.
#[derive(Clone)]
pub struct PublicKey {
    inner: Inner,
}

#[derive(Clone)]
enum Inner {
    Ed25519(VerifyingKey),
    Secp256r1(p256::ecdsa::VerifyingKey, [u8; 33]),
}

impl PublicKey {
    /// Decodes a key from its bytes: 32 for Ed25519, 33 compressed for secp256r1.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, BadKey> {
        let inner = match algorithm {
            Algorithm::Ed25519 => Inner::Ed25519(ed25519_key(bytes)?),
            Algorithm::Secp256r1 => secp256r1_key(bytes)?,
        };
        Ok(PublicKey { inner })
    }

    /// Returns the key of an Ed25519 signer, which is canonical by construction.
    pub(crate) fn of_ed25519(key: VerifyingKey) -> Self {
        PublicKey { inner: Inner::Ed25519(key) }
    }

    /// Returns the key's algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.inner {
            Inner::Ed25519(_) => Algorithm::Ed25519,
            Inner::Secp256r1(..) => Algorithm::Secp256r1,
        }
    }

    /// Returns the key's bytes, as in [`PublicKey::from_bytes`].
    pub fn bytes(&self) -> &[u8] {
        match &self.inner {
            Inner::Ed25519(key) => key.as_bytes(),
            Inner::Secp256r1(_, bytes) => bytes,
        }
    }

    /// Verifies a signature strictly. Returns false for a signature in any other than its only
    /// form.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.inner {
            Inner::Ed25519(key) => verify_ed25519(key, message, signature),
            Inner::Secp256r1(key, _) => verify_secp256r1(key, message, signature),
        }
    }

    /// Verifies Ed25519 signatures as a batch, about twice as fast as one by one. This is not
    /// strict: some signatures pass that [`PublicKey::verify`] refuses. So it serves only messages
    /// that the broker verified strictly, as a receipt states. SPEC 2.8.2.
    #[must_use]
    pub(crate) fn verify_batch(signed: &[Signed<'_>]) -> bool {
        let (mut messages, mut signatures, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for one in signed {
            match &one.key.inner {
                Inner::Ed25519(key) => {
                    let signature = ed25519_dalek::Signature::from_slice(one.signature);
                    let Ok(signature) = signature else { return false };
                    messages.push(one.message.as_slice());
                    signatures.push(signature);
                    keys.push(*key);
                }
                Inner::Secp256r1(..) if one.key.verify(&one.message, one.signature) => {}
                Inner::Secp256r1(..) => return false,
            }
        }
        ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok()
    }

    /// Returns the RFC 7638 thumbprint, which names the key in revocations, records and `cnf.jkt`.
    pub fn thumbprint(&self) -> Thumbprint {
        let jwk = match &self.inner {
            Inner::Ed25519(key) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(key.as_bytes()))
            }
            Inner::Secp256r1(key, _) => {
                let point = key.to_encoded_point(false);
                let coordinate =
                    |c: Option<&p256::FieldBytes>| c.map(base64url).unwrap_or_default();
                let (x, y) = (coordinate(point.x()), coordinate(point.y()));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
        };
        Thumbprint(Sha256::digest(jwk.as_bytes()).into())
    }
}

fn ed25519_key(bytes: &[u8]) -> Result<VerifyingKey, BadKey> {
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| BadKey::NotAPoint)?;
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| BadKey::NotAPoint)?;
    if !is_canonical(bytes) {
        return Err(BadKey::NotCanonical);
    }
    if is_small_order(bytes) {
        return Err(BadKey::Weak);
    }
    Ok(key)
}

/// Returns whether y, the low 255 bits, is below p = 2^255 - 19 (RFC 8032 section 5.1.3). The only
/// other second encodings are a sign on x = 0, of two points that are both weak.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    *first < 0xed || middle.iter().any(|byte| *byte != 0xff) || last & 0x7f != 0x7f
}

/// Verifies with the verdict of `VerifyingKey::verify_strict` for a key that is not weak, without
/// computing the point R from its bytes. The equation compares the bytes of R with those of a point
/// in canonical form, so R is of small order exactly if its bytes are among [`SMALL_ORDER`].
/// Decision 14.
fn verify_ed25519(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
    !is_small_order(signature.r_bytes()) && key.verify(message, &signature).is_ok()
}

/// Returns whether these bytes are a point whose order divides 8, with either sign of x.
fn is_small_order(point: &[u8; 32]) -> bool {
    let [y @ .., last] = point;
    SMALL_ORDER.iter().any(|[small @ .., end]| y == small && last & 0x7f == *end)
}

/// The canonical y of the eight points whose order divides 8: 1, -1, 0 and two of order 8.
#[rustfmt::skip]
const SMALL_ORDER: [[u8; 32]; 5] = [
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    [0; 32],
    [0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05],
    [0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a],
];

fn secp256r1_key(bytes: &[u8]) -> Result<Inner, BadKey> {
    let bytes: [u8; 33] = bytes.try_into().map_err(|_| BadKey::NotCanonical)?;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).map_err(|_| BadKey::NotAPoint)?;
    if key.to_encoded_point(true).as_bytes() != bytes {
        return Err(BadKey::NotCanonical);
    }
    Ok(Inner::Secp256r1(key, bytes))
}

fn verify_secp256r1(key: &p256::ecdsa::VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(parsed) = p256::ecdsa::Signature::from_der(signature) else { return false };
    let minimal = parsed.to_der().as_bytes() == signature;
    let low_s = parsed.normalize_s().is_none();
    minimal && low_s && key.verify(message, &parsed).is_ok()
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm() == other.algorithm() && self.bytes() == other.bytes()
    }
}
impl Eq for PublicKey {}

impl std::hash::Hash for PublicKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// `ed25519:BASE64URL`, the text form in files.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().name(), base64url(self.bytes()))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        if text.contains("PRIVATE KEY-----") {
            return Err(BadKey::Private);
        }
        let (algorithm, bytes) = text.split_once(':').ok_or(BadKey::Text)?;
        let algorithm = Algorithm::from_name(algorithm).ok_or(BadKey::Text)?;
        let bytes = crate::base::text::from_base64url(bytes).ok_or(BadKey::Text)?;
        PublicKey::from_bytes(algorithm, &bytes)
    }
}

crate::base::text::serde_as_text!(PublicKey);

/// The SHA-256 over a key's canonical JWK (RFC 7638).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint(pub [u8; 32]);

crate::base::text::base64url_name!(Thumbprint, 32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sign::{SecretKey, Signer};

    #[test]
    fn a_small_order_key_is_weak() {
        let mut identity = [0u8; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(Algorithm::Ed25519, &identity), Err(BadKey::Weak));
    }

    /// There are exactly eight distinct points of small order, so the list is complete.
    #[test]
    fn the_points_of_small_order_are_all_listed() {
        let mut points = std::collections::BTreeSet::new();
        for y in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut bytes = y;
                bytes[31] |= sign;
                assert!(is_small_order(&bytes));
                let Ok(point) = VerifyingKey::from_bytes(&bytes) else { continue };
                assert!(point.is_weak());
                points.insert(point.to_edwards().compress().to_bytes());
            }
        }
        assert_eq!(points.len(), 8);
        assert!(!is_small_order(
            SecretKey::ed25519_from_seed([9; 32]).public_key().bytes().try_into().unwrap()
        ));
    }

    #[test]
    fn a_non_canonical_key_is_refused() {
        // y = p + 1, a second spelling of y = 1.
        let mut bytes = [0xffu8; 32];
        bytes[0] = 0xee;
        bytes[31] = 0x7f;
        assert_eq!(PublicKey::from_bytes(Algorithm::Ed25519, &bytes), Err(BadKey::NotCanonical));
    }

    #[test]
    fn uncompressed_secp256r1_is_refused() {
        let key = SecretKey::secp256r1_from_seed(&[7; 32]).unwrap();
        let point = p256::PublicKey::from_sec1_bytes(key.public_key().bytes()).unwrap();
        let long = p256::EncodedPoint::from(point);
        assert_eq!(
            PublicKey::from_bytes(Algorithm::Secp256r1, long.as_bytes()),
            Err(BadKey::NotCanonical)
        );
    }

    #[test]
    fn high_s_and_long_der_are_refused() {
        let key = SecretKey::secp256r1_from_seed(&[7; 32]).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(key.public_key().verify(b"message", &signature));
        let parsed = p256::ecdsa::Signature::from_der(&signature).unwrap();
        let (r, s) = parsed.split_scalars();
        let high = p256::ecdsa::Signature::from_scalars(r, -*s).unwrap();
        assert!(!key.public_key().verify(b"message", high.to_der().as_bytes()));
        let mut long = signature.clone();
        long.push(0);
        assert!(!key.public_key().verify(b"message", &long));
    }

    #[test]
    fn text_form_round_trips() {
        let key = SecretKey::ed25519_from_seed([3; 32]);
        let text = key.public_key().to_string();
        assert_eq!(&text.parse::<PublicKey>().unwrap(), key.public_key());
    }

    #[test]
    fn a_second_spelling_of_nought_is_refused() {
        // y = p, which is y = 0.
        let mut bytes = [0xffu8; 32];
        bytes[0] = 0xed;
        bytes[31] = 0x7f;
        assert_eq!(PublicKey::from_bytes(Algorithm::Ed25519, &bytes), Err(BadKey::NotCanonical));
    }

    #[test]
    fn a_key_that_begins_and_ends_like_the_prime_is_canonical() {
        let keys = (0u32..).map(|number| {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            SecretKey::ed25519_from_seed(seed).public_key().bytes().to_vec()
        });
        let like = |key: &Vec<u8>| key[0] >= 0xed && key[31] & 0x7f == 0x7f;
        let key = keys.take(100_000).find(like).unwrap();
        assert!(PublicKey::from_bytes(Algorithm::Ed25519, &key).is_ok());
    }

    #[test]
    fn signatures_are_verified_together_for_both_algorithms() {
        let keys = [
            SecretKey::ed25519_from_seed([1; 32]),
            SecretKey::secp256r1_from_seed(&[2; 32]).unwrap(),
            SecretKey::ed25519_from_seed([3; 32]),
        ];
        let message = |at: usize| format!("message {at}").into_bytes();
        let signatures: Vec<Vec<u8>> =
            keys.iter().enumerate().map(|(at, key)| key.sign(&message(at)).unwrap()).collect();
        let together = |changed: Option<usize>| {
            let signed: Vec<Signed<'_>> = keys
                .iter()
                .zip(&signatures)
                .enumerate()
                .map(|(at, (key, signature))| Signed {
                    key: key.public_key(),
                    message: message(if changed == Some(at) { 9 } else { at }),
                    signature,
                })
                .collect();
            PublicKey::verify_batch(&signed)
        };
        assert!(together(None));
        assert!((0..3).all(|at| !together(Some(at))));
    }

    #[test]
    fn a_key_is_shown_as_its_text_and_hashed_by_its_bytes() {
        use std::hash::BuildHasher as _;
        let [one, two] = [1, 2].map(|seed| SecretKey::ed25519_from_seed([seed; 32]));
        let (one, two) = (one.public_key(), two.public_key());
        assert_eq!(format!("{one:?}"), format!("PublicKey({one})"));
        let hasher = std::hash::RandomState::new();
        assert_eq!(hasher.hash_one(one), hasher.hash_one(one.clone()));
        assert_ne!(hasher.hash_one(one), hasher.hash_one(two));
    }
}
