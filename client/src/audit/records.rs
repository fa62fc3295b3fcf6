//! Every record of a ledger, as bytes and decoded. SPEC section 9.
//!
//! Owns: reading the whole ledger from a broker, and verifying it against its checkpoint. Does not
//! own: what happened (`history`), the layout of a copy or a bundle on disk (`mirror`, `bundle`).
//!
//! Invariants: only records under a checkpoint that a trusted key signed count; a pruned record is
//! known only by its hash, and is reported as missing.

use std::collections::{BTreeMap, BTreeSet};

use sublet_ledger::Hash;
use sublet_ledger::checkpoint::Checkpoint;
use sublet_ledger::tile::Tree;
use sublet_ledger::tree::Checked;
use sublet_proto::v1::records_part::Part;
use sublet_proto::v1::{GetCheckpointRequest, RecordsPruned, ReplayEntry};

use crate::audit::entry::Entry;
use crate::audit::published::checkpoint_keys;
use crate::audit::replay::ENTRIES_MAX;
use crate::broker::connect::{Broker, DEADLINE_DEFAULT};
use crate::broker::credential::Credential;
use crate::error::Error;
use crate::trust::Trust;

/// Every record of a ledger, under its checkpoint.
#[derive(Debug)]
pub struct Records {
    /// The verified checkpoint.
    pub head: Checkpoint,
    /// The records in the order of the ledger, without pruned ones.
    pub entries: Vec<Entry>,
    /// The leaf hashes of all records, also of pruned ones.
    hashes: Vec<Hash>,
}

impl Records {
    /// Returns the ranges of pruned records: first and last index.
    pub fn pruned(&self) -> Vec<(u64, u64)> {
        let there: BTreeSet<u64> = self.entries.iter().map(|entry| entry.index).collect();
        gaps(&there, self.head.size)
    }

    /// Answers question 10: whether the ledger begins with the records of a checkpoint that was
    /// kept elsewhere. Two checkpoints of one ledger that contradict each other show that it was
    /// rewritten.
    pub fn begin_with(&self, kept: &Checkpoint) -> Checked {
        self.each_begins_with(std::slice::from_ref(kept)).pop().unwrap_or(Checked::NotShown)
    }

    /// Compares the ledger with many checkpoints in one pass over the records. The results are in
    /// the order of `kept`.
    pub fn each_begins_with(&self, kept: &[Checkpoint]) -> Vec<Checked> {
        let mut due: BTreeMap<u64, Hash> = kept.iter().map(|head| (head.size, [0; 32])).collect();
        let mut tree = Tree::default();
        let mut hashes = self.hashes.iter();
        for (size, root) in due.range_mut(..=self.head.size) {
            let missing = usize::try_from(size - tree.size()).unwrap_or(usize::MAX);
            hashes.by_ref().take(missing).for_each(|hash| tree.append(*hash, &mut Vec::new()));
            *root = tree.root();
        }
        let check = |kept: &Checkpoint| match due.get(&kept.size) {
            _ if kept.origin != self.head.origin || kept.size > self.head.size => Checked::NotShown,
            Some(root) if *root == kept.root => Checked::Holds,
            _ => Checked::Contradicted,
        };
        kept.iter().map(check).collect()
    }
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawRecord {
    /// The record is there.
    Kept {
        /// The leaf, unchanged.
        leaf: Vec<u8>,
        /// The payload, unchanged; empty when there is none, or it was erased.
        payload: Vec<u8>,
    },
    /// The record was pruned. This is the hash of its leaf.
    Pruned(Hash),
}

impl RawRecord {
    /// Returns the leaf; `None` when the record was pruned.
    pub fn leaf(&self) -> Option<&[u8]> {
        match self {
            RawRecord::Kept { leaf, .. } => Some(leaf),
            RawRecord::Pruned(_) => None,
        }
    }

