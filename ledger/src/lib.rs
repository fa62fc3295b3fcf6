//! What was recorded: the ledger as a pure, hash-linked sequence of leaves.
//!
//! Owns: how a leaf is hashed, how leaves are linked, the bound on a leaf, and the check that a
//! sequence is the one that a link speaks of. Does not own: what a leaf says (the wire's
//! record.proto), where leaves lie (the stores), who signs a head (the broker).
//!
//! For now the sequence stands where the Merkle log of RFC 6962 will stand. Leaf hashes are the
//! same in both, so what cites a leaf by its hash stays valid. A link covers everything before it,
//! but proves a single leaf only together with all that follow it; the tree will do better.
//!
//! Invariants:
//! - `leaf_hash = SHA-256(0x00 || leaf)`; `link(n) = SHA-256(0x01 || link(n-1) || leaf_hash(n))`;
//!   the link of the empty log is 32 zero bytes. The prefixes keep a leaf from posing as a link.
//! - Bytes are authoritative: a leaf is hashed as it is, and nothing in it is understood here.
//! - `head` is the link of leaf `size - 1`; an append that fails changes neither.
//!
//! Two logs of one size and one head hold the same leaves (or someone broke SHA-256). A log that
//! was cut short is consistent in itself: only a head kept elsewhere shows what is missing.

pub mod tree;

use sha2::{Digest as _, Sha256};

/// The most bytes in a leaf: 4 KiB. The largest record is a refusal: 2 KiB of what was asked and
/// 1 KiB for the reason leave 1 KiB for the names, ids and tags around them. A page of 64 leaves is
/// then at most 256 KiB. What is longer is not appended: the writer cuts it or puts it beside.
pub const LEAF_BYTES_MAX: usize = 4 * 1024;

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// The link of the empty log.
pub const EMPTY: Hash = [0; 32];

const LEAF_PREFIX: [u8; 1] = [0x00];
const LINK_PREFIX: [u8; 1] = [0x01];

/// A log, as far as its next append needs it: how long it is, and the link of its last leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How many leaves there are; also the index of the next one.
    pub size: u64,
    /// The link of the last leaf; [`EMPTY`] if there is none.
    pub head: Hash,
}

impl Log {
    /// The log without a leaf.
    pub fn empty() -> Self {
        Log { size: 0, head: EMPTY }
    }

    /// A log that goes on where it stood. The caller vouches for the pair.
    pub fn resume(size: u64, head: Hash) -> Self {
        Log { size, head }
    }

    /// Appends a leaf. On an error the log stays as it was.
    pub fn append(&mut self, leaf: &[u8]) -> Result<Appended, TooLarge> {
        let leaf_hash = leaf_hash(leaf)?;
        let appended = Appended { index: self.size, leaf_hash, link: link(&self.head, &leaf_hash) };
        // 2^64 leaves at a million a second are 584,000 years.
        self.size = self.size.saturating_add(1);
        self.head = appended.link;
        Ok(appended)
    }
}

/// Where a leaf went, and what it did to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The leaf's index.
    pub index: u64,
    /// The leaf's hash.
    pub leaf_hash: Hash,
    /// The link of the leaf: the log's head from here on.
    pub link: Hash,
}

/// A leaf has more than [`LEAF_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a leaf of {bytes} bytes is over the bound of {LEAF_BYTES_MAX}")]
pub struct TooLarge {
    /// How many it has.
    pub bytes: usize,
}

/// A sequence is not what its links say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger is broken at index {index}: its leaf does not belong to its link")]
pub struct Broken {
    /// The first index at which leaf and link do not belong together.
    pub index: u64,
}

/// SHA-256 over the leaf prefix and the leaf.
pub fn leaf_hash(leaf: &[u8]) -> Result<Hash, TooLarge> {
    if leaf.len() > LEAF_BYTES_MAX {
        return Err(TooLarge { bytes: leaf.len() });
    }
    Ok(Sha256::new().chain_update(LEAF_PREFIX).chain_update(leaf).finalize().into())
}

/// The link of a leaf with this hash, behind that link.
pub fn link(previous: &Hash, leaf_hash: &Hash) -> Hash {
    Sha256::new()
        .chain_update(LINK_PREFIX)
        .chain_update(previous)
        .chain_update(leaf_hash)
        .finalize()
        .into()
}

