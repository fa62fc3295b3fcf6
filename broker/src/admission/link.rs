//! What is known of one connection while it is open, shared by whoever reads, serves and counts it.
//!
//! Owns: requests in flight on it, since when there are none, whose share they take, that it is to close or is
//! not read from for a moment. Does not own: the bounds (`connections`, `turns`), its bytes (`watched`).
//!
//! Invariants: what is to close stays so; a share is a caller's only after its proof.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Context;

use atomic_waker::AtomicWaker;

use super::account::{Account, Network};
use super::notices::Seconds;
use super::pool::Pool;
use super::share::Share;

/// So many proofs in a row that do not hold make a connection one of a stranger again.
const FAILED_MAX: usize = 4;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its number: a larger one came later.
    pub(crate) id: u64,
    /// Its address, for the log; `None` for a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// What it counts against before anybody has proven itself; `None` where addresses tell nothing.
    pub(crate) network: Option<Network>,
}

/// Where connections are counted.
pub(crate) trait Table: std::fmt::Debug + Send + Sync {
    /// Somebody has proven itself on the connection of this number.
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
    /// Whether it is not read from for the moment.
    paused: AtomicBool,
    waker: AtomicWaker,
    asked: AtomicBool,
    in_flight: AtomicUsize,
    /// The second in which it came, or its last request ended.
    since: AtomicU64,
    /// Proofs on it that did not hold since the last that did.
    failed: AtomicUsize,
    /// Who has proven itself on it last.
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

    /// Where it comes from.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Bytes of its requests in flight.
    pub(crate) fn bytes(&self) -> &Arc<Pool> {
        &self.bytes
    }

    /// Counts a request, until what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.asked.store(true, Ordering::Release);
        InFlight(self.clone())
    }

    /// Whether a request is in flight on it.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// Whether there was a request at all.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Seconds without a request; `None` while one is in flight.
    pub(super) fn idle(&self, now: u64) -> Option<u64> {
        let since = self.since.load(Ordering::Acquire);
        (!self.is_busy()).then(|| now.saturating_sub(since))
    }

    /// Whose share its requests take before their proofs are looked at: of the caller that has proven
    /// itself on it last, unless proofs on it do not hold any more.
    pub(crate) fn share(&self) -> Share {
        let failed = self.failed.load(Ordering::Relaxed);
        let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match caller {
            Some(caller) if failed < FAILED_MAX => Share::Caller(caller),
            _ => self.stranger(),
        }
    }

    /// Whose share its requests take that prove nothing.
    pub(crate) fn stranger(&self) -> Share {
        match self.peer.network {
            Some(network) if self.failed.load(Ordering::Relaxed) == 0 => Share::Address(network),
            Some(network) => Share::Suspect(network),
            None => Share::Connection(self.peer.id),
        }
    }

    /// A proof on it did not hold.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// This caller has proven itself on it.
    pub(crate) fn proven(&self, account: Account) {
        self.failed.store(0, Ordering::Relaxed);
        let mut caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        if caller.as_ref() == Some(&account) {
            return;
        }
        *caller = Some(account.clone());
        // Under the lock, so that the table has the last one too.
        if let Some(table) = self.table.upgrade() {
            table.proven(self.peer.id, &account);
        }
    }

    /// Whether it is to close.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// It is to close. Whoever reads from it or writes to it is woken.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Nothing is read from it until [`Link::resume`]. Returns whether that is new. A connection of which the
    /// address tells nothing may be a proxy's: it carries the calls of many callers, and is never paused for
    /// those of one.
    pub(super) fn pause(&self) -> bool {
        self.peer.network.is_some() && !self.paused.swap(true, Ordering::AcqRel)
    }

    /// It is read from again.
    pub(super) fn resume(&self) {
        if self.paused.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether nothing is read from it for the moment.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Whether it is to close; if not, this task is woken when it is.
    pub(super) fn poll_closing(&self, context: &mut Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_closing()
    }
}

/// A request in flight on a connection, its answer included.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Link>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.since.store(self.0.seconds.now(), Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