    /// Returns the payload; empty when there is none, or when it was erased or pruned.
    pub fn payload(&self) -> &[u8] {
        match self {
            RawRecord::Kept { payload, .. } => payload,
            RawRecord::Pruned(_) => &[],
        }
    }
}

/// A whole ledger as bytes: its checkpoint, and every record.
#[derive(Debug)]
pub struct RawLedger {
    /// The signed checkpoint.
    pub note: Vec<u8>,
    /// The last checkpoint that witnesses cosigned, with their cosignatures; empty when there is
    /// none.
    pub witnessed: Vec<u8>,
    /// The records in the order of the ledger.
    pub records: Vec<RawRecord>,
}

impl RawLedger {
    /// Decodes every record and verifies all of them against the checkpoint, which a ledger key of
    /// the trust bundle must have signed.
    pub fn understand(&self, trust: &Trust) -> Result<Records, Error> {
        let invalid = |detail: String| Error::local("ledger_invalid", detail);
        let head = Checkpoint::open(&self.note, &checkpoint_keys(&trust.current()));
        let head = head.map_err(|bad| invalid(format!("the checkpoint of the ledger: {bad}")))?;
        let (mut tree, mut entries, mut hashes) = (Tree::default(), Vec::new(), Vec::new());
        for (index, raw) in (0u64..).zip(&self.records) {
            let hash = match raw {
                RawRecord::Pruned(hash) => *hash,
                RawRecord::Kept { leaf, payload } => {
                    let (leaf, payload) = (leaf.clone(), payload.clone());
                    let entry = Entry::read(&ReplayEntry { index, leaf, payload });
                    let entry = entry.map_err(|failure| invalid(failure.message().to_owned()))?;
                    let hash = entry.leaf_hash;
                    entries.push(entry);
                    hash
                }
            };
            tree.append(hash, &mut Vec::new());
            hashes.push(hash);
        }
        if (tree.size(), tree.root()) != (head.size, head.root) {
            let detail = "the root hash of the records is not that of the signed checkpoint";
            return Err(invalid(detail.to_owned()));
        }
        Ok(Records { head, entries, hashes })
    }
}

/// Reads the whole ledger from a broker, with the admin's credential, and verifies it against its
/// checkpoint. The broker records this as an export.
pub async fn read(broker: &Broker, who: &Credential, trust: &Trust) -> Result<Records, Error> {
    read_raw(broker, who).await?.understand(trust)
}

/// Reads the whole ledger from a broker as bytes, without verifying them.
pub async fn read_raw(broker: &Broker, who: &Credential) -> Result<RawLedger, Error> {
    // The witnessed checkpoint is read first, so the records that are read next include what it
    // covers.
    let witnessed = broker.checkpoint(who, GetCheckpointRequest {}).await?.witnessed;
    let mut stream = broker.tail_stream(who, 0, true).await?;
    let (mut note, mut records) = (None, Vec::new());
    loop {
        let next = tokio::time::timeout(DEADLINE_DEFAULT, stream.message()).await;
        let next = next.map_err(|_| Error::deadline("the ledger", DEADLINE_DEFAULT))?;
        match next.map_err(|status| Error::from_status(&status))?.and_then(|part| part.part) {
            Some(Part::Checkpoint(part)) if note.is_none() => note = Some(part.checkpoint),
            Some(Part::Checkpoint(_)) => return Err(Error::answer("there is a second checkpoint")),
            Some(Part::Entries(part)) => {
                due(part.first, &records)?;
                let payloads = part.payloads.into_iter().chain(std::iter::repeat(Vec::new()));
                let pairs = part.leaves.into_iter().zip(payloads);
                records.extend(pairs.map(|(leaf, payload)| RawRecord::Kept { leaf, payload }));
            }
            Some(Part::Pruned(part)) => {
                due(part.first, &records)?;
                records.extend(leaf_hashes(&part)?.into_iter().map(RawRecord::Pruned));
            }
            None => break,
        }
        if records.len() > ENTRIES_MAX {
            let detail = format!("the ledger has over {ENTRIES_MAX} records");
            return Err(Error::local("replay_too_long", detail));
        }
    }
    let note = note.ok_or_else(|| Error::answer("the ledger has no checkpoint"))?;
    Ok(RawLedger { note, witnessed, records })
}

/// Checks that a part begins where the last one ended.
fn due(first: u64, records: &[RawRecord]) -> Result<(), Error> {
    if first == records.len() as u64 {
        return Ok(());
    }
    Err(Error::answer("records are missing in between"))
}

/// Returns the leaf hashes of pruned records.
pub(crate) fn leaf_hashes(part: &RecordsPruned) -> Result<Vec<Hash>, Error> {
    match part.hashes.as_chunks::<32>() {
        (hashes, []) if !hashes.is_empty() => Ok(hashes.to_vec()),
        _ => Err(Error::answer("a part is not of 32-byte hashes")),
    }
}

/// Returns the numbers below `end` that are missing, as ranges: first and last.
pub(crate) fn gaps(seen: &BTreeSet<u64>, end: u64) -> Vec<(u64, u64)> {
    let (mut gaps, mut due) = (Vec::new(), 0);
    for number in seen.iter().copied().chain([end]) {
        if number > due {
            gaps.push((due, number - 1));
        }
        due = number.saturating_add(1);
    }
    gaps
}
