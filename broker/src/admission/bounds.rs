//! All bounds for peers of the network, with their arithmetic.
//!
//! Owns: the constants, and the bounds that depend on the number of file descriptors. Does not own: what
//! happens at a bound (`connections`, `budget`, `gate`). docs/RELIABILITY.
//!
//! Invariants: a bound for one caller is smaller than the bound for all, so that no caller takes
//! everything. No setting turns a bound off.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sublet_core::base::limits;

use super::pool::Shares;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The most calls at once on one connection. The library of a client with more calls waits by itself. At
/// 5 KiB a call (a token of 2 KiB in headers and in the message) this is 640 KiB.
pub(crate) const STREAMS_MAX: u32 = 128;

/// The HTTP/2 window of one stream in bytes: what a peer may send before the broker has read it. It is
/// the initial window of HTTP/2.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 65_535;

/// The HTTP/2 window of one connection in bytes. With it `h2` holds at most 336 KiB of a connection that
/// the broker does not read from: 256 KiB of data, one frame of 16 KiB, and an incomplete header list of
/// 64 KiB ([`limits::HEADER_LIST_BYTES_MAX`]). A report of 768 KiB needs three round trips.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// The largest message in bytes, of every call except ReportUses. The largest honest messages: the chain
/// in Delegate, RecordHop, Inspect or Revoke is a token of at most 64 KiB. Issue has a user's token of
/// 16 KiB and a scope that must fit into a block of 3 KiB. Enroll has a signed token of 16 KiB or a
/// foreign identity of 64 KiB. A profile comes from a file of at most 256 KiB; the client reads no
/// larger one.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 * KIB;

/// The largest message of ReportUses in bytes. The client sends 768 KiB at once; one report is at most
/// 128 KiB.
pub(crate) const REPORT_BYTES_MAX: usize = limits::CALL_BYTES_MAX;

/// The largest message in bytes of calls with little or no content: GetTrustBundle, health, Watch,
/// GetCheckpoint, GetStatus.
pub(crate) const SMALL_BYTES_MAX: usize = 4 * KIB;

/// The largest form over HTTP in bytes: a user's token of 16 KiB, an identity token, a scope.
pub(crate) const FORM_BYTES_MAX: usize = 64 * KIB;

/// The most bytes that one call of server reflection may send: some names.
pub(crate) const REFLECTION_BYTES_MAX: usize = 16 * KIB;

/// What a request costs in bytes besides its headers and its body: the task, the stream, the maps. It is
/// counted so that empty requests are not free.
pub(crate) const REQUEST_BYTES: usize = 2 * KIB;

/// The largest HTTP/1 head in bytes: the largest header list and its line ends.
pub(crate) const HTTP1_HEAD_BYTES_MAX: usize = 72 * KIB;

/// The longest TLS handshake: two round trips and a signature.
pub(crate) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// How long an answer may take on a connection without a valid proof. After that it is given up. A tile
/// of 1 MiB arrives at 150 kbit/s.
pub(crate) const UNPROVEN_ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// Seconds from accepting a connection to its first whole request head: the TLS handshake, and 10 s more.
const FIRST_REQUEST_SECONDS: u64 = 20;

/// Seconds without a request after which a connection without a valid proof is closed.
const UNPROVEN_IDLE_SECONDS: u64 = 60;

/// Seconds without a request or stream after which a connection with a valid proof is closed. HTTP/2
/// pings notice a lost peer sooner.
const PROVEN_IDLE_SECONDS: u64 = 3600;

/// Seconds that a scrape of the metrics may take. Each scrape is a connection of its own.
const SCRAPE_SECONDS: u64 = 10;

/// The most TCP connections, if there are enough file descriptors: 800 MiB when all are open. An honest
/// TLS connection takes about 50 KiB. The worst one without a proof takes about 150 KiB.
const CONNECTIONS_MAX: usize = 16_384;

/// The most connections without a valid proof: 1,024 times 150 KiB are 150 MiB.
const UNPROVEN_CONNECTIONS_MAX: usize = 1_024;

/// The most connections without a valid proof of one address. When a fleet behind one address comes back
/// at once, so many can be in their handshakes.
const UNPROVEN_CONNECTIONS_EACH: usize = 512;

/// The most connections of one caller.
const CALLER_CONNECTIONS_MAX: usize = 1_024;

/// The most connections to the admin's Unix socket.
const ADMIN_CONNECTIONS_MAX: usize = 32;

/// The most connections to the metrics listener.
const METRICS_CONNECTIONS_MAX: usize = 32;

/// File descriptors that are not connections of peers: standard streams, poll and signals (10), the
/// store and its files (20), listeners and locks (10), files that are read or written for a moment (20),
/// connections to issuers of keys, witnesses and the collector (60), accepted ones that are being closed (8).
const OWN_DESCRIPTORS: usize = 128;

/// The least number of descriptors for connections. With fewer a broker does not start.
const CONNECTIONS_MIN: usize = 16;

