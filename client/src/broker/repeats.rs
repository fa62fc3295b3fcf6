//! Retries: the wait before each, and how many there may be.
//!
//! Owns: the wait between attempts, and the budget for retrying refused calls. Does not own: which
//! failures may be retried (`error`), the attempts (`connect`).
//!
//! Invariants: of the calls that an overloaded broker refuses, at most one in ten is retried, so
//! retries do not keep it overloaded.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::ports::Ports;

/// The greatest number of attempts of one call, including the first.
pub(crate) const ATTEMPTS_MAX: u32 = 4;

/// The wait before the second attempt, in milliseconds. It doubles with each attempt: 0.1 + 0.2 +
/// 0.4 s.
pub(crate) const BACK_OFF_MS: u64 = 100;

/// The longest wait that a broker may ask for.
const ASKED_MAX: Duration = Duration::from_secs(5);

/// The cost of one retry. Each call adds 1 to the budget.
const REPEAT_COST: u32 = 10;

/// The greatest budget: ten retries in a row.
const SAVED_MAX: u32 = 100;

/// The budget for retrying refused calls: one retry for ten calls, and ten at the start.
#[derive(Debug)]
pub(crate) struct RepeatBudget(AtomicU32);

impl Default for RepeatBudget {
    fn default() -> Self {
        RepeatBudget(AtomicU32::new(SAVED_MAX))
    }
}

impl RepeatBudget {
    /// Adds the share of one call to the budget.
    pub(crate) fn called(&self) {
        let more = |saved: u32| Some(saved.saturating_add(1).min(SAVED_MAX));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes the cost of one retry from the budget. Returns whether there was enough.
    pub(crate) fn take(&self) -> bool {
        let less = |saved: u32| saved.checked_sub(REPEAT_COST);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// Returns the wait before an attempt: it doubles from attempt to attempt, and half of it is
/// random, so that a fleet does not retry at once.
pub(crate) fn back_off(ports: &Ports, attempt: u32, first_ms: u64) -> Duration {
    let most = first_ms.saturating_mul(1 << attempt.saturating_sub(1).min(6));
    let half = most / 2;
    Duration::from_millis(half.saturating_add(ports.jitter(half.saturating_add(1))))
}

/// Returns a random wait between what the broker asked for and twice that, with a bound on what it
/// may ask for.
pub(crate) fn asked(ports: &Ports, asked: Duration) -> Duration {
    let asked = asked.min(ASKED_MAX);
    let millis = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX);
    asked.saturating_add(Duration::from_millis(ports.jitter(millis.saturating_add(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_and_is_bounded() {
        let ports = Ports::system();
        for (attempt, most) in [(1, 100), (2, 200), (3, 400), (50, 6_400)] {
            let wait = back_off(&ports, attempt, 100).as_millis();
            assert!((most / 2..=most).contains(&wait), "{attempt}: {wait}");
        }
    }

    #[test]
    fn what_is_asked_for_is_waited_and_no_hour() {
        let ports = Ports::system();
        for (millis, most) in [(0, 0), (200, 400), (3_600_000, 10_000)] {
            let wait = asked(&ports, Duration::from_millis(millis)).as_millis();
            assert!((most / 2..=most).contains(&wait), "{millis}: {wait}");
        }
    }

    #[test]
    fn one_call_in_ten_may_be_a_repeat() {
        let budget = RepeatBudget::default();
        let repeats = (0..1_000).filter(|_| {
            budget.called();
            budget.take()
        });
        // The ten that were saved, and a tenth of all but the first call.
        assert_eq!(repeats.count(), 109);
    }
}
