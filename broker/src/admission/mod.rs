//! What a peer of the network can take of the broker. SPEC 5.7; docs/RELIABILITY.
//!
//! Owns: connections (`connections`), bytes and calls in flight (`budget`, `pool`), letting requests in
//! (`gate`, `enter`), whose turn it is (`lanes`, `turns`). Does not own: sockets (`listen`), who a caller is (`authenticate`), what may be done.
//!
//! Invariants: each bound is of one caller before it is of all; before anybody has proven itself the
//! caller is an address, and a claimed name is nobody's; what takes authority away, renews it, or shows
//! that the broker is there has room of its own.

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

/// How often deadlines of connections are looked at, which is what their seconds are counted by.
const SECOND: Duration = Duration::from_secs(1);

/// The bounds of a broker, and what is taken of them.
pub(crate) struct Admission {
    /// Connections to its TCP address.
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
    /// Nothing is taken yet. Where a proxy ends TLS, all strangers have its address.
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

    /// Closes what is over its deadline, for as long as the broker runs.
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

    /// Bytes of requests in flight.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.used()
    }

    /// Calls that were let into a lane, and those of them that are in work.
    pub(crate) fn calls(&self) -> (usize, usize) {
        self.lanes.counts()
    }

    /// How often each bound was met since the start.
    pub(crate) fn met(&self) -> impl Iterator<Item = (Bound, u64)> {
        Bound::ALL.into_iter().map(|bound| (bound, self.notices.count(bound)))
    }
}