/// The most calls of proven callers in work at once, for each core. A call that waits for the disk is
/// not in work. A new call waits for all in work: 16 times 0.6 ms. With fewer turns the broker idles
/// between refusals during a flood. With more, callers with few calls wait longer (docs/BENCHMARKS,
/// "Overload").
const TURNS_EACH_CORE: usize = 16;

/// The same, on the largest machine: four batches of the store.
const TURNS_MAX: usize = 1_024;

/// The most calls of proven callers in work or waiting for the disk, for each core. Fewer make the
/// store's batches smaller. More make the next call wait longer.
const BEGUN_EACH_CORE: usize = 32;

/// The same, on a machine of one core, where the committer thread shares the core.
const BEGUN_ONE_CORE: usize = 24;

/// How long a waiting call counts as begun. It is longer than a batch takes. It is short enough for
/// others when an issuer's keys come slowly.
pub(crate) const WAITS_MAX: Duration = Duration::from_millis(250);

/// The most calls in work at once without a valid proof. Each checks signatures for at most 0.3 ms, or
/// is a health check. A call that waits for an issuer's keys gives its turn back.
pub(crate) const TURNS_STRANGERS: usize = 8;

/// The most calls in one lane, in work or waiting. Above it only shares with fewer than two calls are
/// let in. Headers and messages are counted as bytes; the rest is 4 KiB for each call, so 32 MiB.
const LANE_MAX: usize = 8_192;

/// The bounds of the lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneBounds {
    /// The most calls of proven callers in work at once.
    pub(crate) turns: usize,
    /// The most calls in work at once in the lane of calls that must have room.
    pub(crate) turns_urgent: usize,
    /// The most calls of proven callers in work or waiting for the disk.
    pub(crate) begun: usize,
    /// The most calls in one lane.
    pub(crate) total: usize,
}

/// The bounds of one listener's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionBounds {
    /// The most connections.
    pub(crate) total: usize,
    /// The most connections without a valid proof.
    pub(crate) unproven: usize,
    /// The most connections without a valid proof of one address.
    pub(crate) unproven_each: usize,
    /// The most connections of one proven caller.
    pub(crate) caller: usize,
    /// Seconds until the first request.
    pub(crate) first_request: u64,
    /// Seconds without a request, before a valid proof.
    pub(crate) unproven_idle: u64,
    /// Seconds without a request, after a valid proof.
    pub(crate) proven_idle: u64,
    /// Bytes of requests in flight on one connection.
    pub(crate) bytes: usize,
}

/// The bounds of bytes of requests in flight. Headers and bodies are counted once. During a decision up
/// to three copies of a message exist: as it came, decoded, and its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteBounds {
    /// For proven callers: 8 MiB are eight reports, or a thousand calls.
    pub(crate) proven: Shares,
    /// In addition, for calls that must have room: a chain of 64 KiB and its token, for 64 agents.
    pub(crate) reserve: Shares,
    /// The same, for the admin only.
    pub(crate) admin: Shares,
    /// For callers without a valid proof: eight addresses of 2 MiB, and each is a hundred enrollments at
    /// once.
    pub(crate) unproven: Shares,
    /// In addition, for health checks and the end of a login.
    pub(crate) unproven_reserve: Shares,
}

/// The bounds of calls in flight without a valid proof.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallBounds {
    /// Enrollments, trust bundles, reflection, HTTP.
    pub(crate) unproven: Shares,
    /// Health checks, and the end of a login.
    pub(crate) reserve: Shares,
}

/// All bounds of a broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections to the TCP address.
    pub(crate) tcp: ConnectionBounds,
    /// Connections to the admin's Unix socket.
    pub(crate) local: ConnectionBounds,
    /// Connections to the metrics listener.
    pub(crate) metrics: ConnectionBounds,
    /// Bytes of requests in flight.
    pub(crate) bytes: ByteBounds,
    /// Calls in flight without a valid proof.
    pub(crate) calls: CallBounds,
    /// Calls in work.
    pub(crate) lanes: LaneBounds,
}

/// The process may open too few file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFew {
    /// How many the process may open.
    pub(crate) found: usize,
    /// How many are needed.
    pub(crate) needed: usize,
}

impl Bounds {
    /// Returns the bounds for this many file descriptors. An error if there are too few.
    pub(crate) fn of(descriptors: usize) -> Result<Self, TooFew> {
        let reserve = OWN_DESCRIPTORS + ADMIN_CONNECTIONS_MAX + METRICS_CONNECTIONS_MAX;
        let total = descriptors.saturating_sub(reserve).min(CONNECTIONS_MAX);
        if total < CONNECTIONS_MIN {
            return Err(TooFew { found: descriptors, needed: reserve + CONNECTIONS_MIN });
        }
        // Half of all is always left to proven callers. Of the other half no address gets more than half.
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

/// Returns the number of cores that this process may use; 1 if it is unknown.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Raises the limit of file descriptors as far as permitted, and returns it.
pub(crate) fn descriptors() -> usize {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        // If raising it is refused, the earlier limit stays.
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