/// Walks leaves with the links that were stored for them, from a trusted point on, and answers with
/// the log that they make. The end is the caller's to compare with a head that it trusts: leaves
/// cut off the end leave nothing behind that could be noticed here.
pub fn verify_sequence<L: AsRef<[u8]>>(
    from: Log,
    leaves: impl IntoIterator<Item = (L, Hash)>,
) -> Result<Log, Broken> {
    let mut log = from;
    for (leaf, stored) in leaves {
        let index = log.size;
        match log.append(leaf.as_ref()) {
            Ok(appended) if appended.link == stored => {}
            Ok(_) | Err(TooLarge { .. }) => return Err(Broken { index }),
        }
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entry = (Vec<u8>, Hash);

    fn entries(count: u8) -> (Vec<Entry>, Log) {
        let mut log = Log::empty();
        let entries = (0..count).map(|n| {
            let leaf = vec![n; usize::from(n) + 1];
            let link = log.append(&leaf).unwrap().link;
            (leaf, link)
        });
        let entries = entries.collect();
        (entries, log)
    }

    fn hex(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_empty_log_is_zero() {
        assert_eq!(Log::empty(), Log { size: 0, head: [0; 32] });
    }

    #[test]
    fn hashes_are_those_of_the_definition() {
        // RFC 6962: the hash of the empty leaf is SHA-256(00).
        let appended = Log::empty().append(b"").unwrap();
        assert_eq!(
            hex(&appended.leaf_hash),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        let by_hand = [&[1u8][..], &[0; 32], &appended.leaf_hash].concat();
        assert_eq!(appended.link, Hash::from(Sha256::digest(by_hand)));
    }

    #[test]
    fn indices_have_no_gap_and_the_head_follows() {
        let mut log = Log::empty();
        for expected in 0..5 {
            let appended = log.append(b"leaf").unwrap();
            assert_eq!(appended.index, expected);
            assert_eq!((log.size, log.head), (expected + 1, appended.link));
        }
    }

    #[test]
    fn a_resumed_log_goes_on_as_if_it_had_not_stopped() {
        let (_, mut whole) = entries(7);
        let mut resumed = Log::resume(whole.size, whole.head);
        assert_eq!(resumed.append(b"next"), whole.append(b"next"));
        assert_eq!(resumed, whole);
    }

    #[test]
    fn a_leaf_at_the_bound_fits_and_one_over_it_changes_nothing() {
        let mut log = Log::empty();
        assert!(log.append(&[7; LEAF_BYTES_MAX]).is_ok());
        let before = log;
        assert_eq!(
            log.append(&[7; LEAF_BYTES_MAX + 1]),
            Err(TooLarge { bytes: LEAF_BYTES_MAX + 1 })
        );
        assert_eq!(log, before);
    }

    #[test]
    fn an_untouched_sequence_verifies_from_every_point() {
        let (entries, end) = entries(20);
        for at in 0..=entries.len() {
            let head = at.checked_sub(1).map_or(EMPTY, |last| entries[last].1);
            let from = Log::resume(at as u64, head);
            assert_eq!(verify_sequence(from, entries[at..].iter().cloned()), Ok(end));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_leaf_or_a_link_is_found_where_it_is() {
        let (entries, _) = entries(6);
        for at in 0..entries.len() {
            for bit in 0..(entries[at].0.len() + 32) * 8 {
                let mut changed = entries.clone();
                let (leaf, link) = &mut changed[at];
                match leaf.get_mut(bit / 8) {
                    Some(byte) => *byte ^= 1 << (bit % 8),
                    None => link[bit / 8 - leaf.len()] ^= 1 << (bit % 8),
                }
                assert_eq!(
                    verify_sequence(Log::empty(), changed),
                    Err(Broken { index: at as u64 })
                );
            }
        }
    }

    #[test]
    fn a_dropped_leaf_is_found_where_it_was() {
        let (entries, _) = entries(8);
        for at in 0..entries.len() - 1 {
            let mut changed = entries.clone();
            changed.remove(at);
            assert_eq!(verify_sequence(Log::empty(), changed), Err(Broken { index: at as u64 }));
        }
    }

    #[test]
    fn swapped_leaves_are_found_with_and_without_their_links() {
        let (entries, _) = entries(8);
        for at in 0..entries.len() - 1 {
            let broken = Err(Broken { index: at as u64 });
            let mut changed = entries.clone();
            changed.swap(at, at + 1);
            assert_eq!(verify_sequence(Log::empty(), changed.clone()), broken);
            let stay = changed[at].1;
            changed[at].1 = changed[at + 1].1;
            changed[at + 1].1 = stay;
            assert_eq!(verify_sequence(Log::empty(), changed), broken);
        }
    }

    #[test]
    fn a_repeated_or_inserted_leaf_is_found() {
        let (entries, _) = entries(5);
        for at in 0..entries.len() {
            let mut changed = entries.clone();
            changed.insert(at, entries[at].clone());
            assert_eq!(
                verify_sequence(Log::empty(), changed),
                Err(Broken { index: at as u64 + 1 })
            );
        }
    }

    #[test]
    fn a_truncated_log_differs_from_the_head_that_was_kept() {
        let (entries, kept) = entries(8);
        for size in 0..entries.len() {
            let cut = verify_sequence(Log::empty(), entries[..size].iter().cloned()).unwrap();
            assert_eq!(cut.size, size as u64);
            assert_ne!(cut, kept);
        }
    }

    #[test]
    fn a_history_written_anew_has_another_head() {
        let (mut entries, kept) = entries(8);
        entries[3].0 = b"never happened".to_vec();
        let mut forged = Log::empty();
        for (leaf, link) in &mut entries {
            *link = forged.append(leaf).unwrap().link;
        }
        let verified = verify_sequence(Log::empty(), entries).unwrap();
        assert_eq!(verified.size, kept.size);
        assert_ne!(verified.head, kept.head);
    }

    #[test]
    fn a_leaf_that_holds_a_link_is_not_that_link() {
        let (entries, log) = entries(3);
        let inside = [&[1u8][..], &entries[1].1, &leaf_hash(&entries[2].0).unwrap()].concat();
        assert_ne!(leaf_hash(&inside).unwrap(), log.head);
        assert_ne!(leaf_hash(&inside[1..]).unwrap(), log.head);
    }

    #[test]
    fn an_oversized_leaf_breaks_a_sequence() {
        let large = (vec![0; LEAF_BYTES_MAX + 1], EMPTY);
        assert_eq!(verify_sequence(Log::empty(), [large]), Err(Broken { index: 0 }));
    }
}
