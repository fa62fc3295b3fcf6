//! What is asked of a witness, and what it answers: C2SP tlog-witness,
//! <https://c2sp.org/tlog-witness>.
//!
//! Owns: the request, and whether a witness may cosign what it asks for. Does not own: HTTP, where a
//! witness keeps what it cosigned (the command), the signature (`cosignature`).
//!
//! Invariants: a witness cosigns a head that one of the log's keys signed and that is shown to go on
//! from the one that it cosigned last; it never cosigns two that contradict each other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Hash;
use crate::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, HeadKey};
use crate::tree::{Checked, empty_root, verify_consistency};

/// The path, under the witness's own prefix.
pub const ADD_CHECKPOINT: &str = "add-checkpoint";

/// The content type of the answer that says which size the witness knows.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// Lines of a consistency proof.
const PROOF_MAX: usize = 63;

/// Bytes of a request.
pub const REQUEST_BYTES_MAX: usize = CHECKPOINT_BYTES_MAX + 4 * 1024;

/// Asks for a cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is taken to know.
    pub old: u64,
    /// That the head goes on from there.
    pub proof: Vec<Hash>,
    /// The signed head.
    pub note: Vec<u8>,
}

impl AddCheckpoint {
    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let proof: String = self.proof.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
        [format!("old {}\n{proof}\n", self.old).as_bytes(), &self.note].concat()
    }

    /// The name of the log whose head it is, by the head's own word.
    pub fn origin(&self) -> &str {
        let line = self.note.split(|byte| *byte == b'\n').next().unwrap_or_default();
        std::str::from_utf8(line).unwrap_or_default()
    }

    /// Reads a request; exactly.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|two| two == b"\n\n")?;
        let (head, rest) = bytes.split_at_checked(end)?;
        let note = rest.get(2..)?.to_vec();
        let mut lines = std::str::from_utf8(head).ok()?.split('\n');
        let old = lines.next()?.strip_prefix("old ")?.parse().ok()?;
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let proof: Vec<Hash> = lines.map(hash).collect::<Option<_>>()?;
        let request = AddCheckpoint { old, proof, note };
        // Loose base64, leading zeros: whatever is not as it would be written.
        let exact = request.proof.len() <= PROOF_MAX && request.encode() == bytes;
        exact.then_some(request)
    }
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a request, or its head is older than the size that it names.
    #[error("this is no request to add a checkpoint")]
    Malformed,
    /// A log that is not known.
    #[error("this log is not known here")]
    UnknownLog,
    /// No key of the log signed it.
    #[error("no key that is known of this log signed it")]
    Unsigned,
    /// The witness knows another size.
    #[error("{0} records were cosigned last")]
    Size(u64),
    /// Another root at the size that was cosigned last: the log signed two histories.
    #[error("another root was cosigned for this size")]
    Forked,
    /// It is not shown to go on.
    #[error("it is not shown to go on from what was cosigned last")]
    NotShown,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed => 400,
            Refusal::UnknownLog => 404,
            Refusal::Unsigned => 403,
            Refusal::Size(_) | Refusal::Forked => 409,
            Refusal::NotShown => 422,
        }
    }
}

/// The head that may be cosigned, by a witness that knows these keys of logs; `last` is what it
/// cosigned last of this log.
pub fn judge(
    request: &AddCheckpoint,
    logs: &[HeadKey],
    last: Option<&Checkpoint>,
) -> Result<Checkpoint, Refusal> {
    if !logs.iter().any(|key| key.name() == request.origin()) {
        return Err(Refusal::UnknownLog);
    }
    let head = Checkpoint::open(&request.note, logs).map_err(|_| Refusal::Unsigned)?;
    if request.old > head.size {
        return Err(Refusal::Malformed);
    }
    let known = last.map_or(0, |last| last.size);
    if request.old != known {
        return Err(Refusal::Size(known));
    }
    let Some(last) = last.filter(|last| last.size > 0) else {
        let empty = head.size > 0 || head.root == empty_root();
        return if request.proof.is_empty() && empty { Ok(head) } else { Err(Refusal::NotShown) };
    };
    let new = (head.size, &head.root);
    match verify_consistency((last.size, &last.root), new, &request.proof) {
        Checked::Holds => Ok(head),
        Checked::Contradicted => Err(Refusal::Forked),
        Checked::NotShown => Err(Refusal::NotShown),
    }
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
