//! How far the store of a data directory has come: a mark beside it, by which an older copy of the store
//! is noticed that was put in its place. SPEC 9.6.1.
//!
//! Owns: the mark, when it is written, what is refused by it, and the epoch of the revocation feed, which
//! it holds. Does not own: what is checked of the store itself (`ledger`, `inception`).
//!
//! Invariants: the mark is never ahead of what is durable; it is on the disk before a revocation is answered,
//! and a second behind everything else at most; a feed goes on in the epoch of the mark, and without a mark
//! in a new one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use sublet_core::base::text::{base64url, from_base64url};
use sublet_core::refusal::Fault;
use sublet_ledger::Hash;
use tokio::sync::Mutex;

use super::inception;
use super::open::{FIRST_EPOCH, Store};
use sublet_host::files;

/// Lies beside the store and not in it, so that a copy of the store does not bring it along.
const MARK: &str = "store.reached";

/// The first line of the mark.
const FORM: &str = "sublet-reached/1";

/// How often the mark is written anew where records came in: one small file and two syncs a second.
pub(crate) const KEPT_EVERY: Duration = Duration::from_secs(1);

/// How far a store has come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Position {
    /// Records of the ledger, and the root over them.
    records: u64,
    root: Hash,
    /// The epoch of the revocation feed, and the number of its last revocation.
    epoch: u64,
    revocations: u64,
}

impl Position {
    fn of(store: &Store) -> Result<Self, Fault> {
        // The feed first: a revocation and its record are durable together, so it is never ahead.
        let (epoch, revocations) = {
            let feed = store.feed()?;
            (feed.epoch(), feed.sequence())
        };
        let published = store.published()?;
        let (records, root) = (published.tree.size(), published.root);
        Ok(Position { records, root, epoch, revocations })
    }

    fn text(&self) -> String {
        let Position { records, root, epoch, revocations } = self;
        let root = base64url(root);
        format!(
            "{FORM}\nrecords {records}\nroot {root}\nepoch {epoch}\nrevocations {revocations}\n"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != FORM {
            return None;
        }
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let position = Position {
            records: value("records")?.parse().ok()?,
            root: from_base64url(value("root")?)?.try_into().ok()?,
            epoch: value("epoch")?.parse().ok()?,
            revocations: value("revocations")?.parse().ok()?,
        };
        // One spelling, and nothing behind it.
        (position.text() == text).then_some(position)
    }
}

/// What a data directory says of its store before the store is opened.
pub(super) struct Marked {
    mark: PathBuf,
    position: Option<Position>,
    /// The epoch that the revocation feed goes on in.
    pub(super) epoch: u64,
}

impl Marked {
    /// Reads the mark. Where a ledger was begun and there is no mark, the operator has removed it, to go on
    /// from whatever store there is: then the feed begins a new epoch, which takes nothing away that tools
    /// have heard. Its number is the time in seconds, so that it is above those of before.
    pub(super) fn read(data: &Path, now: UnixMillis) -> Result<Self, Fault> {
        let mark = data.join(MARK);
        let position = match std::fs::read_to_string(&mark) {
            Ok(text) => Some(Position::parse(&text).ok_or_else(|| {
                Fault::Internal(format!(
                    "{} does not say how far the store has come: put it back as it was, or remove it to go \
                     on from the store that is here (docs/FORMATS, \"Data directory of a broker\")",
                    mark.display()
                ))
            })?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Fault::Store(format!("{}: {error}", mark.display()))),
        };
        let epoch = match &position {
            Some(position) => position.epoch,
            None if inception::is_begun(data) => {
                let epoch = u64::try_from(now.seconds()).unwrap_or(0).max(FIRST_EPOCH + 1);
                tracing::warn!(
                    epoch,
                    "nothing says how far the store has come ({}): the revocation feed begins a new epoch",
                    mark.display()
                );
                epoch
            }
            None => FIRST_EPOCH,
        };
        Ok(Marked { mark, position, epoch })
    }

