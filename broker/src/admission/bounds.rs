//! Every bound on what a peer of the network can take of the broker, with its arithmetic.
//!
//! Owns: the constants, and the bounds that follow from how many descriptors there are. Does not own:
//! what happens at a bound (`connections`, `budget`, `gate`). docs/RELIABILITY.
//!
//! Invariants: a bound of one caller is smaller than that of all, so that nobody fills the whole alone;
//! nothing in the configuration turns one off.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sublet_core::base::limits;

use super::pool::Shares;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Calls at once on one connection. A client with more waits for a stream to end; its library does that
/// by itself. At 5 KiB a call (a token of 2 KiB in headers and in the message) this is 640 KiB.
pub(crate) const STREAMS_MAX: u32 = 128;

/// HTTP/2 window of one stream: what a peer may send before the broker has read it. The smallest that
/// HTTP/2 begins with, 65,535 bytes.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 65_535;

/// HTTP/2 window of one connection. With it, what `h2` holds of a connection that the broker does not
/// read from is at most: 256 KiB of data, one frame of 16 KiB, a header list of
/// [`limits::HEADER_LIST_BYTES_MAX`] (64 KiB) in the making: 336 KiB. A report of 768 KiB needs three
/// round trips.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// One message, of every call but ReportUses. The largest honest ones: a chain in Delegate, RecordHop,
/// Inspect, Revoke is a token of 64 KiB at most; Issue has a user's token of 16 KiB and a scope that
/// must fit a block of 3 KiB; Enroll has a signed token of 16 KiB or a foreign identity of 64 KiB; a
/// profile comes from a file of 256 KiB at most, and the client reads no larger one.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 * KIB;

/// A message of ReportUses. The client sends 768 KiB in one, and a report that is larger by itself is
/// 128 KiB at most.
pub(crate) const REPORT_BYTES_MAX: usize = limits::CALL_BYTES_MAX;

/// The message of a call that asks nothing or little: GetTrustBundle, health, Watch, GetCheckpoint,
/// GetStatus.
pub(crate) const SMALL_BYTES_MAX: usize = 4 * KIB;

/// The body of a form over HTTP: a user's token of 16 KiB, an identity token, a scope.
pub(crate) const FORM_BYTES_MAX: usize = 64 * KIB;

/// All that one call of server reflection sends: some names.
pub(crate) const REFLECTION_BYTES_MAX: usize = 16 * KIB;

/// What a request costs beside its headers and its body: the task, the stream, the maps. Counted so that
/// empty requests are not free.
pub(crate) const REQUEST_BYTES: usize = 2 * KIB;

/// Bytes of an HTTP/1 head before there is a request. The largest header list, and its line ends.
pub(crate) const HTTP1_HEAD_BYTES_MAX: usize = 72 * KIB;

/// A TLS handshake: two round trips and a signature.
pub(crate) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a connection on which nobody has proven itself may take to send what it was asked for: an
/// answer that is not read by then is given up. A tile of 1 MiB at 150 kbit/s.
pub(crate) const UNPROVEN_ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// Seconds from when a connection was taken to its first whole request head: the TLS handshake, and 10 s.
const FIRST_REQUEST_SECONDS: u64 = 20;

/// Seconds without a request, on a connection on which nobody has proven itself.
const UNPROVEN_IDLE_SECONDS: u64 = 60;

/// Seconds without a request or stream, on a connection on which somebody has. A peer that is gone is
/// noticed sooner, by HTTP/2 pings.
const PROVEN_IDLE_SECONDS: u64 = 3600;

/// Seconds in which a scrape of the metrics has to be over; each is a connection of its own.
const SCRAPE_SECONDS: u64 = 10;

/// TCP connections, whatever the number of descriptors. At some 150 KiB for one with TLS that does its
/// worst before it is proven, and 50 KiB for an honest one: 800 MiB when all are there.
const CONNECTIONS_MAX: usize = 16_384;

/// Connections on which nobody has proven itself, in all: 1,024 times 150 KiB are 150 MiB.
const UNPROVEN_CONNECTIONS_MAX: usize = 1_024;

/// The same of one address. A fleet behind one address that comes back at once has this many in their
/// handshakes.
const UNPROVEN_CONNECTIONS_EACH: usize = 512;

/// Connections of one caller.
const CALLER_CONNECTIONS_MAX: usize = 1_024;

/// Connections to the admin's Unix socket.
const ADMIN_CONNECTIONS_MAX: usize = 32;

/// Connections to the metrics listener.
const METRICS_CONNECTIONS_MAX: usize = 32;

