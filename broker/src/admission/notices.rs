//! What a bound did, as numbers for the metrics and as words for the log.
//!
//! Owns: counting, and warning at most once a minute of each kind. Does not own: the bounds.
//!
//! Invariants: a flood fills no log; a warning names an address and numbers, and no token or key.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds between two warnings of one kind.
const EVERY_SECONDS: u64 = 60;

/// Seconds since the broker began, counted by the one task that closes what is idle: a clock that nobody
/// sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seconds(Arc<AtomicU64>);

impl Seconds {
    /// How many have passed.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more has passed.
    pub(crate) fn pass(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A bound at which something is closed or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Unproven connections of one address.
    AddressConnections,
    /// Unproven connections in all.
    UnprovenConnections,
    /// Connections of one caller.
    CallerConnections,
    /// Connections in all.
    Connections,
    /// Descriptors of the process.
    Descriptors,
    /// Time to the first request.
    FirstRequest,
    /// Time without a request.
    Idle,
    /// Bytes of one connection.
    ConnectionBytes,
    /// Bytes of one caller, or address.
    CallerBytes,
    /// Bytes in all.
    AllBytes,
    /// Unproven calls of one address.
    AddressCalls,
    /// Unproven calls in all.
    UnprovenCalls,
    /// Calls of one caller, or address, that wait for a turn.
    Turns,
}

impl Bound {
    /// All of them, as they are numbered.
    pub(crate) const ALL: [Bound; 13] = [
        Bound::AddressConnections,
        Bound::UnprovenConnections,
        Bound::CallerConnections,
        Bound::Connections,
        Bound::Descriptors,
        Bound::FirstRequest,
        Bound::Idle,
        Bound::ConnectionBytes,
        Bound::CallerBytes,
        Bound::AllBytes,
        Bound::AddressCalls,
        Bound::UnprovenCalls,
        Bound::Turns,
    ];

    /// Its name in the metrics and in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Bound::AddressConnections => "unproven_connections_of_an_address",
            Bound::UnprovenConnections => "unproven_connections",
            Bound::CallerConnections => "connections_of_a_caller",
            Bound::Connections => "connections",
            Bound::Descriptors => "descriptors",
            Bound::FirstRequest => "first_request",
            Bound::Idle => "idle",
            Bound::ConnectionBytes => "bytes_of_a_connection",
            Bound::CallerBytes => "bytes_of_a_caller",
            Bound::AllBytes => "bytes",
            Bound::AddressCalls => "unproven_calls_of_an_address",
            Bound::UnprovenCalls => "unproven_calls",
            Bound::Turns => "turns",
        }
    }

    /// Whether it closes connections; else it refuses calls.
    pub(crate) fn closes(self) -> bool {
        (self as usize) < Bound::ConnectionBytes as usize
    }

    /// Whether an operator has to know: time that passes is no trouble.
    fn is_trouble(self) -> bool {
        !matches!(self, Bound::FirstRequest | Bound::Idle)
    }
}

/// How often each bound was met, and when it was told last.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    seconds: Seconds,
    kinds: [Kind; Bound::ALL.len()],
}

#[derive(Debug, Default)]
struct Kind {
    count: AtomicU64,
    /// The count that was told last.
    told: AtomicU64,
    /// The second after the one in which it was told; 0 before that.
    when: AtomicU64,
}

impl Notices {
    /// Nothing was met yet.
    pub(crate) fn new(seconds: Seconds) -> Arc<Self> {
        Arc::new(Notices { seconds, kinds: Default::default() })
    }

    /// How often a bound was met since the start.
    pub(crate) fn count(&self, bound: Bound) -> u64 {
        self.kind(bound).map_or(0, |kind| kind.count.load(Ordering::Relaxed))
    }

    /// A bound was met by this peer, where this many were open or in use. Says whether it was logged.
    pub(crate) fn met(&self, bound: Bound, peer: &dyn fmt::Display, number: usize) -> bool {
        let Some(kind) = self.kind(bound) else { return false };
        let count = kind.count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !bound.is_trouble() {
            tracing::debug!(bound = bound.name(), %peer, "a connection was closed");
            return false;
        }
        let (now, before) = (self.seconds.now(), kind.when.load(Ordering::Relaxed));
        if before > 0 && now < before.saturating_sub(1).saturating_add(EVERY_SECONDS) {
            return false;
        }
        let mine = kind.when.compare_exchange(
            before,
            now.saturating_add(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if mine.is_err() {
            return false;
        }
        let since = count.saturating_sub(kind.told.swap(count, Ordering::Relaxed));
        let done = if bound.closes() { "connections are closed" } else { "calls are refused" };
        tracing::warn!(
            bound = bound.name(),
            %peer,
            number,
            since_last_warning = since,
            "a bound is reached: {done}"
        );
        true
    }

    fn kind(&self, bound: Bound) -> Option<&Kind> {
        self.kinds.get(bound as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_a_minute_and_counted_always() {
        let seconds = Seconds::default();
        let notices = Notices::new(seconds.clone());
        assert!(notices.met(Bound::Connections, &"192.0.2.1", 5));
        assert!(!notices.met(Bound::Connections, &"192.0.2.1", 5));
        // Another kind is another matter.
        assert!(notices.met(Bound::AllBytes, &"192.0.2.1", 5));
        (0..59).for_each(|_| seconds.pass());
        assert!(!notices.met(Bound::Connections, &"192.0.2.1", 5));
        seconds.pass();
        assert!(notices.met(Bound::Connections, &"192.0.2.1", 5));
        assert_eq!(notices.count(Bound::Connections), 4);
        // Time that passes is no trouble.
        assert!(!notices.met(Bound::Idle, &"192.0.2.1", 5));
        assert_eq!(notices.count(Bound::Idle), 1);
    }

    #[test]
    fn bounds_are_numbered_as_they_are_listed() {
        for (at, bound) in Bound::ALL.into_iter().enumerate() {
            assert_eq!(bound as usize, at);
        }
    }
}
