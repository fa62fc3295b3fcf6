//! Cosignatures of witnesses: C2SP tlog-cosignature, <https://c2sp.org/tlog-cosignature>, Ed25519.
//!
//! Owns: the message that a witness signs over a checkpoint, its line on the note, the text form of
//! its key. Does not own: which witnesses suffice (`policy`), when one signs (`witness`).
//!
//! Invariants: a cosignature is over a checkpoint and a time; a key that signs checkpoints of a log
//! is never one that cosigns.

use ed25519_dalek::VerifyingKey;
use signed_note::{Signature, Verifier};

use crate::checkpoint::{BadCheckpoint, Checkpoint, parse_vkey, vkey};

/// The signature type of cosignatures with Ed25519.
const COSIGNATURE_V1: u8 = 0x04;

/// The public key of a witness, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    public: VerifyingKey,
}

impl WitnessKey {
    /// Returns a key of 32 bytes under a name without spaces and plus signs; `None` for bytes that
    /// are no key or a weak one, and for any other name.
    pub fn new(name: &str, public: &[u8]) -> Option<Self> {
        let public = VerifyingKey::from_bytes(public.try_into().ok()?).ok()?;
        let good = signed_note::is_key_name_valid(name) && !public.is_weak();
        good.then(|| WitnessKey { name: name.to_owned(), public })
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the 32 bytes of the key.
    pub fn public(&self) -> &[u8] {
        self.public.as_bytes()
    }

    /// Returns the line of a cosignature, to be added to the note. `signature` is over [`message`].
    pub fn line(&self, time: u64, signature: &[u8]) -> Result<String, BadCheckpoint> {
        let stamped = [&time.to_be_bytes(), signature].concat();
        let line = Signature::new(self.name.clone(), self.key_id(), stamped);
        let line = line.map_err(|_| BadCheckpoint::Note)?.to_bytes();
        String::from_utf8(line).map_err(|_| BadCheckpoint::Note)
    }
}

/// Returns the message that a witness signs: a checkpoint, seen at a time in seconds since 1970.
pub fn message(head: &Checkpoint, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{}", head.text())
}

/// `name+id+base64`, as in policies.
impl std::fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&vkey(&self.name, COSIGNATURE_V1, self.public.as_bytes()))
    }
}

impl std::str::FromStr for WitnessKey {
    type Err = BadCheckpoint;

    fn from_str(text: &str) -> Result<Self, BadCheckpoint> {
        let (name, public) = parse_vkey(text, COSIGNATURE_V1).ok_or(BadCheckpoint::Note)?;
        WitnessKey::new(name, &public).ok_or(BadCheckpoint::Note)
    }
}

impl Verifier for WitnessKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        let typed = [&[COSIGNATURE_V1], self.public.as_bytes().as_slice()].concat();
        signed_note::key_id(&self.name, &typed)
    }

    /// `text` is the text of the note: the checkpoint.
    fn verify(&self, text: &[u8], stamped: &[u8]) -> bool {
        let Some((time, signature)) = stamped.split_first_chunk::<8>() else { return false };
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        let time = u64::from_be_bytes(*time);
        let message = [format!("cosignature/v1\ntime {time}\n").as_bytes(), text].concat();
        i64::try_from(time).is_ok() && self.public.verify_strict(&message, &signature).is_ok()
    }
}
