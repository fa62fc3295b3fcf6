//! The attacker's bench: Biscuit's schema by hand, signed in either version.

pub use biscuit_auth::format::schema;
use prost_biscuit::Message as _;
use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::{Signer, SignerFault};
use sublet_core::biscuit::block::Block;
use sublet_core::biscuit::datalog::Symbols;
use sublet_core::token::signed_bytes;
use sublet_core::token::verify::VerifiedToken;

/// The envelope of a token.
pub fn open(bytes: &[u8]) -> schema::Biscuit {
    schema::Biscuit::decode(bytes).unwrap()
}

/// The envelope's bytes.
pub fn bytes(envelope: &schema::Biscuit) -> Vec<u8> {
    envelope.encode_to_vec()
}

/// A block's payload as Biscuit reads it.
pub fn payload(bytes: &[u8]) -> schema::Block {
    schema::Block::decode(bytes).unwrap()
}

/// A payload's bytes.
pub fn payload_bytes(block: &schema::Block) -> Vec<u8> {
    block.encode_to_vec()
}

/// A public key as Biscuit writes it.
pub fn public_key(key: &PublicKey) -> schema::PublicKey {
    let algorithm = i32::from(key.algorithm().number());
    schema::PublicKey { algorithm, key: key.bytes().to_vec() }
}

/// The symbols that a token's blocks define.
pub fn symbols(token: &VerifiedToken) -> Symbols<'_> {
    let mut symbols = Symbols::default();
    for signed in token.signed_blocks() {
        signed.block().lower(&mut symbols);
    }
    symbols
}

/// A block signed in version 1, as Sublet does, whatever its payload.
pub fn signed_v1(
    payload: Vec<u8>,
    next_key: &PublicKey,
    previous: Option<&[u8]>,
    signer: &dyn Signer,
) -> schema::SignedBlock {
    let signature = signer.sign(&signed_bytes(&payload, next_key, previous)).unwrap();
    schema::SignedBlock {
        block: payload,
        next_key: public_key(next_key),
        signature,
        external_signature: None,
        version: Some(1),
    }
}

/// A block signed in version 0: the signature before it is not covered.
pub fn signed_v0(
    payload: Vec<u8>,
    next_key: &PublicKey,
    signer: &dyn Signer,
) -> schema::SignedBlock {
    let number = i32::from(next_key.algorithm().number()).to_le_bytes();
    let message = [payload.as_slice(), &number, next_key.bytes()].concat();
    let signature = signer.sign(&message).unwrap();
    schema::SignedBlock {
        block: payload,
        next_key: public_key(next_key),
        signature,
        external_signature: None,
        version: None,
    }
}

/// Appends a signed block.
pub fn with_block(token: &VerifiedToken, block: schema::SignedBlock) -> Vec<u8> {
    let mut envelope = open(&token.encode());
    envelope.blocks.push(block);
    bytes(&envelope)
}

/// Appends what the block says without asking whether it may: rendered and signed correctly.
pub fn forge(
    token: &VerifiedToken,
    block: &Block,
    next_key: &PublicKey,
    signer: &dyn Signer,
) -> Vec<u8> {
    let payload = block.lower(&mut symbols(token));
    with_payload(token, payload, next_key, signer)
}

/// Appends a payload of any bytes, signed correctly.
pub fn with_payload(
    token: &VerifiedToken,
    payload: Vec<u8>,
    next_key: &PublicKey,
    signer: &dyn Signer,
) -> Vec<u8> {
    let previous = token.last().signature();
    with_block(token, signed_v1(payload, next_key, Some(previous), signer))
}

/// Seals an envelope with the key of its last block, as stock Biscuit does.
pub fn seal(mut envelope: schema::Biscuit, signer: &dyn Signer) -> Vec<u8> {
    let last = envelope.blocks.last().unwrap_or(&envelope.authority);
    let algorithm = last.next_key.algorithm.to_le_bytes();
    let message = [last.block.as_slice(), &algorithm, &last.next_key.key, &last.signature].concat();
    let signature = signer.sign(&message).unwrap();
    envelope.proof.content = Some(schema::proof::Content::FinalSignature(signature));
    bytes(&envelope)
}

/// The top-level fields of a protobuf message, each with its tag.
pub fn fields(message: &[u8]) -> Vec<Vec<u8>> {
    let (mut fields, mut rest) = (Vec::new(), message);
    while !rest.is_empty() {
        let start = rest;
        let (tag, _) = varint(&mut rest);
        match tag & 7 {
            0 => {
                varint(&mut rest);
            }
            2 => {
                let (length, _) = varint(&mut rest);
                rest = &rest[usize::try_from(length).unwrap()..];
            }
            other => panic!("wire type {other} does not occur in a Biscuit"),
        }
        fields.push(start[..start.len() - rest.len()].to_vec());
    }
    fields
}

/// The same field with one byte more in the varint behind its tag.
pub fn stretched(field: &[u8]) -> Vec<u8> {
    let mut rest = field;
    let (_, tag_bytes) = varint(&mut rest);
    let (_, value_bytes) = varint(&mut rest);
    let mut longer = field[..tag_bytes + value_bytes].to_vec();
    *longer.last_mut().unwrap() |= 0x80;
    longer.push(0);
    longer.extend_from_slice(rest);
    longer
}

fn varint(rest: &mut &[u8]) -> (u64, usize) {
    let (mut value, mut count) = (0u64, 0);
    loop {
        let byte = rest[0];
        *rest = &rest[1..];
        value |= u64::from(byte & 0x7f) << (7 * count);
        count += 1;
        if byte & 0x80 == 0 {
            return (value, count);
        }
    }
}

/// The secp256r1 key of a name, signing with a nonce of its own choice instead of RFC 6979's: the
/// freedom that every ECDSA signer has.
pub struct OtherNonce {
    secret: [u8; 32],
    public: PublicKey,
    nonce: u64,
}

impl OtherNonce {
    /// The signer with this nonce, which is not 0.
    pub fn of(name: &str, nonce: u64) -> Self {
        let secret = sublet_core::base::bytes::sha256(name.as_bytes());
        OtherNonce { secret, public: crate::curve_key(name).public_key().clone(), nonce }
    }
}

impl Signer for OtherNonce {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFault> {
        use p256::elliptic_curve::ops::Reduce as _;
        use p256::elliptic_curve::point::AffineCoordinates as _;
        let scalar = |bytes: [u8; 32]| p256::Scalar::reduce_bytes(&p256::FieldBytes::from(bytes));
        let nonce = p256::Scalar::from(self.nonce);
        let point = (p256::ProjectivePoint::GENERATOR * nonce).to_affine();
        let r = p256::Scalar::reduce_bytes(&point.x());
        let digest = scalar(sublet_core::base::bytes::sha256(message));
        let s = nonce.invert().unwrap() * (digest + r * scalar(self.secret));
        let signature = p256::ecdsa::Signature::from_scalars(r, s).unwrap();
        let signature = signature.normalize_s().unwrap_or(signature);
        Ok(signature.to_der().as_bytes().to_vec())
    }
}
