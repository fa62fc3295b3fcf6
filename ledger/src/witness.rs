//! Requests to a witness, and its answers: C2SP tlog-witness, <https://c2sp.org/tlog-witness>.
//!
//! Owns: the request, and whether a witness may cosign its checkpoint. Does not own: HTTP, where a
//! witness stores what it cosigned (the command), the signature (`cosignature`).
//!
//! Invariants: a witness cosigns a checkpoint only if a key of the log signed it and it is proven
//! to extend the one that the witness cosigned last; a witness never cosigns two that contradict
//! each other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Hash;
use crate::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointKey};
use crate::tree::{Checked, empty_root, verify_consistency};

/// The path of the request, under the witness's own prefix.
pub const ADD_CHECKPOINT: &str = "add-checkpoint";

/// The content type of an answer with the size that the witness knows.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// The most lines of a consistency proof.
const PROOF_MAX: usize = 63;

/// The largest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = CHECKPOINT_BYTES_MAX + 4 * 1024;

/// A request for a cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the client expects the witness to know.
    pub old: u64,
    /// The proof that the checkpoint extends that size.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub note: Vec<u8>,
}

impl AddCheckpoint {
    /// Returns the request as it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let proof: String = self.proof.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
        [format!("old {}\n{proof}\n", self.old).as_bytes(), &self.note].concat()
    }

    /// Returns the origin of the log, as the unverified checkpoint states it.
    pub fn origin(&self) -> &str {
        let line = self.note.split(|byte| *byte == b'\n').next().unwrap_or_default();
        std::str::from_utf8(line).unwrap_or_default()
    }

    /// Decodes a request, exactly; `None` when it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|two| two == b"\n\n")?;
        let (head, rest) = bytes.split_at_checked(end)?;
        let note = rest.get(2..)?.to_vec();
        let mut lines = std::str::from_utf8(head).ok()?.split('\n');
        let old = lines.next()?.strip_prefix("old ")?.parse().ok()?;
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let proof: Vec<Hash> = lines.map(hash).collect::<Option<_>>()?;
        let request = AddCheckpoint { old, proof, note };
        // Loose base64, leading zeros: every other spelling is refused.
        let exact = request.proof.len() <= PROOF_MAX && request.encode() == bytes;
        exact.then_some(request)
    }
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no request, or the checkpoint is smaller than the size that the request names.
    #[error("this is no request to add a checkpoint")]
    Malformed,
    /// The witness does not know this log.
    #[error("this log is not known here")]
    UnknownLog,
    /// No key of the log signed the checkpoint.
    #[error("no key that is known of this log signed it")]
    Unsigned,
    /// The witness knows another size.
    #[error("{0} records were cosigned last")]
    Size(u64),
    /// The witness cosigned another root for this size: the log signed two histories.
    #[error("another root was cosigned for this size")]
    Forked,
    /// The checkpoint is not proven to extend the last one.
    #[error("it is not shown to go on from what was cosigned last")]
    NotShown,
}

impl Refusal {
    /// Returns the HTTP status.
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

/// Returns the checkpoint that may be cosigned, for a witness that knows these keys of logs. `last`
/// is the checkpoint of this log that it cosigned last.
pub fn judge(
    request: &AddCheckpoint,
    logs: &[CheckpointKey],
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
