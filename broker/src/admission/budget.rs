//! Bytes of requests in flight: headers and bodies, from their arrival until the answer begins.
//!
//! Owns: the order of the levels (connection, account, all) and the reserves beside them. Does not own:
//! reading a body (`body`), who calls (`gate`).
//!
//! Invariants: bytes are counted before they are kept. Bytes that do not fit are refused at once and
//! take nothing. A call that must have room (SPEC 5.7.2) gets it from a reserve of its caller when the
//! rest is full.

use std::sync::Arc;

use sublet_core::decide::caller;
use sublet_core::refusal::Overload;

use super::account::Account;
use super::bounds::ByteBounds;
use super::notices::Bound;
use super::pool::{Full, Pool, Taken};

/// The byte counts of the process.
pub(crate) struct Budget {
    proven: Arc<Pool>,
    reserve: Arc<Pool>,
    admin: Arc<Pool>,
    unproven: Arc<Pool>,
    unproven_reserve: Arc<Pool>,
}

impl Budget {
    /// Makes a budget with nothing in use.
    pub(crate) fn new(bounds: &ByteBounds) -> Self {
        Budget {
            proven: Pool::new(bounds.proven),
            reserve: Pool::new(bounds.reserve),
            admin: Pool::new(bounds.admin),
            unproven: Pool::new(bounds.unproven),
            unproven_reserve: Pool::new(bounds.unproven_reserve),
        }
    }

    /// Starts the count of a request of a proven caller, at 0 bytes.
    pub(crate) fn proven(
        &self,
        connection: Option<&Arc<Pool>>,
        account: Option<Account>,
        must_have_room: bool,
    ) -> Held {
        let reserve = match account {
            Some(Account::Caller(caller::Account::Admin)) => &self.admin,
            _ => &self.reserve,
        };
        let reserve = must_have_room.then(|| reserve.open(account.clone()));
        Held::new(connection, self.proven.open(account), reserve)
    }

    /// Starts the count of a request without a valid proof, at 0 bytes. Without an address only the
    /// bound of all holds.
    pub(crate) fn unproven(
        &self,
        connection: Option<&Arc<Pool>>,
        address: Option<Account>,
        must_have_room: bool,
    ) -> Held {
        let reserve = must_have_room.then(|| self.unproven_reserve.open(address.clone()));
        Held::new(connection, self.unproven.open(address), reserve)
    }

    /// Returns the bytes in use now.
    pub(crate) fn used(&self) -> usize {
        let pools =
            [&self.proven, &self.reserve, &self.admin, &self.unproven, &self.unproven_reserve];
        pools.into_iter().map(|pool| pool.used()).fold(0, usize::saturating_add)
    }
}

/// The bytes of one request. They are given back when it is dropped.
pub(crate) struct Held {
    connection: Option<Taken>,
    share: Taken,
    reserve: Option<Taken>,
}

/// There is no room for more bytes, because of this bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom(pub(crate) Bound);

impl From<NoRoom> for Overload {
    fn from(full: NoRoom) -> Self {
        Overload::Bytes(match full.0 {
            Bound::ConnectionBytes => "this connection",
            Bound::CallerBytes => "this caller",
            _ => "all callers",
        })
    }
}

impl Held {
    fn new(connection: Option<&Arc<Pool>>, share: Taken, reserve: Option<Taken>) -> Self {
        Held { connection: connection.map(|pool| pool.open(None)), share, reserve }
    }

