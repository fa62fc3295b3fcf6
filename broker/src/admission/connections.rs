//! The connections of one listener: how many each peer has, and which one is closed when there are too many.
//!
//! Owns: the table, its bounds, deadlines. Does not own: accepting (`listen`), bytes on the way
//! (`watched`), what a valid proof is (`authenticate`).
//!
//! Invariants: there are never more than `total` connections, with those that are being closed. While
//! there is a stranger, no proven connection is closed for a new one. Of strangers the oldest is closed,
//! so staying silent does not help. A connection with a request in flight is not idle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::account::{Account, Address, Network};
use super::bounds::ConnectionBounds;
use super::link::{self, Link, Peer};
use super::notices::{Bound, Notices, Seconds};
use super::pool::{Pool, Shares};

/// How long a new connection waits for the place of one that was told to close.
const PLACE_DEADLINE: Duration = Duration::from_secs(1);

/// The connections of one listener.
#[derive(Debug)]
pub(crate) struct Connections {
    bounds: ConnectionBounds,
    /// Whether strangers are counted by address. False behind a proxy, where all have its address.
    by_address: bool,
    table: Mutex<Table>,
    places: Arc<Semaphore>,
    seconds: Seconds,
    notices: Arc<Notices>,
}

/// The table. Ids grow in order of arrival, so the first id of a set is its oldest connection.
#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Entry>,
    unproven: BTreeSet<u64>,
    networks: HashMap<Network, BTreeSet<u64>>,
    callers: HashMap<Account, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Entry {
    link: Arc<Link>,
    caller: Option<Account>,
}

/// A connection's place in the table. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    link: Arc<Link>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Returns the shared facts of the connection.
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().remove(self.link.id());
    }
}

/// Returns the table that a connection reports to.
fn table_of(connections: &Arc<Connections>) -> Weak<dyn link::Table> {
    let table: Arc<dyn link::Table> = connections.clone();
    Arc::downgrade(&table)
}

impl link::Table for Connections {
    /// Notes that this caller made a valid proof on this connection, which then counts for the caller.
    fn proven(&self, id: u64, account: &Account) {
        let mut table = self.lock();
        let Some(entry) = table.open.get(&id).filter(|entry| !entry.link.is_closing()) else {
            return;
        };
        let peer = entry.link.peer();
        table.leave(id, peer.network);
        if let Some(entry) = table.open.get_mut(&id) {
            entry.caller = Some(account.clone());
        }
        let own = table.callers.entry(account.clone()).or_default();
        own.insert(id);
        let number = own.len();
        if number > self.bounds.caller {
            let others: Vec<u64> = own.iter().copied().filter(|other| *other != id).collect();
            if let Some(victim) = table.oldest_idle(&others).or(others.first().copied()) {
                self.close(&mut table, victim, Bound::CallerConnections, number);
            }
        }
    }
}

