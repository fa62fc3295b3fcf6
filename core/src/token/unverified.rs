//! The envelope: an open Biscuit, its blocks and their ids. SPEC section 2.
//!
//! Owns: the only encoding of a token, the bytes that block signatures cover, hop ids. Does not
//! own: whether signatures hold (`verify`), who makes them (`mint`).
//!
//! Invariants: an [`UnverifiedToken`] is within the limits, canonical and open, and all of its
//! blocks are of signature version 1 and understood; nothing in it is verified.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::base::bytes::{Label, hasher};
use crate::base::id::{HopId, SpiffeId};
use crate::base::key::{Algorithm, BadKey, PublicKey};
use crate::base::limits;
use crate::biscuit::block::{BadBlock, Block};
use crate::biscuit::datalog::Symbols;
use crate::biscuit::wire::{BadWire, Encoder, Fields, Value, only};
use crate::capability::{Scope, check_patterns};
use crate::trust::bundle::KeyId;

/// The only version of a block signature. It covers the signature of the block before, so a block
/// cannot be moved to another chain of the same signer.
pub const SIGNATURE_VERSION: u32 = 1;

/// Why bytes are not a Sublet token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// The token is larger than [`limits::TOKEN_BYTES_MAX`].
    #[error("a token of {0} bytes, at most {max} are allowed", max = limits::TOKEN_BYTES_MAX)]
    TooLarge(usize),
    /// The bytes are not Biscuit's protobuf.
    #[error("the bytes are no Biscuit")]
    NotABiscuit,
    /// The bytes are another encoding than the canonical one.
    #[error("the token is not in its canonical encoding")]
    NotCanonical,
    /// The token contains the private half of its last key, which is no longer secret.
    #[error("the token carries a private key: treat that key as leaked")]
    LeakedKey,
    /// The token is sealed, and so a bearer token.
    #[error("the token is sealed; Sublet takes open tokens with a call proof only")]
    Sealed,
    /// The token has no root key id.
    #[error("the token names no root key")]
    NoRootKey,
    /// The token has more than [`limits::HOPS_MAX`] hops.
    #[error("{0} hops, at most {max} are allowed", max = limits::HOPS_MAX)]
    TooManyHops(usize),
    /// A block signature has another version than 1.
    #[error("block {0} is not signed in version {SIGNATURE_VERSION}")]
    SignatureVersion(usize),
    /// A block is a third-party block.
    #[error("block {0} is a third-party block, which Sublet has not")]
    ThirdParty(usize),
    /// A next key is not acceptable.
    #[error("the next key of block {0}: {1}")]
    Key(usize, BadKey),
    /// A block is not acceptable.
    #[error("block {0}: {1}")]
    Block(usize, BadBlock),
    /// The text is not `sublet1.` and base64url.
    #[error("no token in text form: one line, sublet1. and base64url")]
    Text,
}

impl BadToken {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadToken::TooLarge(_) => "token_too_large",
            BadToken::NotABiscuit => "not_a_biscuit",
            BadToken::NotCanonical => "token_not_canonical",
            BadToken::LeakedKey => "leaked_key",
            BadToken::Sealed => "token_sealed",
            BadToken::NoRootKey => "no_root_key",
            BadToken::TooManyHops(_) => "too_many_hops",
            BadToken::SignatureVersion(_) => "signature_version",
            BadToken::ThirdParty(_) => "third_party_block",
            BadToken::Key(..) => "bad_next_key",
            BadToken::Block(_, bad) => bad.code(),
            BadToken::Text => "not_a_token",
        }
    }
}

/// One signed block: its bytes and its decoded content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBlock {
    pub(crate) payload: Vec<u8>,
    pub(crate) next_key: PublicKey,
    pub(crate) signature: Vec<u8>,
    pub(crate) block: Block,
}

impl SignedBlock {
    /// Returns the content of the block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Returns the key of the holder that receives the token with this block.
    pub fn next_key(&self) -> &PublicKey {
        &self.next_key
    }

    /// Returns the payload's bytes, as they are signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Returns the signature over [`signed_bytes`].
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    fn encode(&self, out: &mut Encoder) {
        out.bytes(1, &self.payload);
        encode_key(out, 2, &self.next_key);
        out.bytes(3, &self.signature);
        out.number(5, u64::from(SIGNATURE_VERSION));
    }
}

fn encode_key(out: &mut Encoder, field: u64, key: &PublicKey) {
    out.message(field, |k| {
        k.number(1, u64::from(key.algorithm().number()));
        k.bytes(2, key.bytes());
    });
}

