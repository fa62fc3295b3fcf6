//! A snapshot of a feed as text, for files. Reading it verifies nothing.

use super::BadFeed;
use crate::base::text::{base64url, from_base64url};

const DELTA_LINE: &str = "sublet1d.";
const HEAD_LINE: &str = "sublet1h.";

/// Returns the text of a snapshot: one line for each delta, and one for the head.
pub fn snapshot_text<'a>(deltas: impl IntoIterator<Item = &'a [u8]>, head: &[u8]) -> String {
    let mut text = String::new();
    for delta in deltas {
        text.push_str(&format!("{DELTA_LINE}{}\n", base64url(delta)));
    }
    text + &format!("{HEAD_LINE}{}\n", base64url(head))
}

/// One line of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotLine {
    /// The bytes of a delta.
    Delta(Vec<u8>),
    /// The bytes of a head.
    Head(Vec<u8>),
}

/// Parses the text of [`snapshot_text`].
pub fn read_snapshot(text: &str) -> Result<Vec<SnapshotLine>, BadFeed> {
    let line = |(at, line): (usize, &str)| {
        let delta = line.strip_prefix(DELTA_LINE).and_then(from_base64url).map(SnapshotLine::Delta);
        let head = || line.strip_prefix(HEAD_LINE).and_then(from_base64url).map(SnapshotLine::Head);
        delta.or_else(head).ok_or(BadFeed::Text { line: at + 1 })
    };
    text.lines().enumerate().map(line).collect()
}