impl Connections {
    /// Makes a table without connections.
    pub(crate) fn new(
        bounds: ConnectionBounds,
        by_address: bool,
        seconds: Seconds,
        notices: Arc<Notices>,
    ) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(bounds.total));
        let table = Mutex::default();
        Arc::new(Connections { bounds, by_address, table, places, seconds, notices })
    }

    /// Returns the number of open connections, and of those with a valid proof.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let table = self.lock();
        let proven = table.callers.values().map(BTreeSet::len).fold(0, usize::saturating_add);
        (table.open.len(), proven)
    }

    /// Returns a place for a new connection. At a bound another connection is closed for it; `None` if
    /// none can be closed.
    pub(crate) async fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let permit = match self.places.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                if !self.close_one(Bound::Connections, address) {
                    return None;
                }
                let freed = self.places.clone().acquire_owned();
                tokio::time::timeout(PLACE_DEADLINE, freed).await.ok()?.ok()?
            }
        };
        let mut table = self.lock();
        let id = table.next;
        table.next = id.saturating_add(1);
        let network = address.filter(|_| self.by_address).map(Network::of);
        let bytes = Pool::new(Shares { each: self.bounds.bytes, all: self.bounds.bytes });
        let peer = Peer { id, address, network };
        let link = Link::new(peer, table_of(self), self.seconds.clone(), bytes);
        table.open.insert(id, Entry { link: link.clone(), caller: None });
        table.unproven.insert(id);
        if let Some(network) = network {
            table.networks.entry(network).or_default().insert(id);
        }
        self.keep_unproven_in_bounds(&mut table, network);
        Some(Place { connections: self.clone(), link, _permit: permit })
    }

    fn keep_unproven_in_bounds(&self, table: &mut Table, network: Option<Network>) {
        let of_network = network.and_then(|network| table.networks.get(&network));
        let number = of_network.map_or(0, BTreeSet::len);
        let oldest = of_network.and_then(BTreeSet::first).copied();
        if let Some(oldest) = oldest.filter(|_| number > self.bounds.unproven_each) {
            self.close(table, oldest, Bound::AddressConnections, number);
        }
        let (number, oldest) = (table.unproven.len(), table.unproven.first().copied());
        if let Some(oldest) = oldest.filter(|_| number > self.bounds.unproven) {
            self.close(table, oldest, Bound::UnprovenConnections, number);
        }
    }

    /// Closes one connection for a new one from this address: the oldest stranger; or, without
    /// strangers, the oldest idle connection of the caller that has most. Returns whether one was closed.
    pub(crate) fn close_one(&self, bound: Bound, by: Option<IpAddr>) -> bool {
        let mut table = self.lock();
        let most = || table.callers.values().max_by_key(|own| own.len());
        let victim = table.unproven.first().copied().or_else(|| {
            let own: Vec<u64> = most()?.iter().copied().collect();
            table.oldest_idle(&own)
        });
        let number = table.open.len();
        match victim {
            Some(victim) => self.close(&mut table, victim, bound, number),
            None => drop(self.notices.met(bound, &Address(by), number)),
        }
        victim.is_some()
    }

    /// Called every second. Closes connections past their deadline, and ends every pause of reading.
    pub(crate) fn look(&self) {
        let mut table = self.lock();
        table.open.values().for_each(|entry| entry.link.resume());
        let now = self.seconds.now();
        let over: Vec<(u64, Bound)> = table
            .open
            .iter()
            .filter(|(_, entry)| !entry.link.is_closing())
            .filter_map(|(id, entry)| {
                let idle = entry.link.idle(now)?;
                let (at_most, bound) = match (entry.link.was_asked(), &entry.caller) {
                    (false, _) => (self.bounds.first_request, Bound::FirstRequest),
                    (true, None) => (self.bounds.unproven_idle, Bound::Idle),
                    (true, Some(_)) => (self.bounds.proven_idle, Bound::Idle),
                };
                (idle >= at_most).then_some((*id, bound))
            })
            .collect();
        let number = table.open.len();
        for (id, bound) in over {
            self.close(&mut table, id, bound, number);
        }
    }

    /// Tells a connection to close, and removes it from every set except that of open ones. It stays
    /// there until its socket is closed.
    fn close(&self, table: &mut Table, id: u64, bound: Bound, number: usize) {
        let Some(link) = table.open.get(&id).map(|entry| entry.link.clone()) else { return };
        table.leave(id, link.peer().network);
        self.notices.met(bound, &Address(link.peer().address), number);
        link.close();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table holds sets of numbers. `remove` takes out an entry that a panic left behind.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Removes a connection from the sets that bounds count.
    fn leave(&mut self, id: u64, network: Option<Network>) {
        self.unproven.remove(&id);
        if let Some(network) = network {
            remove(&mut self.networks, &network, id);
        }
        let caller = self.open.get_mut(&id).and_then(|entry| entry.caller.take());
        if let Some(caller) = caller {
            remove(&mut self.callers, &caller, id);
        }
    }

    fn remove(&mut self, id: u64) {
        let network = self.open.get(&id).and_then(|entry| entry.link.peer().network);
        self.leave(id, network);
        self.open.remove(&id);
    }

    /// Returns the oldest of these without a request in flight; `None` if all have one.
    fn oldest_idle(&self, ids: &[u64]) -> Option<u64> {
        let idle = |id: &&u64| self.open.get(id).is_some_and(|entry| !entry.link.is_busy());
        ids.iter().find(idle).copied()
    }
}

fn remove<K: std::hash::Hash + Eq>(sets: &mut HashMap<K, BTreeSet<u64>>, key: &K, id: u64) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(&id);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