/// Returns the bytes that a block signature of version 1 covers (Biscuit specification, "Signature
/// version 1"): the payload, the next key, and the signature of the block before, if there is one.
pub fn signed_bytes(payload: &[u8], next_key: &PublicKey, previous: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 192);
    bytes.extend_from_slice(b"\0BLOCK\0\0VERSION\0");
    bytes.extend_from_slice(&SIGNATURE_VERSION.to_le_bytes());
    bytes.extend_from_slice(b"\0PAYLOAD\0");
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\0ALGORITHM\0");
    bytes.extend_from_slice(&u32::from(next_key.algorithm().number()).to_le_bytes());
    bytes.extend_from_slice(b"\0NEXTKEY\0");
    bytes.extend_from_slice(next_key.bytes());
    if let Some(previous) = previous {
        bytes.extend_from_slice(b"\0PREVSIG\0");
        bytes.extend_from_slice(previous);
    }
    bytes
}

/// Returns `id(-1)`, from which the ids of all chains under one root key are computed. SPEC 2.6.
pub fn root_id(issuer: &SpiffeId, root_key: &PublicKey) -> HopId {
    let hash = hasher(Label::Root).chain_update(issuer.as_str()).chain_update(root_key.bytes());
    HopId(hash.finalize().into())
}

/// Returns `id(i)` of a block after the block with id `previous`. The id is a hash over the
/// content, so signing again does not change it. SPEC 2.6.
pub fn hop_id(previous: &HopId, payload: &[u8], next_key: &PublicKey) -> HopId {
    // A payload has at most 3 KiB, so its length fits.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let hash = hasher(Label::HopId)
        .chain_update(previous.0)
        .chain_update(length.to_le_bytes())
        .chain_update(payload)
        .chain_update([next_key.algorithm().number()])
        .chain_update(next_key.bytes());
    HopId(hash.finalize().into())
}

/// A token that was decoded and not verified. Tokens that extend each other share their blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedToken {
    pub(crate) root_key: KeyId,
    pub(crate) blocks: Vec<Arc<SignedBlock>>,
}

impl UnverifiedToken {
    /// Returns the issuer that the token names, unverified.
    pub fn issuer(&self) -> Option<&SpiffeId> {
        Some(&self.blocks.first()?.block.role.origin()?.issuer)
    }

    /// Decodes the canonical bytes of an open Biscuit in Sublet's profile.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadToken> {
        if bytes.len() > limits::TOKEN_BYTES_MAX {
            return Err(BadToken::TooLarge(bytes.len()));
        }
        let raw = Envelope::read(bytes).map_err(|_| BadToken::NotABiscuit)?;
        raw.check_proof()?;
        let root_key = KeyId(raw.root_key.ok_or(BadToken::NoRootKey)?);
        if raw.blocks.len() > limits::HOPS_MAX as usize {
            return Err(BadToken::TooManyHops(raw.blocks.len()));
        }
        let mut symbols = Symbols::with_capacity(16 + 4 * raw.blocks.len());
        let authority = raw.authority.ok_or(BadToken::NotABiscuit)?;
        let blocks = std::iter::once(authority).chain(raw.blocks).enumerate();
        let blocks = read_blocks(blocks, Vec::new(), &mut symbols)?;
        let token = UnverifiedToken { root_key, blocks };
        if token.encode() == bytes { Ok(token) } else { Err(BadToken::NotCanonical) }
    }

    /// Decodes a token that extends `known`; only the additional blocks are read. `None` when the
    /// token does not begin with the blocks of `known`.
    pub fn decode_longer(bytes: &[u8], known: &UnverifiedToken) -> Option<Result<Self, BadToken>> {
        let before = known.encode();
        let before = before.strip_suffix(OPEN)?;
        let rest = bytes.strip_prefix(before)?;
        (bytes.len() <= limits::TOKEN_BYTES_MAX).then(|| known.longer(rest))
    }

    fn longer(&self, rest: &[u8]) -> Result<Self, BadToken> {
        let raw = Envelope::read(rest).map_err(|_| BadToken::NotABiscuit)?;
        raw.check_proof()?;
        let at = self.blocks.len();
        let hops = at.saturating_sub(1).saturating_add(raw.blocks.len());
        if hops > limits::HOPS_MAX as usize {
            return Err(BadToken::TooManyHops(hops));
        }
        let mut symbols = self.symbols();
        let new = raw.blocks.into_iter().enumerate().map(|(i, block)| (at + i, block));
        let blocks = read_blocks(new, self.blocks.clone(), &mut symbols)?;
        if encode_blocks(blocks.get(at..).unwrap_or_default(), at) != rest {
            return Err(BadToken::NotCanonical);
        }
        Ok(UnverifiedToken { root_key: self.root_key, blocks })
    }

    /// Assembles a token from recorded blocks, block 0 first. It is checked like a decoded token,
    /// and not verified.
    pub fn assemble<'a>(
        root_key: KeyId,
        recorded: impl IntoIterator<Item = &'a BlockPayload>,
    ) -> Result<Self, BadToken> {
        let mut symbols = Symbols::default();
        let block = |(at, recorded): (usize, &'a BlockPayload)| {
            let block = Block::lift(&recorded.payload, at == 0, &mut symbols);
            Ok(Arc::new(SignedBlock {
                payload: recorded.payload.clone(),
                next_key: recorded.next_key.clone(),
                signature: recorded.signature.clone(),
                block: block.map_err(|bad| BadToken::Block(at, bad))?,
            }))
        };
        let blocks = recorded.into_iter().enumerate().map(block).collect::<Result<_, _>>()?;
        // Decoding checks the sizes and counts.
        UnverifiedToken::decode(&UnverifiedToken { root_key, blocks }.encode())
    }

    /// Returns the canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(None)
    }

    /// Returns the bytes with a seal, which makes a stock token; `None` leaves the token open.
    pub(crate) fn encode_with(&self, seal: Option<&[u8]>) -> Vec<u8> {
        let sizes = self.blocks.iter().map(|b| b.payload.len() + b.signature.len() + 64);
        let mut out = Encoder::with_capacity(sizes.sum::<usize>() + 96);
        out.number(1, u64::from(self.root_key.0));
        put_blocks(&mut out, &self.blocks, 0);
        out.message(4, |proof| seal.into_iter().for_each(|seal| proof.bytes(2, seal)));
        out.finish()
    }

    /// Returns the number of the root key. It selects a key; no signature covers it.
    pub fn root_key(&self) -> KeyId {
        self.root_key
    }

    /// Returns the blocks, block 0 first; never empty.
    pub fn blocks(&self) -> &[Arc<SignedBlock>] {
        &self.blocks
    }

    /// Returns the symbols that the blocks define, for encoding a further block.
    pub(crate) fn symbols(&self) -> Symbols<'_> {
        let mut symbols = Symbols::with_capacity(16 + 4 * self.blocks.len());
        for signed in &self.blocks {
            // These payloads were read or written here, so their symbols are valid. If they were
            // not, a token made with them would not verify.
            let _ = symbols.define_all(&signed.payload);
        }
        symbols
    }
}

