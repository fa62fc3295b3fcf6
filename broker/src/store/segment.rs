//! Segments of the embedded store. A segment holds some dozens of ledger entries under the key of the
//! first one, because a store pays more for keys than for bytes.
//!
//! Owns: the layout of a segment. Does not own: where segments are stored (`sled`).
//!
//! Invariants: a segment is written and read whole. Its entries have indices without a gap.

use sublet_core::refusal::Fault;

use super::entry::Entry;

/// The most entries in one segment.
const ENTRIES_MAX: usize = 64;

/// The size in bytes at which a segment is closed. A page of sled holds about twenty segments and is
/// rewritten whole.
const BYTES_CLOSED: usize = 32 * 1024;

/// Cuts entries, which are in order, into segments. Returns each with the index of its first entry.
pub(super) fn segments(entries: &[Entry]) -> Vec<(u64, Vec<u8>)> {
    let mut segments: Vec<(u64, Vec<u8>)> = Vec::new();
    let (mut open, mut due) = (0, None);
    for entry in entries {
        let full = due != Some(entry.index)
            || open >= ENTRIES_MAX
            || segments.last().is_none_or(|(_, bytes)| bytes.len() >= BYTES_CLOSED);
        due = entry.index.checked_add(1);
        if full {
            segments.push((entry.index, Vec::new()));
            open = 0;
        }
        if let Some((_, bytes)) = segments.last_mut() {
            put(bytes, entry);
            open += 1;
        }
    }
    segments
}

/// Appends an entry: the leaf's length (u16), the leaf, the payload's length (u32), the payload. The
/// length 0 means that there is no payload; no payload is empty.
fn put(bytes: &mut Vec<u8>, entry: &Entry) {
    let payload = entry.payload.as_deref().unwrap_or_default();
    // A leaf is at most 4 KiB, and a payload is no larger than a request.
    bytes.extend(u16::try_from(entry.leaf.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(&entry.leaf);
    bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(payload);
}

/// Returns the entries of a segment whose first entry has this index. A fault if the bytes are cut.
pub(super) fn entries(first: u64, bytes: &[u8]) -> Result<Vec<Entry>, Fault> {
    let (mut entries, mut rest, mut index) = (Vec::new(), bytes, first);
    while !rest.is_empty() {
        let entry = take(index, &mut rest);
        entries.push(entry.ok_or_else(|| {
            Fault::Internal(format!("the ledger is not as it was left: record {index} is torn"))
        })?);
        index = index.saturating_add(1);
    }
    Ok(entries)
}

fn take(index: u64, rest: &mut &[u8]) -> Option<Entry> {
    let (length, behind) = rest.split_first_chunk::<2>()?;
    let (leaf, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
    let (length, behind) = behind.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (payload, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    let payload = (!payload.is_empty()).then(|| payload.to_vec());
    Some(Entry { index, leaf: leaf.to_vec(), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(count: u64, bytes: usize) -> Vec<Entry> {
        let entry = |index: u64| Entry {
            index,
            leaf: vec![7; bytes],
            payload: index.is_multiple_of(3).then(|| vec![8; bytes]),
        };
        (5..5 + count).map(entry).collect()
    }

    #[test]
    fn what_is_cut_is_put_together_again() {
        for (count, bytes) in [(0, 1), (1, 0), (64, 10), (65, 10), (300, 300), (20, 4096)] {
            let all = many(count, bytes);
            let mut read = Vec::new();
            for (first, bytes) in segments(&all) {
                assert!(bytes.len() < 2 * BYTES_CLOSED);
                assert_eq!(first, 5 + read.len() as u64);
                read.extend(entries(first, &bytes).unwrap());
            }
            assert_eq!(read.len(), all.len());
            assert!(bytes == 0 || read == all);
        }
    }

    #[test]
    fn a_torn_segment_is_refused() {
        let (first, bytes) = segments(&many(3, 9)).remove(0);
        for cut in 1..bytes.len() {
            let read = entries(first, &bytes[..cut]);
            // A cut between two entries is not noticed here; the ledger's size shows it.
            assert!(read.is_err() || read.unwrap().len() < 3);
        }
    }
}
