//! The lanes of the broker: which calls wait for which others.
//!
//! Owns: the four lanes and how many turns each has. Does not own: the order inside one (`turns`).
//!
//! Invariants: what takes authority away, renews it or shows that the broker is there waits for nothing
//! else; whoever has not proven itself takes no turn of those who have.

use std::sync::Arc;

use super::bounds::{LaneBounds, TURNS_STRANGERS};
use super::share::Share;
use super::turns::{TurnBounds, Turns};

/// All lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    proven: Arc<Turns>,
    urgent: Arc<Turns>,
    strangers: Arc<Turns>,
    strangers_urgent: Arc<Turns>,
}

impl Lanes {
    /// Lanes that nobody is in.
    pub(crate) fn new(bounds: &LaneBounds) -> Self {
        let lane = |turns, begun| Turns::new(TurnBounds { turns, begun, total: bounds.total });
        Lanes {
            proven: lane(bounds.turns, bounds.begun),
            urgent: lane(bounds.turns_urgent, bounds.begun),
            // Those that wait for an issuer's keys are bounded by their calls in flight.
            strangers: lane(TURNS_STRANGERS, bounds.total),
            strangers_urgent: lane(TURNS_STRANGERS, bounds.total),
        }
    }

    /// The lane of a call of this share, which must have room or not.
    pub(crate) fn of(&self, share: &Share, must_have_room: bool) -> &Arc<Turns> {
        match (share.is_proven(), must_have_room) {
            (true, false) => &self.proven,
            (true, true) => &self.urgent,
            (false, false) => &self.strangers,
            (false, true) => &self.strangers_urgent,
        }
    }

    /// Calls in all lanes, and those of them that are in work.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let lanes = [&self.proven, &self.urgent, &self.strangers, &self.strangers_urgent];
        lanes
            .iter()
            .map(|lane| lane.counts())
            .fold((0, 0), |sum, lane| (sum.0.saturating_add(lane.0), sum.1.saturating_add(lane.1)))
    }
}