/// The end of an open token: an empty proof.
const OPEN: &[u8] = &[0x22, 0x00];

/// Writes blocks. `first` is the position of the first one.
fn put_blocks(out: &mut Encoder, blocks: &[Arc<SignedBlock>], first: usize) {
    for (at, block) in blocks.iter().enumerate() {
        out.message(if first + at == 0 { 2 } else { 3 }, |b| block.encode(b));
    }
}

/// Returns the end of a token that has these blocks last.
fn encode_blocks(blocks: &[Arc<SignedBlock>], first: usize) -> Vec<u8> {
    let mut out = Encoder::default();
    put_blocks(&mut out, blocks, first);
    let mut bytes = out.finish();
    bytes.extend_from_slice(OPEN);
    bytes
}

/// Returns the SHA-256 of a token's bytes up to the end of each block, block 0 first. The last one
/// identifies the whole token. `None` when the bytes are no open token. Nothing in the token is
/// decoded or verified by this.
pub fn prefix_digests(bytes: &[u8]) -> Option<Vec<[u8; 32]>> {
    let before_end = bytes.len().checked_sub(OPEN.len())?;
    let (mut rest, end) = bytes.split_at_checked(before_end)?;
    if end != OPEN || bytes.len() > limits::TOKEN_BYTES_MAX {
        return None;
    }
    let (mut hash, mut digests) = (Sha256::new(), Vec::with_capacity(9));
    while !rest.is_empty() {
        let mut fields = Fields::of(rest);
        let (number, _) = fields.next()?.ok()?;
        let (field, behind) = rest.split_at_checked(rest.len() - fields.rest().len())?;
        hash.update(field);
        if number != 1 {
            digests.push(hash.clone().finalize().into());
        }
        if digests.len() > limits::HOPS_MAX as usize + 1 {
            return None;
        }
        rest = behind;
    }
    (!digests.is_empty()).then_some(digests)
}

/// The bytes of a signed block, as they are recorded as a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPayload {
    /// The block's payload.
    pub payload: Vec<u8>,
    /// The next key.
    pub next_key: PublicKey,
    /// The block's signature.
    pub signature: Vec<u8>,
}

impl From<&SignedBlock> for BlockPayload {
    fn from(signed: &SignedBlock) -> Self {
        BlockPayload {
            payload: signed.payload().to_vec(),
            next_key: signed.next_key().clone(),
            signature: signed.signature().to_vec(),
        }
    }
}

