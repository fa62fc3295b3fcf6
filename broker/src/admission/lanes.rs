//! The lanes of the broker. Calls wait only for calls of the same lane.
//!
//! Owns: the four lanes and their numbers of turns. Does not own: the order inside a lane (`turns`).
//!
//! Invariants: calls that end authority, renew it, or show that the broker is alive do not wait for
//! other calls. Callers without a proof take no turn of proven callers.

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
    /// Makes empty lanes.
    pub(crate) fn new(bounds: &LaneBounds) -> Self {
        let lane = |turns, begun| Turns::new(TurnBounds { turns, begun, total: bounds.total });
        Lanes {
            proven: lane(bounds.turns, bounds.begun),
            urgent: lane(bounds.turns_urgent, bounds.begun),
            // Calls that wait for an issuer's keys are bounded by the number of calls in flight.
            strangers: lane(TURNS_STRANGERS, bounds.total),
            strangers_urgent: lane(TURNS_STRANGERS, bounds.total),
        }
    }

    /// Returns the lane of a call of this share; `must_have_room` selects a lane of its own.
    pub(crate) fn of(&self, share: &Share, must_have_room: bool) -> &Arc<Turns> {
        match (share.is_proven(), must_have_room) {
            (true, false) => &self.proven,
            (true, true) => &self.urgent,
            (false, false) => &self.strangers,
            (false, true) => &self.strangers_urgent,
        }
    }

    /// Returns the number of calls in all lanes, and of those in work.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let lanes = [&self.proven, &self.urgent, &self.strangers, &self.strangers_urgent];
        lanes
            .iter()
            .map(|lane| lane.counts())
            .fold((0, 0), |sum, lane| (sum.0.saturating_add(lane.0), sum.1.saturating_add(lane.1)))
    }
}
