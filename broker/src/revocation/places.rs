//! Places for the watchers of the revocation feed.
//!
//! Owns: how many places there are, and how many one caller may have. Does not own: who may watch.
//!
//! Invariants: each caller has a bound. The last places are reserved for callers with few, so that a new
//! tool always finds one. A place is free again when it is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sublet_core::refusal::Overload;

use crate::request::refusals::Charged;

/// The most places of all callers: 100 MB when all are taken. Each costs a task and a buffer of a few KiB.
const TOTAL_MAX: usize = 10_000;

/// The most places of one caller: an agent that watches in this many processes.
const PER_CALLER_MAX: usize = 256;

/// The places that are reserved for callers with fewer than [`FEW`]. Even if 36 callers take all that
/// they may, 250 tools find their first four.
const RESERVED: usize = 1_000;

/// See [`RESERVED`].
const FEW: usize = 4;

/// The places that are taken, by caller.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by: HashMap<Charged, usize>,
}

/// A place. It is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    charged: Charged,
}

impl Places {
    /// Takes a place for a caller. Refused if the caller has as many as it may, or if all are taken.
    pub(crate) fn take(self: &Arc<Self>, charged: Charged) -> Result<Place, Overload> {
        let mut taken = self.lock();
        let own = taken.by.get(&charged).copied().unwrap_or(0);
        if own >= PER_CALLER_MAX {
            return Err(Overload::Queue("this caller's watchers"));
        }
        let room = if own < FEW { TOTAL_MAX } else { TOTAL_MAX - RESERVED };
        if taken.total >= room {
            return Err(Overload::Queue("watchers"));
        }
        taken.total = taken.total.saturating_add(1);
        taken.by.insert(charged.clone(), own.saturating_add(1));
        Ok(Place { places: self.clone(), charged })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total = taken.total.saturating_sub(1);
        let own = taken.by.get(&self.charged).copied().unwrap_or(0);
        match own.saturating_sub(1) {
            0 => drop(taken.by.remove(&self.charged)),
            left => drop(taken.by.insert(self.charged.clone(), left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use sublet_core::decide::caller;

    use crate::admission::Account;

    use super::*;

    fn agent(number: usize) -> Charged {
        let id = format!("spiffe://acme.example/agent/a{number}");
        Some(Account::Caller(caller::Account::Agent(id.parse().unwrap())))
    }

    #[test]
    fn one_caller_takes_its_own_places_and_gives_them_back() {
        let places = Arc::new(Places::default());
        let mut held: Vec<Place> =
            (0..PER_CALLER_MAX).map(|_| places.take(agent(1)).unwrap()).collect();
        assert_eq!(places.take(agent(1)).unwrap_err().code(), "queue_full");
        assert!(places.take(agent(2)).is_ok());
        held.pop();
        assert!(places.take(agent(1)).is_ok());
        drop(held);
        let taken = places.lock();
        assert_eq!((taken.total, taken.by.len()), (0, 0));
    }

    #[test]
    fn callers_that_take_all_they_may_leave_a_new_tool_its_place() {
        let places = Arc::new(Places::default());
        let takes = (0..TOTAL_MAX).map(|n| places.take(agent(n / PER_CALLER_MAX)));
        let held: Vec<Place> = takes.filter_map(Result::ok).collect();
        assert!(held.len() < TOTAL_MAX - RESERVED + FEW * TOTAL_MAX / PER_CALLER_MAX);
        for tool in 0..200 {
            let own: Vec<_> = (0..FEW).map(|_| places.take(agent(100_000 + tool))).collect();
            assert!(own.iter().all(Result::is_ok), "tool {tool}");
        }
    }
}
