//! What the broker knows of one open connection. Its reader, its service and the table share it.
//!
//! Owns: its requests in flight, since when there are none, the share that they count for, whether it is
//! to close or is paused. Does not own: the bounds (`connections`, `turns`), its bytes (`watched`).
//!
//! Invariants: a connection that is to close stays so. It counts for a caller only after the caller's proof.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Context;

use atomic_waker::AtomicWaker;

use super::account::{Account, Network};
use super::notices::Seconds;
use super::pool::Pool;
use super::share::Share;

/// After this many failed proofs in a row a connection counts for its address again.
const FAILED_MAX: usize = 4;

/// The origin of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The number of the connection. Later connections have larger numbers.
    pub(crate) id: u64,
    /// The address, for the log; `None` for a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// The network that it counts for without a valid proof; `None` behind a proxy or on a Unix socket.
    pub(crate) network: Option<Network>,
}

/// The table in which connections are counted.
pub(crate) trait Table: std::fmt::Debug + Send + Sync {
    /// A caller made a valid proof on the connection with this number.
    fn proven(&self, id: u64, account: &Account);
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    peer: Peer,
    table: Weak<dyn Table>,
    seconds: Seconds,
    bytes: Arc<Pool>,
    closing: AtomicBool,
    /// Whether reading from it is paused.
    paused: AtomicBool,
    waker: AtomicWaker,
    asked: AtomicBool,
    in_flight: AtomicUsize,
    /// The second in which it was accepted, or in which its last request ended.
    since: AtomicU64,
    /// Failed proofs since the last valid one.
    failed: AtomicUsize,
    /// The account of the last valid proof.
    caller: Mutex<Option<Account>>,
}

impl Link {
    pub(super) fn new(
        peer: Peer,
        table: Weak<dyn Table>,
        seconds: Seconds,
        bytes: Arc<Pool>,
    ) -> Arc<Self> {
        let since = AtomicU64::new(seconds.now());
        Arc::new(Link {
            peer,
            table,
            seconds,
            bytes,
            closing: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            asked: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            since,
            failed: AtomicUsize::new(0),
            caller: Mutex::default(),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.peer.id
    }

    /// Returns its origin.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Returns the count of bytes of its requests in flight.
    pub(crate) fn bytes(&self) -> &Arc<Pool> {
        &self.bytes
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.asked.store(true, Ordering::Release);
        InFlight(self.clone())
    }

    /// Returns whether a request is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// Returns whether there was a request at all.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Returns the seconds without a request; `None` while one is in flight.
    pub(super) fn idle(&self, now: u64) -> Option<u64> {
        let since = self.since.load(Ordering::Acquire);
        (!self.is_busy()).then(|| now.saturating_sub(since))
    }

    /// Returns the share that its requests count for before their proofs are checked: that of the caller
    /// of the last valid proof, unless several proofs failed since.
    pub(crate) fn share(&self) -> Share {
        let failed = self.failed.load(Ordering::Relaxed);
        let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match caller {
            Some(caller) if failed < FAILED_MAX => Share::Caller(caller),
            _ => self.stranger(),
        }
    }

    /// Returns the share of its requests without a proof.
    pub(crate) fn stranger(&self) -> Share {
        match self.peer.network {
            Some(network) if self.failed.load(Ordering::Relaxed) == 0 => Share::Address(network),
            Some(network) => Share::Suspect(network),
            None => Share::Connection(self.peer.id),
        }
    }

    /// Notes that a proof failed.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a valid proof of this caller.
    pub(crate) fn proven(&self, account: Account) {
        self.failed.store(0, Ordering::Relaxed);
        let mut caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        if caller.as_ref() == Some(&account) {
            return;
        }
        *caller = Some(account.clone());
        // Under the lock, so that the table and this connection agree on the last caller.
        if let Some(table) = self.table.upgrade() {
            table.proven(self.peer.id, &account);
        }
    }

    /// Returns whether it is to close.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Tells it to close. Wakes the tasks that read and write.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Pauses reading until [`Link::resume`], and returns whether that is new. A connection behind a
    /// proxy is never paused, because it may carry the calls of many callers.
    pub(super) fn pause(&self) -> bool {
        self.peer.network.is_some() && !self.paused.swap(true, Ordering::AcqRel)
    }

    /// Ends the pause.
    pub(super) fn resume(&self) {
        if self.paused.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Returns whether reading is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Returns whether it is to close. If not, the task is woken when it is told to.
    pub(super) fn poll_closing(&self, context: &mut Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_closing()
    }
}

/// A request in flight on a connection, until its answer ends.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Link>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.since.store(self.0.seconds.now(), Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