    /// Refuses a store that has not come as far as the mark says, or that came there another way.
    pub(super) fn check(&self, store: &Store) -> Result<(), Fault> {
        let Some(reached) = &self.position else { return Ok(()) };
        let here = Position::of(store)?;
        let mark = self.mark.display();
        let remedy = format!(
            "put the newest store back. If it is lost, remove {mark} to go on from this one: what was revoked \
             in what is lost holds again at the broker and must be revoked anew, and the revocation feed \
             begins a new epoch, so that tools keep what they have heard"
        );
        if here.records < reached.records || here.revocations < reached.revocations {
            return Err(Fault::Internal(format!(
                "the store is older than it was: it holds {} records and {} revocations, and {mark} says that \
                 it held {} and {}. It is an old copy; {remedy}",
                here.records, here.revocations, reached.records, reached.revocations
            )));
        }
        let published = store.published()?;
        if published.root_at(reached.records, store.reader().as_ref()) != Some(reached.root) {
            return Err(Fault::Internal(format!(
                "the store is another one than was here: its first {} records are not those that {mark} is \
                 over; {remedy}",
                reached.records
            )));
        }
        Ok(())
    }
}

/// Keeps the mark of a data directory.
pub(crate) struct Reached {
    mark: PathBuf,
    /// What the mark says; `None` before it is written for the first time.
    written: Mutex<Option<Position>>,
}

impl Reached {
    /// The mark of this data directory.
    pub(crate) fn of(data: &Path) -> Self {
        Reached { mark: data.join(MARK), written: Mutex::new(None) }
    }

    /// Sees to it that the mark says how far the store has come by now. Whoever waits for another one that
    /// writes it finds it written: so revocations at once cost one or two writes.
    pub(crate) async fn keep(&self, store: &Store) -> Result<(), Fault> {
        let mut written = self.written.lock().await;
        let position = Position::of(store)?;
        if written.as_ref() == Some(&position) {
            return Ok(());
        }
        let (mark, text) = (self.mark.clone(), position.text());
        let kept = tokio::task::spawn_blocking(move || {
            let kept = files::replace(&mark, 0o644, text.as_bytes());
            kept.map_err(|error| Fault::Store(format!("{}: {error}", mark.display())))
        });
        kept.await.map_err(|error| Fault::Internal(format!("the mark: {error}")))??;
        *written = Some(position);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_in_no_other_spelling() {
        let position = Position { records: 7, root: [9; 32], epoch: 1, revocations: 3 };
        let text = position.text();
        assert_eq!(Position::parse(&text), Some(position));
        for other in [
            String::new(),
            text.trim_end().to_owned(),
            format!("{text}\n"),
            text.replace("records 7", "records 07"),
            text.replace("records 7", "records +7"),
            text.replace("epoch", "Epoch"),
            text.replace("/1", "/2"),
        ] {
            assert_eq!(Position::parse(&other), None, "{other:?}");
        }
    }

    #[test]
    fn without_a_mark_a_feed_that_was_begun_goes_on_in_a_new_epoch() {
        let data = tempfile::tempdir().unwrap();
        let epoch = |now| Marked::read(data.path(), UnixMillis(now)).map(|marked| marked.epoch);
        assert_eq!(epoch(5_000), Ok(FIRST_EPOCH), "nothing was begun");
        inception::mark(data.path(), "acme.example/sublet").unwrap();
        assert_eq!(epoch(1_800_000_000_000), Ok(1_800_000_000));
        assert_eq!(epoch(-1), Ok(FIRST_EPOCH + 1));
        let mark = data.path().join(MARK);
        let position = Position { records: 7, root: [9; 32], epoch: 4, revocations: 3 };
        std::fs::write(&mark, position.text()).unwrap();
        assert_eq!(epoch(1_800_000_000_000), Ok(4));
        std::fs::write(&mark, "records").unwrap();
        let refused = epoch(0).unwrap_err().to_string();
        assert!(
            refused.contains("does not say how far") && refused.contains("remove it"),
            "{refused}"
        );
    }
}