    /// Takes this many more bytes. If they do not fit, takes none.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let taken = self.grow_in_turn(bytes);
        let Some(reserve) = self.reserve.as_mut().filter(|_| taken.is_err()) else { return taken };
        reserve.grow(bytes).or(taken)
    }

    fn grow_in_turn(&mut self, bytes: usize) -> Result<(), NoRoom> {
        if let Some(connection) = &mut self.connection {
            connection.grow(bytes).map_err(|_| NoRoom(Bound::ConnectionBytes))?;
        }
        let taken = self.share.grow(bytes);
        if let (Err(_), Some(connection)) = (&taken, &mut self.connection) {
            connection.shrink(bytes);
        }
        taken.map_err(|full| match full {
            Full::Each => NoRoom(Bound::CallerBytes),
            Full::All => NoRoom(Bound::AllBytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::account::Network;
    use crate::admission::pool::Shares;

    fn budget() -> Budget {
        let shares = |each, all| Shares { each, all };
        Budget::new(&ByteBounds {
            proven: shares(20, 30),
            reserve: shares(4, 8),
            admin: shares(5, 5),
            unproven: shares(6, 9),
            unproven_reserve: shares(2, 4),
        })
    }

    fn agent(name: &str) -> Option<Account> {
        let id = format!("spiffe://acme.example/agent/{name}").parse().unwrap();
        Some(Account::Caller(caller::Account::Agent(id)))
    }

    fn address(last: u8) -> Option<Account> {
        Some(Account::Network(Network::of([127, 0, 0, last].into())))
    }

    // SPEC 5.7, 5.7.1.
    #[test]
    fn the_connection_is_full_before_its_caller_and_the_caller_before_all() {
        let (budget, connection) = (budget(), Pool::new(Shares { each: 10, all: 10 }));
        let mut first = budget.proven(Some(&connection), agent("a"), false);
        first.grow(10).unwrap();
        assert_eq!(first.grow(1), Err(NoRoom(Bound::ConnectionBytes)));
        let mut second = budget.proven(None, agent("a"), false);
        second.grow(10).unwrap();
        assert_eq!(second.grow(1), Err(NoRoom(Bound::CallerBytes)));
        // Another caller has room for what is left.
        let other_connection = Pool::new(Shares { each: 99, all: 99 });
        let mut other = budget.proven(Some(&other_connection), agent("b"), false);
        other.grow(10).unwrap();
        assert_eq!(other.grow(1), Err(NoRoom(Bound::AllBytes)));
        // Bytes that did not fit are not counted for the connection either.
        assert_eq!((other_connection.used(), budget.used()), (10, 30));
        drop((first, second, other));
        assert_eq!((other_connection.used(), connection.used(), budget.used()), (0, 0, 0));
    }

    // SPEC 5.7.2.
    #[test]
    fn what_must_have_room_has_some_when_all_else_is_full() {
        let budget = budget();
        let mut held: Vec<Held> = Vec::new();
        for name in ["a", "b"] {
            let mut of = budget.proven(None, agent(name), false);
            while of.grow(1).is_ok() {}
            held.push(of);
        }
        assert_eq!(budget.proven(None, agent("c"), false).grow(1), Err(NoRoom(Bound::AllBytes)));
        let mut revoke = budget.proven(None, agent("c"), true);
        assert_eq!(revoke.grow(4), Ok(()));
        // No caller takes another's reserve, and none takes the admin's.
        assert_eq!(revoke.grow(1), Err(NoRoom(Bound::AllBytes)));
        let mut other = budget.proven(None, agent("d"), true);
        assert_eq!(other.grow(4), Ok(()));
        assert!(budget.proven(None, agent("e"), true).grow(1).is_err());
        assert_eq!(
            budget.proven(None, Some(Account::Caller(caller::Account::Admin)), true).grow(5),
            Ok(())
        );
        // Callers without a proof have pools of their own.
        let mut stranger = budget.unproven(None, address(1), false);
        assert_eq!(stranger.grow(6), Ok(()));
        assert_eq!(stranger.grow(1), Err(NoRoom(Bound::CallerBytes)));
    }

    #[test]
    fn strangers_do_not_take_what_is_kept_for_health() {
        let budget = budget();
        let (mut one, mut other) =
            (budget.unproven(None, address(1), false), budget.unproven(None, address(2), false));
        one.grow(6).unwrap();
        other.grow(3).unwrap();
        assert_eq!(other.grow(1), Err(NoRoom(Bound::AllBytes)));
        assert_eq!(budget.unproven(None, address(3), true).grow(2), Ok(()));
        assert_eq!(budget.unproven(None, address(1), true).grow(2), Ok(()));
    }
}
