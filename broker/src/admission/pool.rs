//! A number of units with two bounds: one for each account and one for all.
//!
//! Owns: taking units, and giving them back when a [`Taken`] is dropped. Does not own: what a unit is.
//!
//! Invariants: no account has more than `each`, and all together have no more than `all`. An account
//! without units takes no memory. Units are given back exactly once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::account::Account;

/// The two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// The most units of one account.
    pub(crate) each: usize,
    /// The most units of all accounts together.
    pub(crate) all: usize,
}

/// Which bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The bound of this account.
    Each,
    /// The bound of all.
    All,
}

/// A pool of units.
#[derive(Debug)]
pub(crate) struct Pool {
    shares: Shares,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: usize,
    each: HashMap<Account, usize>,
}

impl Pool {
    /// Makes a pool with no unit in use.
    pub(crate) fn new(shares: Shares) -> Arc<Self> {
        Arc::new(Pool { shares, used: Mutex::default() })
    }

    /// Returns the units in use, of all accounts.
    pub(crate) fn used(&self) -> usize {
        self.lock().all
    }

    /// Starts a count at 0 for this account. With `None` only the bound of all holds.
    pub(crate) fn open(self: &Arc<Self>, account: Option<Account>) -> Taken {
        Taken { pool: self.clone(), account, units: 0 }
    }

    fn take(&self, account: Option<&Account>, units: usize) -> Result<(), Full> {
        let mut used = self.lock();
        let all = used.all.saturating_add(units);
        if let Some(account) = account {
            let each = used.each.get(account).copied().unwrap_or(0).saturating_add(units);
            if each > self.shares.each {
                return Err(Full::Each);
            }
            if all > self.shares.all {
                return Err(Full::All);
            }
            if units > 0 {
                used.each.insert(account.clone(), each);
            }
        } else if all > self.shares.all {
            return Err(Full::All);
        }
        used.all = all;
        Ok(())
    }

    fn give(&self, account: Option<&Account>, units: usize) {
        let mut used = self.lock();
        used.all = used.all.saturating_sub(units);
        let Some(account) = account else { return };
        let left = used.each.get(account).copied().unwrap_or(0).saturating_sub(units);
        match left {
            0 => drop(used.each.remove(account)),
            left => drop(used.each.insert(account.clone(), left)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        // Both numbers change together, and nothing in between can panic.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The units of one holder. They are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    pool: Arc<Pool>,
    account: Option<Account>,
    units: usize,
}

impl Taken {
    /// Takes this many more units. If they do not fit, takes none.
    pub(crate) fn grow(&mut self, units: usize) -> Result<(), Full> {
        self.pool.take(self.account.as_ref(), units)?;
        self.units = self.units.saturating_add(units);
        Ok(())
    }

    /// Gives this many units back.
    pub(crate) fn shrink(&mut self, units: usize) {
        let units = units.min(self.units);
        self.units -= units;
        self.pool.give(self.account.as_ref(), units);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.pool.give(self.account.as_ref(), self.units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::account::Network;

    fn account(last: u8) -> Option<Account> {
        Some(Account::Network(Network::of([127, 0, 0, last].into())))
    }

    // SPEC 5.7.
    #[test]
    fn one_account_cannot_take_what_is_anothers() {
        let pool = Pool::new(Shares { each: 2, all: 3 });
        let (mut one, mut other) = (pool.open(account(1)), pool.open(account(2)));
        assert_eq!((one.grow(1), one.grow(1), one.grow(1)), (Ok(()), Ok(()), Err(Full::Each)));
        assert_eq!((other.grow(1), other.grow(1)), (Ok(()), Err(Full::All)));
        assert_eq!(pool.open(None).grow(1), Err(Full::All));
        // Units that did not fit were not taken.
        assert_eq!(pool.used(), 3);
        one.shrink(1);
        assert_eq!((pool.used(), other.grow(1)), (2, Ok(())));
    }

    #[test]
    fn what_is_dropped_is_given_back_and_forgotten() {
        let pool = Pool::new(Shares { each: 8, all: 8 });
        let mut taken = pool.open(account(1));
        taken.grow(5).unwrap();
        drop(taken);
        assert_eq!(pool.used(), 0);
        assert!(pool.lock().each.is_empty());
    }

    #[test]
    fn nothing_overflows() {
        let pool = Pool::new(Shares { each: usize::MAX, all: usize::MAX - 1 });
        let mut taken = pool.open(account(1));
        taken.grow(1).unwrap();
        assert_eq!(taken.grow(usize::MAX), Err(Full::All));
    }
}