/// The fields of the envelope, not interpreted.
#[derive(Default)]
struct Envelope<'a> {
    root_key: Option<u32>,
    authority: Option<&'a [u8]>,
    blocks: Vec<&'a [u8]>,
    proof: Option<&'a [u8]>,
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, BadWire> {
        let mut envelope = Envelope::default();
        for field in Fields::of(bytes) {
            match field? {
                (1, number) => envelope.root_key = Some(number.number32()?),
                (2, block) => envelope.authority = Some(block.bytes()?),
                (3, block) => envelope.blocks.push(block.bytes()?),
                (4, proof) => envelope.proof = Some(proof.bytes()?),
                _ => {} // Is not written again, so the bytes are not canonical.
            }
        }
        Ok(envelope)
    }

    /// Checks that the proof is present and empty, so the token is open.
    fn check_proof(&self) -> Result<(), BadToken> {
        match self.proof {
            Some([]) => Ok(()),
            Some(proof) => match only(proof) {
                Ok((1, Value::Bytes(_))) => Err(BadToken::LeakedKey),
                Ok((2, Value::Bytes(_))) => Err(BadToken::Sealed),
                _ => Err(BadToken::NotCanonical),
            },
            None => Err(BadToken::NotABiscuit),
        }
    }
}

/// Reads further blocks. Patterns are counted block by block, so a token with too many costs no
/// more than one with the most that is allowed.
fn read_blocks<'a>(
    raw: impl Iterator<Item = (usize, &'a [u8])>,
    mut blocks: Vec<Arc<SignedBlock>>,
    symbols: &mut Symbols<'a>,
) -> Result<Vec<Arc<SignedBlock>>, BadToken> {
    let mut patterns = patterns(&blocks);
    for (at, bytes) in raw {
        let signed = read_block(at, bytes, blocks.last(), symbols)?;
        patterns += signed.block.scope.as_ref().map_or(0, Scope::patterns);
        check_patterns(patterns, limits::TOKEN_PATTERNS_MAX, "token")
            .map_err(|bad| BadToken::Block(at, BadBlock::Scope(bad)))?;
        blocks.push(Arc::new(signed));
    }
    Ok(blocks)
}

/// Returns how many patterns the scopes of these blocks have.
pub(crate) fn patterns(blocks: &[Arc<SignedBlock>]) -> usize {
    blocks.iter().filter_map(|signed| signed.block.scope.as_ref()).map(Scope::patterns).sum()
}

fn read_block<'a>(
    at: usize,
    bytes: &'a [u8],
    before: Option<&Arc<SignedBlock>>,
    symbols: &mut Symbols<'a>,
) -> Result<SignedBlock, BadToken> {
    let raw = RawBlock::read(bytes).map_err(|_| BadToken::NotABiscuit)?;
    if raw.third_party {
        return Err(BadToken::ThirdParty(at));
    }
    if raw.version != Some(SIGNATURE_VERSION) {
        return Err(BadToken::SignatureVersion(at));
    }
    // A missing algorithm means 0, as protobuf readers have it. Such a token is refused, because
    // encoding it again writes the field.
    let algorithm = i32::try_from(raw.algorithm.unwrap_or(0)).ok();
    let algorithm = algorithm.and_then(Algorithm::from_number).ok_or(BadToken::NotABiscuit)?;
    let next_key =
        PublicKey::from_bytes(algorithm, raw.key).map_err(|bad| BadToken::Key(at, bad))?;
    let block = match before {
        None => Block::lift(raw.payload, true, symbols),
        Some(before) => Block::lift_behind(raw.payload, (&before.payload, &before.block), symbols),
    };
    let block = block.map_err(|bad| BadToken::Block(at, bad))?;
    let (payload, signature) = (raw.payload.to_vec(), raw.signature.to_vec());
    Ok(SignedBlock { payload, next_key, signature, block })
}

/// The fields of a block, not interpreted.
#[derive(Default)]
struct RawBlock<'a> {
    payload: &'a [u8],
    algorithm: Option<u32>,
    key: &'a [u8],
    signature: &'a [u8],
    third_party: bool,
    version: Option<u32>,
}

impl<'a> RawBlock<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, BadWire> {
        let mut block = RawBlock::default();
        for field in Fields::of(bytes) {
            match field? {
                (1, payload) => block.payload = payload.bytes()?,
                (2, key) => block.read_key(key.bytes()?)?,
                (3, signature) => block.signature = signature.bytes()?,
                (4, _) => block.third_party = true,
                (5, version) => block.version = Some(version.number32()?),
                _ => {} // Is not written again, so the bytes are not canonical.
            }
        }
        Ok(block)
    }

    fn read_key(&mut self, bytes: &'a [u8]) -> Result<(), BadWire> {
        for field in Fields::of(bytes) {
            match field? {
                (1, algorithm) => self.algorithm = Some(algorithm.number32()?),
                (2, key) => self.key = key.bytes()?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "unverified_tests.rs"]
mod tests;
