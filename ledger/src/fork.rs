//! Proof that a log signed two histories, as one file that anybody can check.
//!
//! Owns: the form of the proof and its check. Does not own: finding a fork (`client`'s mirror, a
//! witness).
//!
//! Invariants: a proof is two heads that keys of the log signed, and a root that the larger one is
//! shown to have at the size of the smaller one, which the smaller one does not have. Nobody but
//! whoever holds such a key can make one, and no honest log ever signs what makes one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Hash;
use crate::checkpoint::{BadCheckpoint, Checkpoint, HeadKey};
use crate::tree::{Checked, Nodes, consistency_proof, root_at, verify_consistency};

/// How such a file begins.
pub const FORK: &str = "sublet-fork/1\n";

/// Hashes in a proof: two for each level of the tree.
const PROOF_MAX: usize = 128;

/// Two heads that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The head over fewer records, or as many, as it was signed.
    pub smaller: Vec<u8>,
    /// The other one.
    pub larger: Vec<u8>,
    /// The root that the larger one has at the size of the smaller one.
    pub root: Hash,
    /// That it has it (RFC 6962, section 2.1.2).
    pub proof: Vec<Hash>,
}

/// Why a file proves no fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFork {
    /// Not in the form of one.
    #[error("it is no proof of a fork")]
    Form,
    /// One of its heads.
    #[error("one of its heads: {0}")]
    Head(#[from] BadCheckpoint),
    /// The heads are of two logs.
    #[error("its heads are of two logs")]
    TwoLogs,
    /// They agree, or are not shown not to.
    #[error("its heads are not shown to contradict each other")]
    NotShown,
}

impl Fork {
    /// The proof that two heads contradict each other, from all records of the larger one; `None`
    /// when they do not, or a node is missing.
    pub fn find(
        smaller: (&Checkpoint, &[u8]),
        larger: (&Checkpoint, &[u8]),
        nodes: &dyn Nodes,
    ) -> Option<Self> {
        let root = root_at(nodes, smaller.0.size)?;
        let proof = consistency_proof(nodes, smaller.0.size, larger.0.size)?;
        let (one, other) = (smaller.1.to_vec(), larger.1.to_vec());
        let differs = root != smaller.0.root;
        differs.then_some(Fork { smaller: one, larger: other, root, proof })
    }

    /// Checks it under keys of the log: the two heads, smaller first.
    pub fn verify(&self, keys: &[HeadKey]) -> Result<(Checkpoint, Checkpoint), NoFork> {
        let smaller = Checkpoint::open(&self.smaller, keys)?;
        let larger = Checkpoint::open(&self.larger, keys)?;
        if smaller.origin != larger.origin {
            return Err(NoFork::TwoLogs);
        }
        let (old, new) = ((smaller.size, &self.root), (larger.size, &larger.root));
        let shown = verify_consistency(old, new, &self.proof) == Checked::Holds;
        if !shown || self.root == smaller.root {
            return Err(NoFork::NotShown);
        }
        Ok((smaller, larger))
    }

    /// As a file.
    pub fn encode(&self) -> Vec<u8> {
        let proof: String = self.proof.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
        let head = format!(
            "{FORK}{}\n{}\n{}\n{proof}",
            STANDARD.encode(self.root),
            self.proof.len(),
            self.smaller.len()
        );
        [head.as_bytes(), &self.smaller, &self.larger].concat()
    }

    /// Reads a file; exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoFork> {
        let read = || {
            let mut rest = bytes.strip_prefix(FORK.as_bytes())?;
            let mut line = || {
                let end = rest.iter().position(|byte| *byte == b'\n')?;
                let (line, behind) = rest.split_at_checked(end)?;
                rest = behind.get(1..)?;
                std::str::from_utf8(line).ok()
            };
            let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
            let root = hash(line()?)?;
            let count: usize = line()?.parse().ok().filter(|count| *count <= PROOF_MAX)?;
            let length = line()?.parse().ok()?;
            let proof = (0..count).map(|_| hash(line()?)).collect::<Option<_>>()?;
            let (smaller, larger) = rest.split_at_checked(length)?;
            Some(Fork { smaller: smaller.to_vec(), larger: larger.to_vec(), root, proof })
        };
        let fork = read().filter(|fork| fork.encode() == bytes);
        fork.ok_or(NoFork::Form)
    }
}

#[cfg(test)]
#[path = "fork_tests.rs"]
mod tests;