/// Descriptors of what is no connection of a peer: standard streams, poll and signals (10), the store
/// and its files (20), listeners and locks (10), files that are read or written for a moment (20),
/// connections to issuers of keys, witnesses, the collector (60), accepted ones that are being closed (8).
const OWN_DESCRIPTORS: usize = 128;

/// Below so many descriptors for connections a broker does not start.
const CONNECTIONS_MIN: usize = 16;

/// Calls of proven callers in work at once, for each core; one that waits for the disk is not in work. Each
/// waits for all others in work: 16 times 0.6 ms. With fewer, the broker under a flood has too little to do
/// between two looks at what it refuses; with more, whoever has little to ask waits longer
/// (docs/BENCHMARKS, "Overload").
const TURNS_EACH_CORE: usize = 16;

/// The same on the largest machine: four batches of the store.
const TURNS_MAX: usize = 1_024;

/// Calls of proven callers that have begun, for each core: in work, or waiting for the disk after that. A batch
/// of the store takes what waits, so with fewer of them batches are small; and whoever comes next waits for
/// all of them.
const BEGUN_EACH_CORE: usize = 32;

/// The same on a machine of one core, where the store's thread has none of its own.
const BEGUN_ONE_CORE: usize = 24;

/// How long a call that waits is one of those that have begun: longer than a batch takes, and no more than
/// others can bear where an issuer's keys are slow to come.
pub(crate) const WAITS_MAX: Duration = Duration::from_millis(250);

/// Calls in work at once of those who have not proven themselves. Each checks signatures for 0.3 ms at most,
/// or is health; one that waits for an issuer's keys gives its turn back.
pub(crate) const TURNS_STRANGERS: usize = 8;

/// Calls in one lane, in work or waiting, before only those are let in who have fewer than two. Their headers
/// and messages are counted as bytes; beside that 4 KiB each are 32 MiB.
const LANE_MAX: usize = 8_192;

/// Bounds of the lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneBounds {
    /// Calls of proven callers in work at once.
    pub(crate) turns: usize,
    /// The same of calls that must have room.
    pub(crate) turns_urgent: usize,
    /// Calls of proven callers in work, or waiting for the disk.
    pub(crate) begun: usize,
    /// Calls in one lane.
    pub(crate) total: usize,
}

/// Bounds of one listener's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionBounds {
    /// In all.
    pub(crate) total: usize,
    /// On which nobody has proven itself.
    pub(crate) unproven: usize,
    /// The same of one address.
    pub(crate) unproven_each: usize,
    /// Of one caller that has proven itself.
    pub(crate) caller: usize,
    /// Seconds to the first request.
    pub(crate) first_request: u64,
    /// Seconds without a request before anybody has proven itself.
    pub(crate) unproven_idle: u64,
    /// Seconds without a request after that.
    pub(crate) proven_idle: u64,
    /// Bytes of requests in flight on one connection.
    pub(crate) bytes: usize,
}

/// Bounds on bytes of requests in flight: headers and bodies, counted once. While a message is decided
/// there are up to three copies of it: as it came, as it is decoded, and its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteBounds {
    /// Of callers that have proven themselves: 8 MiB are eight reports, or a thousand calls.
    pub(crate) proven: Shares,
    /// Beside that, for calls that must have room: a chain of 64 KiB and its token, for 64 agents.
    pub(crate) reserve: Shares,
    /// The same for the admin alone.
    pub(crate) admin: Shares,
    /// Of those who have not: eight addresses of 2 MiB, each of which is a hundred enrollments at once.
    pub(crate) unproven: Shares,
    /// Beside that, for health and for the end of a login.
    pub(crate) unproven_reserve: Shares,
}

/// Bounds on calls in flight of those who have not proven themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallBounds {
    /// Enrollments, trust bundles, reflection, HTTP.
    pub(crate) unproven: Shares,
    /// Health, and the end of a login.
    pub(crate) reserve: Shares,
}

/// All of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The broker's TCP address.
    pub(crate) tcp: ConnectionBounds,
    /// The admin's Unix socket.
    pub(crate) local: ConnectionBounds,
    /// The metrics listener.
    pub(crate) metrics: ConnectionBounds,
    /// Bytes.
    pub(crate) bytes: ByteBounds,
    /// Calls of strangers in flight.
    pub(crate) calls: CallBounds,
    /// Calls in work.
    pub(crate) lanes: LaneBounds,
}

/// Too few descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFew {
    /// How many there are.
    pub(crate) found: usize,
    /// How many are needed.
    pub(crate) needed: usize,
}

