//! The proof that a log signed two histories, as one file that anybody can verify.
//!
//! Owns: the form of the proof and its verification. Does not own: finding a fork (the client's
//! mirror, a witness).
//!
//! Invariants: a proof is two checkpoints that keys of the log signed, and the root that the larger
//! one is proven to have at the size of the smaller one, which differs from the root of the smaller
//! one. Only a holder of such a key can make one, and no honest log signs what makes one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Hash;
use crate::checkpoint::{BadCheckpoint, Checkpoint, CheckpointKey};
use crate::tree::{Checked, Nodes, consistency_proof, root_at, verify_consistency};

/// The start of such a file.
pub const FORK: &str = "sublet-fork/1\n";

/// The most hashes of a proof: two for each level of the tree.
const PROOF_MAX: usize = 128;

/// Two checkpoints that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The checkpoint over fewer records, or as many, as it was signed.
    pub smaller: Vec<u8>,
    /// The other checkpoint, as it was signed.
    pub larger: Vec<u8>,
    /// The root that the larger checkpoint has at the size of the smaller one.
    pub root: Hash,
    /// The proof that it has this root (RFC 6962, section 2.1.2).
    pub proof: Vec<Hash>,
}

/// Why a file does not prove a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFork {
    /// It does not have the form of a proof.
    #[error("it is not a proof of a fork")]
    Form,
    /// One of its checkpoints is not acceptable.
    #[error("one of its heads: {0}")]
    Head(#[from] BadCheckpoint),
    /// The checkpoints are of two logs.
    #[error("its heads are of two logs")]
    TwoLogs,
    /// The checkpoints agree, or are not shown to contradict each other.
    #[error("its heads are not shown to contradict each other")]
    NotShown,
}

impl Fork {
    /// Returns the proof that two checkpoints contradict each other, from all records of the larger
    /// one; `None` when they do not, or a node is missing.
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

    /// Verifies the proof under keys of the log. Returns the two checkpoints, the smaller first.
    pub fn verify(&self, keys: &[CheckpointKey]) -> Result<(Checkpoint, Checkpoint), NoFork> {
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

    /// Returns the proof as a file.
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

    /// Decodes a file, exactly.
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
