//! Evidence of use: a tool's decisions, kept on its disk until the broker has recorded them.
//! docs/DESIGN, "Evidence of use".
//!
//! Owns: the spool (a file), the counter, sending. Does not own: what a report contains
//! (`checker`), which reports the broker records (`sublet_core::decide::ReportUses`).
//!
//! Invariants: a report is in the file before its call is answered; it leaves the file after the
//! broker has acknowledged it; the counter has no gap, except where reports may be lost; one
//! process at a time has a spool; when the file is full, a call that would leave no evidence is
//! refused.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message as _;
use sublet_core::decide::USES_MAX;
use sublet_core::refusal::{Fault, Overload, Refusal};
use sublet_core::revocation::feed::FeedPosition;
use sublet_proto::v1::{ReportUsesRequest, ReportVerifierStateRequest, UseReport};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::broker::connect::Broker;
use crate::broker::credential::Caller;
use crate::broker::repeats::back_off;
use crate::error::Error;
use crate::files;
use crate::tool::follow::SharedView;

/// The default limit of a spool, in bytes: about 20,000 uses.
pub const SPOOL_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// The largest report, in bytes: a token of 64 KiB, arguments of 16 KiB, and the other fields.
const REPORT_BYTES_MAX: usize = 128 * 1024;

/// The size of one request, in bytes, below the broker's limit of 1 MiB.
const REQUEST_BYTES_MAX: usize = 768 * 1024;

/// How long the sender rests when there is nothing to send, and how often it reports the position
/// of the revocation view.
const REST: Duration = Duration::from_secs(1);

/// The wait after the first failure, in milliseconds. It doubles up to 6.4 s.
const BACK_OFF_MS: u64 = 100;

/// How many acknowledged bytes cause the file to be rewritten without them.
const COMPACT_BYTES: u64 = 1024 * 1024;

/// How far the counter jumps after an unclean end, if the machine was restarted since. Reports that
/// were not on disk are lost, and the gap shows it.
const UNKNOWN_LOSS: u64 = 1 << 20;

const SPOOL: &str = "uses.spool";
const MARK: &str = "uses.open";
const LOCK: &str = "uses.lock";

/// Exists once the broker has said which counter it expects.
const INTRODUCED: &str = "uses.introduced";

/// Stores a tool's decisions and sends them to the broker.
#[derive(Debug)]
pub struct Reporter {
    spool: Mutex<Spool>,
    news: Notify,
    /// How many reports the broker has not acknowledged.
    waiting: watch::Sender<u64>,
    /// The largest checkpoint of the ledger that was shown: its number of records, and its bytes.
    head: Mutex<(u64, Vec<u8>)>,
}

/// The last report to the broker: the position of the revocation view, and the size of the largest
/// checkpoint.
type Told = (FeedPosition, u64);

impl Reporter {
    /// Opens the spool in this directory, which must be the tool's own, and continues where it
    /// ended. `bytes_max` limits the file's size.
    pub fn open(directory: &Path, bytes_max: u64) -> Result<Arc<Self>, Error> {
        let spool = Spool::open(directory, bytes_max)?;
        let (waiting, _) = watch::channel(spool.waiting);
        let (spool, head) = (Mutex::new(spool), Mutex::default());
        Ok(Arc::new(Reporter { spool, news: Notify::new(), waiting, head }))
    }

    /// Stores a report. Its counter is set here.
    pub(crate) fn keep(&self, report: UseReport) -> Result<(), Refusal> {
        let mut spool = self.lock();
        spool.append(report)?;
        self.waiting.send_replace(spool.waiting);
        drop(spool);
        self.news.notify_one();
        Ok(())
    }

    /// Notes a checkpoint that a ledger key signed. The largest one is reported, so a broker that
    /// shows different histories to different tools leaves a signed proof of it.
    pub(crate) fn saw(&self, size: u64, note: Vec<u8>) {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        if size > head.0 {
            *head = (size, note);
        }
    }

    /// Returns how many reports wait for the broker.
    pub fn waiting(&self) -> u64 {
        *self.waiting.borrow()
    }