impl Bounds {
    /// What follows from this many descriptors.
    pub(crate) fn of(descriptors: usize) -> Result<Self, TooFew> {
        let reserve = OWN_DESCRIPTORS + ADMIN_CONNECTIONS_MAX + METRICS_CONNECTIONS_MAX;
        let total = descriptors.saturating_sub(reserve).min(CONNECTIONS_MAX);
        if total < CONNECTIONS_MIN {
            return Err(TooFew { found: descriptors, needed: reserve + CONNECTIONS_MIN });
        }
        // Half of all is left to those who have proven themselves, whoever else is there; and of the
        // other half no address has more than a half.
        let unproven = UNPROVEN_CONNECTIONS_MAX.min(total / 2);
        let tcp = ConnectionBounds {
            total,
            unproven,
            unproven_each: UNPROVEN_CONNECTIONS_EACH.min(unproven / 2),
            caller: CALLER_CONNECTIONS_MAX.min(total / 4),
            first_request: FIRST_REQUEST_SECONDS,
            unproven_idle: UNPROVEN_IDLE_SECONDS,
            proven_idle: PROVEN_IDLE_SECONDS,
            // Five reports at once.
            bytes: 4 * MIB,
        };
        let turns = cores().saturating_mul(TURNS_EACH_CORE).min(TURNS_MAX);
        let begun = match cores() {
            1 => BEGUN_ONE_CORE,
            cores => cores.saturating_mul(BEGUN_EACH_CORE).min(TURNS_MAX),
        };
        let few = |total, seconds| ConnectionBounds {
            total,
            unproven: total,
            unproven_each: total,
            caller: total,
            first_request: seconds,
            ..tcp
        };
        Ok(Bounds {
            tcp,
            local: few(ADMIN_CONNECTIONS_MAX, FIRST_REQUEST_SECONDS),
            metrics: few(METRICS_CONNECTIONS_MAX, SCRAPE_SECONDS),
            bytes: ByteBounds {
                proven: Shares { each: 8 * MIB, all: 64 * MIB },
                reserve: Shares { each: 256 * KIB, all: 16 * MIB },
                admin: Shares { each: MIB, all: MIB },
                unproven: Shares { each: 2 * MIB, all: 16 * MIB },
                unproven_reserve: Shares { each: 128 * KIB, all: 4 * MIB },
            },
            calls: CallBounds {
                unproven: Shares { each: 128, all: 2_048 },
                reserve: Shares { each: 64, all: 1_024 },
            },
            lanes: LaneBounds { turns, turns_urgent: turns / 4, begun, total: LANE_MAX },
        })
    }
}

/// Cores that this process may use; one where nobody can say.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many descriptors this process may have, after asking for as many as it is allowed to ask for.
pub(crate) fn descriptors() -> usize {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        // Where that is refused, the number of before is what there is.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |number| usize::try_from(number).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_connection_of_a_peer_always_has_descriptors() {
        for descriptors in [256, 1_024, 4_096, 1 << 20, usize::MAX] {
            let bounds = Bounds::of(descriptors).unwrap();
            let tcp = bounds.tcp;
            let all = tcp.total + bounds.local.total + bounds.metrics.total + OWN_DESCRIPTORS;
            assert!(all <= descriptors);
            assert!(tcp.unproven <= tcp.total / 2 && tcp.unproven_each <= tcp.unproven / 2);
            assert!(tcp.caller <= tcp.total / 4);
        }
        let few = Bounds::of(100).unwrap_err();
        assert_eq!(few, TooFew { found: 100, needed: 208 });
        assert!(Bounds::of(few.needed).is_ok());
    }

    #[test]
    fn no_one_fills_the_whole_and_no_message_is_larger_than_its_share() {
        let bounds = Bounds::of(1_024).unwrap();
        let bytes = bounds.bytes;
        for shares in [bytes.proven, bytes.reserve, bytes.unproven, bytes.unproven_reserve] {
            assert!(shares.each <= shares.all / 8, "{shares:?}");
        }
        let headers = limits::HEADER_LIST_BYTES_MAX as usize + REQUEST_BYTES;
        assert!(REPORT_BYTES_MAX + headers <= bounds.tcp.bytes);
        assert!(bounds.tcp.bytes <= bytes.proven.each);
        assert!(MESSAGE_BYTES_MAX + headers <= bytes.unproven.each);
        assert!(FORM_BYTES_MAX + REQUEST_BYTES <= bytes.unproven_reserve.each);
        for shares in [bounds.calls.unproven, bounds.calls.reserve] {
            assert!(shares.each <= shares.all / 16);
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let found = descriptors();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(limit.current.map(|number| number as usize), Some(found));
    }
}
