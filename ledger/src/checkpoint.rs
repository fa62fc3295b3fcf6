//! Checkpoints of a log: C2SP tlog-checkpoint, <https://c2sp.org/tlog-checkpoint>, as signed notes,
//! <https://c2sp.org/signed-note>.
//!
//! Owns: the three lines of a checkpoint, which of a note's signatures count, and the text form of
//! a key that signs checkpoints. Does not own: the private key, nor which keys are trusted.
//!
//! Invariants: a checkpoint has an origin, a size and a root, each in one spelling, and no
//! extension line; it is opened only under the given keys, and is refused if a signature of one of
//! them does not verify.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use signed_note::{Note, Signature, VerificationError, Verifier, Verifiers};

use crate::Hash;

/// The largest signed checkpoint, in bytes: a hundred signatures of 200 bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 32 * 1024;

/// The signature type of signed notes for Ed25519.
const ED25519: u8 = 0x01;

/// The content of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The origin: the log's name, a URL without its scheme.
    pub origin: String,
    /// How many leaves it covers.
    pub size: u64,
    /// Their root hash.
    pub root: Hash,
}

/// Why bytes are not a checkpoint under these keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// The bytes are not a signed note, or exceed [`CHECKPOINT_BYTES_MAX`].
    #[error("it is not a signed note")]
    Note,
    /// The text is not three lines in their only spelling.
    #[error("its text is not an origin, a size and a root hash")]
    Text,
    /// None of the keys signed it.
    #[error(
        "no trusted key signed it: the trust bundle is another broker's, or older than the key"
    )]
    Unsigned,
    /// A signature that names one of the keys does not verify.
    #[error("a signature on it does not hold")]
    Signature,
    /// It is the checkpoint of another log.
    #[error("it is of another log")]
    Origin,
}

impl Checkpoint {
    /// Returns the text that is signed: `origin\nsize\nroot in base64\n`.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Parses such a text, exactly.
    pub fn from_text(text: &str) -> Result<Self, BadCheckpoint> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), Some(""), None) =
            (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(BadCheckpoint::Text);
        };
        let size = size.parse().map_err(|_| BadCheckpoint::Text)?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = root.ok_or(BadCheckpoint::Text)?;
        let head = Checkpoint { origin: origin.to_owned(), size, root };
        // Leading zeros, signs, loose base64: every other spelling is refused.
        if head.text() != text || !signed_note::is_key_name_valid(origin) {
            return Err(BadCheckpoint::Text);
        }
        Ok(head)
    }

    /// Returns the signed checkpoint. `signature` is over [`Checkpoint::text`], by the log's own
    /// key.
    pub fn signed(&self, key: &CheckpointKey, signature: &[u8]) -> Result<Vec<u8>, BadCheckpoint> {
        let line = Signature::new(key.name.clone(), key.id(), signature.to_vec());
        let line = line.map_err(|_| BadCheckpoint::Note)?;
        let note = Note::new(self.text().as_bytes(), &[line]).map_err(|_| BadCheckpoint::Note)?;
        Ok(note.to_bytes())
    }

    /// Opens a signed checkpoint of the log with these keys: one of them must have signed it, and
    /// its origin must be that key's name.
    pub fn open(bytes: &[u8], keys: &[CheckpointKey]) -> Result<Self, BadCheckpoint> {
        let verifiers: Vec<&dyn Verifier> = keys.iter().map(|key| key as &dyn Verifier).collect();
        let (head, signers) = open_note(bytes, &verifiers)?;
        let own = signers.iter().any(|(name, _)| *name == head.origin);
        if own { Ok(head) } else { Err(BadCheckpoint::Origin) }
    }
}

/// Opens a note. Returns the checkpoint, and the keys among these that signed it, by name and
/// number; at least one.
pub(crate) fn open_note(
    bytes: &[u8],
    keys: &[&dyn Verifier],
) -> Result<(Checkpoint, Vec<(String, u32)>), BadCheckpoint> {
    if bytes.len() > CHECKPOINT_BYTES_MAX {
        return Err(BadCheckpoint::Note);
    }
    let note = Note::from_bytes(bytes).map_err(|_| BadCheckpoint::Note)?;
    let verified = note.verify(&Keys(keys)).map_err(|error| match error {
        signed_note::NoteError::UnverifiedNote => BadCheckpoint::Unsigned,
        _ => BadCheckpoint::Signature,
    });
    let (verified, _) = verified?;
    let text = std::str::from_utf8(note.text()).map_err(|_| BadCheckpoint::Text)?;
    let signers = verified.iter().map(|by| (by.name().to_owned(), by.id())).collect();
    Ok((Checkpoint::from_text(text)?, signers))
}

/// The public key that signs checkpoints, with the name of its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointKey {
    name: String,
    public: VerifyingKey,
}

impl CheckpointKey {
    /// Returns a key of 32 bytes under a name without spaces and plus signs; `None` for bytes that
    /// are no key or a weak one, and for any other name.
    pub fn new(name: &str, public: &[u8]) -> Option<Self> {
        let public = VerifyingKey::from_bytes(public.try_into().ok()?).ok()?;
        let good = signed_note::is_key_name_valid(name) && !public.is_weak();
        good.then(|| CheckpointKey { name: name.to_owned(), public })
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key's number: the first four bytes of SHA-256 over name, line feed, type and
    /// key.
    pub fn id(&self) -> u32 {
        signed_note::key_id(&self.name, &self.typed())
    }

    /// Returns the 32 bytes of the key.
    pub fn public(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn typed(&self) -> Vec<u8> {
        [&[ED25519], self.public.as_bytes().as_slice()].concat()
    }
}

/// `name+id+base64`, as Go's sumdb tools and witnesses read it.
impl std::fmt::Display for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&vkey(&self.name, ED25519, self.public.as_bytes()))
    }
}

impl std::str::FromStr for CheckpointKey {
    type Err = BadCheckpoint;

    fn from_str(text: &str) -> Result<Self, BadCheckpoint> {
        let (name, public) = parse_vkey(text, ED25519).ok_or(BadCheckpoint::Note)?;
        CheckpointKey::new(name, &public).ok_or(BadCheckpoint::Note)
    }
}

impl Verifier for CheckpointKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id()
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.public.verify_strict(message, &signature).is_ok())
    }
}

/// Returns a public key as text: `name+id+base64`, with the type of its signatures before the key.
pub(crate) fn vkey(name: &str, kind: u8, public: &[u8]) -> String {
    let typed = [&[kind], public].concat();
    format!("{name}+{:08x}+{}", signed_note::key_id(name, &typed), STANDARD.encode(typed))
}

/// Returns name and key of such a text; `None` for another type, and for another spelling.
pub(crate) fn parse_vkey(text: &str, kind: u8) -> Option<(&str, Vec<u8>)> {
    let (name, rest) = text.split_once('+')?;
    let (_, typed) = rest.split_once('+')?;
    let typed = STANDARD.decode(typed).ok()?;
    let (_, public) = typed.split_first().filter(|(found, _)| **found == kind)?;
    (vkey(name, kind, public) == text).then(|| (name, public.to_vec()))
}

struct Keys<'a>(&'a [&'a dyn Verifier]);

impl Verifiers for Keys<'_> {
    fn verifier(&self, name: &str, id: u32) -> Result<&dyn Verifier, VerificationError> {
        let key = self.0.iter().find(|key| key.name() == name && key.key_id() == id);
        key.copied().ok_or_else(|| VerificationError::UnknownKey { name: name.to_owned(), id })
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