    /// Waits for at most `at_most` until the broker has all reports, and returns whether it has.
    /// The rest stays in the spool.
    pub async fn flushed(&self, at_most: Duration) -> bool {
        let mut waiting = self.waiting.subscribe();
        let empty = waiting.wait_for(|count| *count == 0);
        tokio::time::timeout(at_most, empty).await.is_ok_and(|done| done.is_ok())
    }

    /// Starts to send the reports as this agent, and to report how far `view` has applied
    /// revocations. Must be called inside a Tokio runtime.
    pub fn start(
        self: &Arc<Self>,
        broker: Broker,
        who: Arc<dyn Caller>,
        view: SharedView,
    ) -> Sender {
        let reporter = self.clone();
        Sender(tokio::spawn(async move { reporter.send_all(&broker, who.as_ref(), &view).await }))
    }

    async fn send_all(&self, broker: &Broker, who: &dyn Caller, view: &SharedView) {
        let (mut failures, mut told) = (0u32, None);
        loop {
            match self.round(broker, who, view, &mut told).await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    failures = 0;
                    let _ = tokio::time::timeout(REST, self.news.notified()).await;
                }
                Err(failure) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(
                        code = %failure.code(), waiting = self.waiting(),
                        "evidence of use waits: {failure}"
                    );
                    tokio::time::sleep(back_off(broker.ports(), failures, BACK_OFF_MS)).await;
                }
            }
        }
    }

    /// Sends one batch. Returns whether there may be more.
    async fn round(
        &self,
        broker: &Broker,
        who: &dyn Caller,
        view: &SharedView,
        told: &mut Option<Told>,
    ) -> Result<bool, Error> {
        let position = view.position();
        let (size, checkpoint) = self.head.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let news = (position, size);
        if *told != Some(news) {
            let FeedPosition { epoch, sequence } = position;
            let request = ReportVerifierStateRequest { epoch, sequence, checkpoint };
            let answer = broker.report_verifier_state(&who.credential()?, request).await?;
            self.lock().introduce(answer.next_counter)?;
            *told = Some(news);
        }
        let uses = self.lock().batch()?;
        if uses.is_empty() {
            return Ok(false);
        }
        let answer = broker.report_uses(&who.credential()?, ReportUsesRequest { uses }).await?;
        let mut spool = self.lock();
        spool.acknowledged(answer.next_counter)?;
        self.waiting.send_replace(spool.waiting);
        Ok(true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Spool> {
        // Each change writes the file first and then the numbers. A thread that died between them
        // left a report that is sent twice and recorded once.
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends until it is dropped.
#[derive(Debug)]
pub struct Sender(JoinHandle<()>);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The file: the least counter of the next report as 8 bytes, then the reports, each after its
/// length as 4 bytes, big-endian.
#[derive(Debug)]
struct Spool {
    directory: PathBuf,
    file: File,
    /// The lock of the spool. Two processes would give one counter twice.
    _alone: File,
    bytes_max: u64,
    /// The length of the file in bytes.
    length: u64,
    /// Where the first report begins that is not acknowledged.
    first: u64,
    /// How many reports follow from there.
    waiting: u64,
    /// The counter of the next report.
    next: u64,
}

const HEAD_BYTES: u64 = 8;

impl Spool {
    fn open(directory: &Path, bytes_max: u64) -> Result<Self, Error> {
        std::fs::create_dir_all(directory)
            .map_err(|error| Error::io("create", directory, &error))?;
        let alone = alone(directory)?;
        let path = directory.join(SPOOL);
        if !path.exists() {
            files::replace(&path, &0u64.to_be_bytes())?;
        }
        let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, &error))?;
        let bad = || Error::file(&path, "not a spool of uses");
        let (floor, mut rest) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
        let (mut next, mut waiting) = (u64::from_be_bytes(*floor), 0u64);
        // Bytes after the last complete report belong to an interrupted write, whose call was not
        // answered.
        while let Some((message, behind)) = split(rest) {
            let report = UseReport::decode(message).map_err(|_| bad())?;
            next = next.max(report.counter.saturating_add(1));
            (rest, waiting) = (behind, waiting.saturating_add(1));
        }
        let length = (bytes.len() - rest.len()) as u64;
        let (mark, boot) = (directory.join(MARK), boot_id());
        let before = std::fs::read_to_string(&mark).ok();
        if before.is_some_and(|before| before != boot) {
            next = next.saturating_add(UNKNOWN_LOSS);
        }
        files::replace(&mark, boot.as_bytes())?;
        let file = opened(&path)?;
        let directory = directory.to_owned();
        let first = HEAD_BYTES;
        let mut spool =
            Spool { directory, file, _alone: alone, bytes_max, length, first, waiting, next };
        spool.compact()?;
        Ok(spool)
    }

    /// Takes the counter that the broker expects from this tool. A spool that never spoke to the
    /// broker continues from it: an earlier spool that was lost had used the counters before, and
    /// the broker would take a repeated counter for recorded.
    fn introduce(&mut self, next: u64) -> Result<(), Error> {
        let mark = self.directory.join(INTRODUCED);
        if mark.exists() {
            return Ok(());
        }
        if next > 0 {
            let left = usize::try_from(self.length - self.first).unwrap_or(usize::MAX);
            let bytes = self.read(self.first, left)?;
            let (mut rest, mut renumbered) = (bytes.as_slice(), Vec::new());
            while let Some((message, behind)) = split(rest) {
                let report = UseReport::decode(message);
                let mut report =
                    report.map_err(|_| Error::file(&self.path(), "a report is damaged"))?;
                report.counter = report.counter.saturating_add(next);
                let message = report.encode_to_vec();
                renumbered.extend(length_of(&message));
                renumbered.extend(message);
                rest = behind;
            }
            self.next = self.next.saturating_add(next);
            self.rewrite(&renumbered)?;
        }
        files::replace(&mark, b"")
    }

    fn append(&mut self, mut report: UseReport) -> Result<(), Refusal> {
        report.counter = self.next;
        let message = report.encode_to_vec();
        let bytes = [&length_of(&message)[..], &message].concat();
        let after = self.length.saturating_add(bytes.len() as u64);
        if message.len() > REPORT_BYTES_MAX || after > self.bytes_max {
            return Err(Overload::Table("evidence of use").into());
        }
        let at = self.file.seek(SeekFrom::Start(self.length));
        let written = at.and_then(|_| self.file.write_all(&bytes));
        written.map_err(|error| Fault::Store(format!("the evidence of use: {error}")))?;
        self.length = after;
        self.next = self.next.saturating_add(1);
        self.waiting = self.waiting.saturating_add(1);
        Ok(())
    }

    /// Returns the first reports that are not acknowledged, as many as fit one request.
    fn batch(&mut self) -> Result<Vec<UseReport>, Error> {
        let bytes = self.read(self.first, REQUEST_BYTES_MAX)?;
        let (mut rest, mut uses) = (bytes.as_slice(), Vec::new());
        while let Some((message, behind)) = split(rest).filter(|_| uses.len() < USES_MAX) {
            let report = UseReport::decode(message);
            uses.push(report.map_err(|_| Error::file(&self.path(), "a report is damaged"))?);
            rest = behind;
        }
        Ok(uses)
    }

    /// Removes the reports below this counter, which the broker has recorded.
    fn acknowledged(&mut self, next: u64) -> Result<(), Error> {
        let bytes = self.read(self.first, REQUEST_BYTES_MAX)?;
        let mut rest = bytes.as_slice();
        while let Some((message, behind)) = split(rest) {
            let report = UseReport::decode(message);
            let counter = report.map_or(u64::MAX, |report| report.counter);
            if counter >= next {
                break;
            }
            let taken = (rest.len() - behind.len()) as u64;
            self.first = self.first.saturating_add(taken);
            self.waiting = self.waiting.saturating_sub(1);
            rest = behind;
        }
        match self.waiting {
            0 => self.empty(),
            _ if self.first > COMPACT_BYTES.max(self.length / 2) => self.compact(),
            _ => Ok(()),
        }
    }

    /// Empties the file when everything is acknowledged: first it writes the counter, then it cuts
    /// the file. It does not wait for the disk, because calls wait meanwhile.
    fn empty(&mut self) -> Result<(), Error> {
        let head = self.file.seek(SeekFrom::Start(0));
        let head = head.and_then(|_| self.file.write_all(&self.next.to_be_bytes()));
        let cut = head.and_then(|()| self.file.set_len(HEAD_BYTES));
        cut.map_err(|error| Error::io("write", &self.path(), &error))?;
        (self.first, self.length) = (HEAD_BYTES, HEAD_BYTES);
        Ok(())
    }

    /// Rewrites the file without the acknowledged reports.
    fn compact(&mut self) -> Result<(), Error> {
        let left = usize::try_from(self.length - self.first).unwrap_or(usize::MAX);
        let left = self.read(self.first, left)?;
        self.rewrite(&left)
    }

    /// Replaces the file by one with these reports only.
    fn rewrite(&mut self, left: &[u8]) -> Result<(), Error> {
        let path = self.path();
        // The counter of the next report is above those of all waiting reports.
        files::replace(&path, &[&self.next.to_be_bytes()[..], left].concat())?;
        self.file = opened(&path)?;
        self.length = HEAD_BYTES.saturating_add(left.len() as u64);
        self.first = HEAD_BYTES;
        Ok(())
    }

    fn read(&mut self, from: u64, most: usize) -> Result<Vec<u8>, Error> {
        let most = (self.length - from).min(most as u64);
        let mut bytes = vec![0; usize::try_from(most).unwrap_or(0)];
        let read = self.file.seek(SeekFrom::Start(from));
        let read = read.and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error| Error::io("read", &self.path(), &error))?;
        Ok(bytes)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(SPOOL)
    }
}

