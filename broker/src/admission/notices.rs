//! Counts for the metrics how often each bound was met, and warns in the log.
//!
//! Owns: counting, and at most one warning a minute of each kind. Does not own: the bounds.
//!
//! Invariants: a flood does not fill the log. A warning names an address and numbers, and no token or key.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds between two warnings of one kind.
const EVERY_SECONDS: u64 = 60;

/// Seconds since the broker started. The task that closes idle connections counts them, so the system's
/// clock has no effect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seconds(Arc<AtomicU64>);

impl Seconds {
    /// Returns the seconds that have passed.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds one second.
    pub(crate) fn pass(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A bound at which a connection is closed or a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Connections without a valid proof, of one address.
    AddressConnections,
    /// Connections without a valid proof, of all addresses.
    UnprovenConnections,
    /// Connections of one caller.
    CallerConnections,
    /// Connections of all peers.
    Connections,
    /// File descriptors of the process.
    Descriptors,
    /// Time until the first request.
    FirstRequest,
    /// Time without a request.
    Idle,
    /// Bytes of one connection.
    ConnectionBytes,
    /// Bytes of one caller or address.
    CallerBytes,
    /// Bytes of all callers.
    AllBytes,
    /// Calls without a valid proof, of one address.
    AddressCalls,
    /// Calls without a valid proof, of all addresses.
    UnprovenCalls,
    /// Waiting calls of one caller or address.
    Turns,
}

impl Bound {
    /// All bounds, in the order of their numbers.
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

    /// Returns the name in the metrics and in the log.
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

    /// Returns whether the bound closes connections. If not, it refuses calls.
    pub(crate) fn closes(self) -> bool {
        (self as usize) < Bound::ConnectionBytes as usize
    }

    /// Returns whether an operator needs to know. An expired deadline is normal.
    fn is_trouble(self) -> bool {
        !matches!(self, Bound::FirstRequest | Bound::Idle)
    }
}

/// How often each bound was met, and when the last warning was.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    seconds: Seconds,
    kinds: [Kind; Bound::ALL.len()],
}

#[derive(Debug, Default)]
struct Kind {
    count: AtomicU64,
    /// The count at the last warning.
    told: AtomicU64,
    /// The second after the one of the last warning; 0 if there was none.
    when: AtomicU64,
}

impl Notices {
    /// Makes it with all counts at 0.
    pub(crate) fn new(seconds: Seconds) -> Arc<Self> {
        Arc::new(Notices { seconds, kinds: Default::default() })
    }

    /// Returns how often a bound was met since the start.
    pub(crate) fn count(&self, bound: Bound) -> u64 {
        self.kind(bound).map_or(0, |kind| kind.count.load(Ordering::Relaxed))
    }

    /// Counts that this peer met a bound, with this many open or in use. Returns whether it was logged.
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
        // Another kind of bound has a warning of its own.
        assert!(notices.met(Bound::AllBytes, &"192.0.2.1", 5));
        (0..59).for_each(|_| seconds.pass());
        assert!(!notices.met(Bound::Connections, &"192.0.2.1", 5));
        seconds.pass();
        assert!(notices.met(Bound::Connections, &"192.0.2.1", 5));
        assert_eq!(notices.count(Bound::Connections), 4);
        // An expired deadline is not logged.
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
