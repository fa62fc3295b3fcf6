//! The mark beside the store that says how far the store has come. With it the broker notices an older
//! copy of the store. SPEC 9.6.1.
//!
//! Owns: the mark, when it is written, what is refused because of it, and the epoch of the revocation
//! feed, which the mark holds. Does not own: the check of the store itself (`ledger`, `inception`).
//!
//! Invariants: the mark is never ahead of what is durable. It is on the disk before a revocation is
//! answered; after other records it follows within a second. The feed continues in the epoch of the
//! mark, and without a mark in a new epoch.

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

/// The name of the mark. The file is beside the store, so that a copy of the store does not include it.
const MARK: &str = "store.reached";

/// The first line of the mark.
const FORM: &str = "sublet-reached/1";

/// How often the mark is written while records are added: one small file and two syncs a second.
pub(crate) const KEPT_EVERY: Duration = Duration::from_secs(1);

/// How far a store has come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Position {
    /// The number of the ledger's records, and the root hash over them.
    records: u64,
    root: Hash,
    /// The epoch of the revocation feed, and its last sequence number.
    epoch: u64,
    revocations: u64,
}

impl Position {
    fn of(store: &Store) -> Result<Self, Fault> {
        // The feed is read first. A revocation and its record become durable together, so the feed is
        // never ahead.
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
        // Only one spelling is accepted, and nothing may follow it.
        (position.text() == text).then_some(position)
    }
}

/// What the mark says before the store is opened.
pub(super) struct Marked {
    mark: PathBuf,
    position: Option<Position>,
    /// The epoch in which the revocation feed continues.
    pub(super) epoch: u64,
}

impl Marked {
    /// Reads the mark. If a ledger was begun and the mark is missing, the operator removed it to
    /// continue from the store that is there. The feed then begins a new epoch, in which tools keep the
    /// revocations that they have. The new epoch is the time in seconds, so that it is larger than every
    /// earlier one.
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

    /// Refuses a store that is behind the mark, or whose records differ from those that the mark was
    /// written for.
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

/// Keeps the mark of a data directory up to date.
pub(crate) struct Reached {
    mark: PathBuf,
    /// What the mark says; `None` until it is first written.
    written: Mutex<Option<Position>>,
}

impl Reached {
    /// The mark of this data directory.
    pub(crate) fn of(data: &Path) -> Self {
        Reached { mark: data.join(MARK), written: Mutex::new(None) }
    }

    /// Writes how far the store has come, unless the mark says so already. Callers wait for each other,
    /// so many revocations at once cost one or two writes.
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