impl Drop for Spool {
    /// A clean end: everything is on disk, so the counter need not jump at the next start.
    fn drop(&mut self) {
        if self.file.sync_all().is_ok() {
            let _ = files::remove(&self.directory.join(MARK));
        }
    }
}

/// Takes the lock of the spool. The code of the error is `spool_in_use` when another process has
/// it.
fn alone(directory: &Path) -> Result<File, Error> {
    let detail = || format!("another process reports from {}", directory.display());
    files::claim(&directory.join(LOCK))?.ok_or_else(|| Error::local("spool_in_use", detail()))
}

fn opened(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.map_err(|error| Error::io("open", path, &error))
}

fn length_of(message: &[u8]) -> [u8; 4] {
    // A report has at most 128 KiB.
    u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Splits off the first report; `None` when it is not complete.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Returns an id that changes with every start of the machine; empty where there is none.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> UseReport {
        UseReport { action: text.to_owned(), ..UseReport::default() }
    }

    fn spool(directory: &Path) -> Spool {
        Spool::open(directory, 100_000).unwrap()
    }

    fn batch(spool: &mut Spool) -> Vec<(u64, String)> {
        spool.batch().unwrap().into_iter().map(|report| (report.counter, report.action)).collect()
    }

    /// A process that is killed: `Drop` does not run, but the kernel releases its lock.
    fn killed(spool: Spool) {
        spool._alone.unlock().unwrap();
        std::mem::forget(spool);
    }

    #[test]
    fn a_spool_that_was_lost_counts_on_from_what_the_broker_has() {
        let directory = tempfile::tempdir().unwrap();
        let mut one = spool(directory.path());
        one.append(report("a")).unwrap();
        one.append(report("b")).unwrap();
        one.introduce(100).unwrap();
        assert_eq!(batch(&mut one), [(100, "a".to_owned()), (101, "b".to_owned())]);
        one.append(report("c")).unwrap();
        one.introduce(102).unwrap();
        assert_eq!(batch(&mut one)[2], (102, "c".to_owned()), "once");
        drop(one);
        let mut two = spool(directory.path());
        two.introduce(50).unwrap();
        two.append(report("d")).unwrap();
        assert_eq!(batch(&mut two)[3].0, 103);
    }

    #[test]
    fn a_spool_has_one_process() {
        let directory = tempfile::tempdir().unwrap();
        let one = spool(directory.path());
        let busy = Spool::open(directory.path(), 1_000).unwrap_err();
        assert_eq!(busy.code(), "spool_in_use");
        drop(one);
        drop(spool(directory.path()));
    }

    #[test]
    fn a_killed_tool_goes_on_where_it_stood_without_a_gap() {
        let directory = tempfile::tempdir().unwrap();
        let mut one = spool(directory.path());
        for text in ["a", "b", "c"] {
            one.append(report(text)).unwrap();
        }
        one.acknowledged(1).unwrap();
        killed(one);
        let mut two = spool(directory.path());
        // What was acknowledged may come again; the broker knows it by its counter.
        assert_eq!(batch(&mut two).last().unwrap(), &(2, "c".to_owned()));
        two.append(report("d")).unwrap();
        two.acknowledged(4).unwrap();
        assert_eq!((two.waiting, batch(&mut two)), (0, vec![]));
        killed(two);
        let mut three = spool(directory.path());
        three.append(report("e")).unwrap();
        assert_eq!(batch(&mut three), [(4, "e".to_owned())], "also when the spool was empty");
    }

    #[test]
    fn a_torn_report_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let mut one = spool(directory.path());
        one.append(report("whole")).unwrap();
        one.append(report("torn")).unwrap();
        let length = one.length;
        killed(one);
        let path = directory.path().join(SPOOL);
        let bytes = std::fs::read(&path).unwrap();
        for cut in 1..12 {
            std::fs::write(&path, &bytes[..usize::try_from(length).unwrap() - cut]).unwrap();
            let mut two = spool(directory.path());
            assert_eq!(batch(&mut two), [(0, "whole".to_owned())]);
            two.append(report("next")).unwrap();
            assert_eq!(batch(&mut two)[1], (1, "next".to_owned()));
            killed(two);
        }
    }

    #[test]
    fn after_a_power_cut_the_gap_says_that_something_may_be_lost() {
        let directory = tempfile::tempdir().unwrap();
        let mut one = spool(directory.path());
        one.append(report("a")).unwrap();
        killed(one);
        let mark = directory.path().join(MARK);
        std::fs::write(&mark, "another start of the machine").unwrap();
        let mut two = spool(directory.path());
        two.append(report("b")).unwrap();
        assert_eq!(batch(&mut two)[1].0, UNKNOWN_LOSS + 1);
        drop(two);
        assert!(!mark.exists(), "a clean end fears nothing");
        let mut three = spool(directory.path());
        three.append(report("c")).unwrap();
        assert_eq!(batch(&mut three)[2].0, UNKNOWN_LOSS + 2);
    }

    // SPEC 9.9.
    #[test]
    fn a_full_spool_takes_nothing_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), 2_000).unwrap();
        let mut kept = 0;
        while spool.append(report(&"x".repeat(300))).is_ok() {
            kept += 1;
        }
        assert_eq!(kept, 6);
        let refusal = spool.append(report(&"x".repeat(300))).unwrap_err();
        assert_eq!(refusal.code(), "table_full");
        assert_eq!(batch(&mut spool).len(), 6);
        spool.acknowledged(3).unwrap();
        spool.acknowledged(6).unwrap();
        assert!(spool.append(report("fits again")).is_ok());
        assert_eq!(batch(&mut spool)[0].0, 6, "and what was refused has no counter");
    }

    #[test]
    fn what_is_acknowledged_leaves_a_long_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), 64 * 1024 * 1024).unwrap();
        for _ in 0..40 {
            spool.append(report(&"x".repeat(100_000))).unwrap();
        }
        let mut seen = Vec::new();
        while let Some((last, _)) = batch(&mut spool).last().cloned() {
            seen.extend(batch(&mut spool).into_iter().map(|(counter, _)| counter));
            spool.acknowledged(last + 1).unwrap();
        }
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
        assert_eq!((spool.length, spool.waiting), (HEAD_BYTES, 0));
    }

    #[test]
    fn a_tool_goes_on_with_more_than_a_file_that_is_read_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut one = Spool::open(directory.path(), 4 * 1024 * 1024).unwrap();
        (0..20).for_each(|_| one.append(report(&"x".repeat(100_000))).unwrap());
        drop(one);
        let mut two = Spool::open(directory.path(), 4 * 1024 * 1024).unwrap();
        assert_eq!((two.waiting, batch(&mut two)[0].0), (20, 0));
    }

    #[test]
    fn a_file_that_is_no_spool_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(SPOOL), b"none").unwrap();
        assert_eq!(Spool::open(directory.path(), 1_000).unwrap_err().code(), "bad_file");
    }
}
