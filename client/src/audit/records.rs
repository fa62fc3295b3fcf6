//! Every record of a ledger, as bytes and as what it says. SPEC section 9.
//!
//! Owns: reading the whole ledger from a broker, and under its signed head. Does not own: what
//! happened (`history`), how a copy or a bundle lies on disk (`mirror`, `bundle`).
//!
//! Invariants: nothing counts that is not under a head that a trusted key signed; what was forgotten
//! is known by its hash alone, and is said to be missing.

use std::collections::{BTreeMap, BTreeSet};

use sublet_ledger::Hash;
use sublet_ledger::checkpoint::Checkpoint;
use sublet_ledger::tile::Tree;
use sublet_ledger::tree::Checked;
use sublet_proto::v1::records_part::Part;
use sublet_proto::v1::{GetCheckpointRequest, RecordsPruned, ReplayEntry};

use crate::audit::entry::Entry;
use crate::audit::published::head_keys;
use crate::audit::replay::ENTRIES_MAX;
use crate::broker::connect::{Broker, DEADLINE_DEFAULT};
use crate::broker::credential::Credential;
use crate::error::Error;
use crate::trust::Trust;

/// Every record of a ledger, under its head.
#[derive(Debug)]
pub struct Records {
    /// The head, whose key the bundle trusts.
    pub head: Checkpoint,
    /// From the first to the last; without those that were forgotten.
    pub entries: Vec<Entry>,
    /// The leaf hashes of all.
    hashes: Vec<Hash>,
}

impl Records {
    /// The records that were forgotten, as ranges: from, to.
    pub fn pruned(&self) -> Vec<(u64, u64)> {
        let there: BTreeSet<u64> = self.entries.iter().map(|entry| entry.index).collect();
        gaps(&there, self.head.size)
    }

    /// Question 10: whether these begin with the records of another head, one that was kept
    /// elsewhere. Two heads of one ledger that contradict each other show that it was rewritten.
    pub fn begin_with(&self, kept: &Checkpoint) -> Checked {
        self.each_begins_with(std::slice::from_ref(kept)).pop().unwrap_or(Checked::NotShown)
    }

    /// The same of many heads, with one walk through the records.
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

/// A record as it is stored, and what lies beside it; empty when nothing does, or it was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawRecord {
    /// It is there.
    Kept {
        /// The leaf, verbatim.
        leaf: Vec<u8>,
        /// The payload, verbatim.
        payload: Vec<u8>,
    },
    /// It was forgotten; the hash of its leaf.
    Pruned(Hash),
}

impl RawRecord {
    /// The leaf; `None` when it was forgotten.
    pub fn leaf(&self) -> Option<&[u8]> {
        match self {
            RawRecord::Kept { leaf, .. } => Some(leaf),
            RawRecord::Pruned(_) => None,
        }
    }

    /// What lies beside it; empty when nothing does, it was erased or forgotten.
    pub fn payload(&self) -> &[u8] {
        match self {
            RawRecord::Kept { payload, .. } => payload,
            RawRecord::Pruned(_) => &[],
        }
    }
}

/// A whole ledger as bytes: its signed head, and every record.
#[derive(Debug)]
pub struct RawLedger {
    /// The signed head.
    pub note: Vec<u8>,
    /// The last head that witnesses cosigned, with their cosignatures; empty when there is none.
    pub witnessed: Vec<u8>,
    /// From the first to the last.
    pub records: Vec<RawRecord>,
}

impl RawLedger {
    /// Reads every record, and holds all of them against the head, which a key of this bundle must
    /// have signed.
    pub fn understand(&self, trust: &Trust) -> Result<Records, Error> {
        let invalid = |detail: String| Error::local("ledger_invalid", detail);
        let head = Checkpoint::open(&self.note, &head_keys(&trust.current()));
        let head = head.map_err(|bad| invalid(format!("the ledger's head: {bad}")))?;
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
            let detail = "the records have another root than the head that was signed over them";
            return Err(invalid(detail.to_owned()));
        }
        Ok(Records { head, entries, hashes })
    }
}

/// Reads the whole ledger from a broker, by the admin, and holds it against its signed head. It is
/// an export, and is recorded as one.
pub async fn read(broker: &Broker, who: &Credential, trust: &Trust) -> Result<Records, Error> {
    read_raw(broker, who).await?.understand(trust)
}

/// The same as bytes, of which nothing is believed yet.
pub async fn read_raw(broker: &Broker, who: &Credential) -> Result<RawLedger, Error> {
    // What is witnessed now is of the records that are read behind it.
    let witnessed = broker.checkpoint(who, GetCheckpointRequest {}).await?.witnessed;
    let mut stream = broker.tail_stream(who, 0, true).await?;
    let (mut note, mut records) = (None, Vec::new());
    loop {
        let next = tokio::time::timeout(DEADLINE_DEFAULT, stream.message()).await;
        let next = next.map_err(|_| Error::deadline("the ledger", DEADLINE_DEFAULT))?;
        match next.map_err(|status| Error::from_status(&status))?.and_then(|part| part.part) {
            Some(Part::Head(part)) if note.is_none() => note = Some(part.checkpoint),
            Some(Part::Head(_)) => return Err(Error::answer("a second head")),
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
    let note = note.ok_or_else(|| Error::answer("the ledger has no head"))?;
    Ok(RawLedger { note, witnessed, records })
}

/// The next part begins where the last one ended.
fn due(first: u64, records: &[RawRecord]) -> Result<(), Error> {
    if first == records.len() as u64 {
        return Ok(());
    }
    Err(Error::answer("records are missing in between"))
}

/// The hashes of records that were forgotten.
pub(crate) fn leaf_hashes(part: &RecordsPruned) -> Result<Vec<Hash>, Error> {
    match part.hashes.as_chunks::<32>() {
        (hashes, []) if !hashes.is_empty() => Ok(hashes.to_vec()),
        _ => Err(Error::answer("a part is not of 32-byte hashes")),
    }
}

/// The numbers below `end` that are missing, as ranges: from, to (the last one missing).
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
