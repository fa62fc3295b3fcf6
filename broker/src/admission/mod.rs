//! The limits for peers of the network. SPEC 5.7; docs/RELIABILITY.
//!
//! Owns: connections (`connections`), bytes and calls in flight (`budget`, `pool`), letting requests in
//! (`gate`, `enter`), the order in which calls are served (`lanes`, `turns`). Does not own: sockets
//! (`listen`), who a caller is (`authenticate`), what a caller may do.
//!
//! Invariants: each bound holds for one caller before it holds for all. Before a proof the caller is an
//! address; a claimed name counts for nothing. Calls that end authority, renew it, or show that the
//! broker is alive have room of their own.

mod account;
mod body;
mod bounds;
mod budget;
mod connections;
mod enter;
mod gate;
mod head;
mod lanes;
mod link;
mod notices;
mod pool;
mod route;
mod share;
mod timed;
mod turns;
mod watched;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use account::{Account, Address, Network};
pub(crate) use bounds::{
    Bounds, CONNECTION_WINDOW_BYTES, HANDSHAKE_DEADLINE, STREAM_WINDOW_BYTES, STREAMS_MAX,
    descriptors,
};
pub(crate) use connections::Connections;
pub(crate) use gate::GateLayer;
pub(crate) use head::Head;
pub(crate) use link::Link;
pub(crate) use notices::Bound;
pub(crate) use pool::Pool;
pub(crate) use watched::Watched;

use budget::Budget;
use lanes::Lanes;
use notices::{Notices, Seconds};

/// How often the deadlines of connections are checked. Their seconds are counted by these checks.
const SECOND: Duration = Duration::from_secs(1);

/// The bounds of a broker, and what is in use of them.
pub(crate) struct Admission {
    /// Connections to the TCP address.
    pub(crate) tcp: Arc<Connections>,
    /// Connections to the admin's Unix socket.
    pub(crate) local: Arc<Connections>,
    /// Connections to the metrics listener.
    pub(crate) metrics: Arc<Connections>,
    bytes: Budget,
    unproven_calls: Arc<Pool>,
    reserved_calls: Arc<Pool>,
    lanes: Lanes,
    seconds: Seconds,
    notices: Arc<Notices>,
}

impl Admission {
    /// Makes it with nothing in use. `by_address` is false behind a proxy, where all strangers have one
    /// address.
    pub(crate) fn new(bounds: &Bounds, by_address: bool) -> Arc<Self> {
        let seconds = Seconds::default();
        let notices = Notices::new(seconds.clone());
        let connections = |bounds, by_address| {
            Connections::new(bounds, by_address, seconds.clone(), notices.clone())
        };
        Arc::new(Admission {
            tcp: connections(bounds.tcp, by_address),
            local: connections(bounds.local, false),
            metrics: connections(bounds.metrics, false),
            bytes: Budget::new(&bounds.bytes),
            unproven_calls: Pool::new(bounds.calls.unproven),
            reserved_calls: Pool::new(bounds.calls.reserve),
            lanes: Lanes::new(&bounds.lanes),
            seconds,
            notices,
        })
    }

    /// Closes connections that are past their deadline, for as long as the broker runs.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SECOND);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.seconds.pass();
            for connections in [&self.tcp, &self.local, &self.metrics] {
                connections.look();
            }
        }
    }

    /// Returns the bytes of requests in flight.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.used()
    }

    /// Returns the number of calls in a lane, and of those in work.
    pub(crate) fn calls(&self) -> (usize, usize) {
        self.lanes.counts()
    }

    /// Returns how often each bound was met since the start.
    pub(crate) fn met(&self) -> impl Iterator<Item = (Bound, u64)> {
        Bound::ALL.into_iter().map(|bound| (bound, self.notices.count(bound)))
    }
}
