//! Which connection is closed at which bound, with small bounds and a clock that the test moves.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::admission::watched::Watched;

const SMALL: ConnectionBounds = ConnectionBounds {
    total: 16,
    unproven: 4,
    unproven_each: 2,
    caller: 2,
    first_request: 20,
    unproven_idle: 60,
    proven_idle: 3600,
    bytes: 100,
};

fn connections(bounds: ConnectionBounds) -> (Arc<Connections>, Seconds) {
    let seconds = Seconds::default();
    let notices = Notices::new(seconds.clone());
    (Connections::new(bounds, true, seconds.clone(), notices), seconds)
}

fn from(last: u8) -> Option<IpAddr> {
    Some([127, 0, 0, last].into())
}

fn agent(name: &str) -> Account {
    let id = format!("spiffe://acme.example/agent/{name}").parse().unwrap();
    Account::Caller(sublet_core::decide::caller::Account::Agent(id))
}

async fn some(connections: &Arc<Connections>, addresses: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    for last in addresses {
        places.push(connections.admit(from(*last)).await.unwrap());
    }
    places
}

fn closing(places: &[Place]) -> Vec<bool> {
    places.iter().map(|place| place.link().is_closing()).collect()
}

// SPEC 5.7.4.
#[tokio::test]
async fn the_oldest_of_an_address_goes_for_that_addresss_next_one_alone() {
    let (connections, _) = connections(SMALL);
    let places = some(&connections, &[1, 2, 1, 1]).await;
    assert_eq!(closing(&places), [true, false, false, false]);
    assert_eq!(connections.notices.count(Bound::AddressConnections), 1);
    assert_eq!(connections.notices.count(Bound::UnprovenConnections), 0);
}

#[tokio::test]
async fn the_oldest_of_all_goes_when_many_addresses_come() {
    let (connections, _) = connections(SMALL);
    let places = some(&connections, &[1, 2, 3, 4, 5, 6]).await;
    assert_eq!(closing(&places), [true, true, false, false, false, false]);
}

#[tokio::test]
async fn where_addresses_tell_nothing_none_is_bounded_by_them() {
    let seconds = Seconds::default();
    let notices = Notices::new(seconds.clone());
    let connections = Connections::new(SMALL, false, seconds, notices);
    let places = some(&connections, &[1, 1, 1, 1]).await;
    assert_eq!(closing(&places), [false; 4]);
    assert!(places.first().unwrap().link().peer().network.is_none());
}

// SPEC 5.7.4.
#[tokio::test]
async fn a_connection_on_which_somebody_proved_itself_goes_for_no_stranger() {
    let (connections, _) = connections(SMALL);
    let proven = some(&connections, &[1, 1]).await;
    proven.iter().for_each(|place| place.link().proven(agent("a")));
    let strangers = some(&connections, &[1, 1, 1, 2, 3, 4, 5]).await;
    assert_eq!(closing(&proven), [false, false]);
    assert_eq!(closing(&strangers), [true, true, true, false, false, false, false]);
    assert_eq!(connections.counts(), (9, 2));
}

/// `admit` waits a second for a place. No connection here closes by itself.
#[tokio::test]
async fn there_are_never_more_than_in_all() {
    let bounds = ConnectionBounds { total: 3, unproven: 3, unproven_each: 3, ..SMALL };
    let (connections, _) = connections(bounds);
    let mut places = some(&connections, &[1, 2, 3]).await;
    // The connection that was told to close stays open, so there is no place.
    assert!(connections.admit(from(4)).await.is_none());
    assert_eq!(closing(&places), [true, false, false]);
    drop(places.remove(0));
    places.push(connections.admit(from(4)).await.unwrap());
    // If all are proven, an idle one is closed; if none is idle, the new one is not accepted.
    places.iter().for_each(|place| place.link().proven(agent("a")));
    assert_eq!(connections.counts().0, 3);
}

#[tokio::test]
async fn a_caller_with_too_many_loses_its_own_oldest_idle_one() {
    let (connections, _) = connections(SMALL);
    let places = some(&connections, &[1, 2, 3]).await;
    let busy = places.first().unwrap().link().begin();
    for place in &places {
        place.link().proven(agent("a"));
        place.link().proven(agent("a"));
    }
    assert_eq!(closing(&places), [false, true, false]);
    // A connection that changes to another caller counts for that caller.
    let last = places.last().unwrap();
    last.link().proven(agent("b"));
    let more = some(&connections, &[4]).await;
    more.first().unwrap().link().proven(agent("a"));
    assert_eq!(closing(&places), [false, true, false]);
    assert_eq!(closing(&more), [false]);
    drop(busy);
}

// SPEC 5.7.6.
#[tokio::test]
async fn silence_ends_at_its_deadline_and_a_stream_in_flight_is_no_silence() {
    let (connections, seconds) = connections(SMALL);
    let places = some(&connections, &[1, 2, 3, 4]).await;
    let [silent, asked, proven, streams] = places.as_slice() else { panic!() };
    for place in [asked, proven] {
        drop(place.link().begin());
    }
    proven.link().proven(agent("a"));
    let watch = streams.link().begin();
    let pass = |count: u64| {
        for _ in 0..count {
            seconds.pass();
            connections.look();
        }
    };
    pass(19);
    assert_eq!(closing(&places), [false; 4]);
    pass(1);
    assert!(silent.link().is_closing());
    pass(40);
    assert_eq!(closing(&places), [true, true, false, false]);
    pass(3600);
    assert_eq!(closing(&places), [true, true, true, false]);
    drop(watch);
    pass(60);
    assert!(streams.link().is_closing());
    assert_eq!(connections.notices.count(Bound::FirstRequest), 1);
}

#[tokio::test]
async fn a_place_is_free_again_when_its_connection_is_gone() {
    let (connections, _) = connections(SMALL);
    let places = some(&connections, &[1, 2]).await;
    places.iter().for_each(|place| place.link().proven(agent("a")));
    drop(places);
    assert_eq!(connections.counts(), (0, 0));
    let table = connections.lock();
    assert!(table.unproven.is_empty() && table.networks.is_empty() && table.callers.is_empty());
    assert_eq!(connections.places.available_permits(), SMALL.total);
}

#[tokio::test]
async fn whoever_waits_on_a_connection_is_woken_when_it_is_to_close() {
    let (connections, _) = connections(SMALL);
    let place = connections.admit(from(1)).await.unwrap();
    let link = place.link().clone();
    let (ours, _theirs) = tokio::io::duplex(64);
    let mut watched = Watched::new(ours, place);
    let reading = tokio::spawn(async move {
        let read = watched.read(&mut [0; 8]).await;
        (read.unwrap(), watched.write(b"x").await.map_err(|error| error.kind()))
    });
    tokio::task::yield_now().await;
    link.close();
    let ended = tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap();
    assert_eq!(ended, (0, Err(std::io::ErrorKind::ConnectionAborted)));
}

#[tokio::test]
async fn with_no_descriptor_left_the_oldest_stranger_goes() {
    let (connections, _) = connections(SMALL);
    let places = some(&connections, &[1, 2]).await;
    places.first().unwrap().link().proven(agent("a"));
    assert!(connections.close_one(Bound::Descriptors, None));
    assert_eq!(closing(&places), [false, true]);
    // Then an idle connection of the caller that has most.
    assert!(connections.close_one(Bound::Descriptors, None));
    assert_eq!(closing(&places), [true, true]);
    assert!(!connections.close_one(Bound::Descriptors, None));
}

// SPEC 5.11.5.
#[tokio::test]
async fn a_pause_ends_within_a_second_and_a_proxys_connection_has_none() {
    let (own, _) = connections(SMALL);
    let places = some(&own, &[1]).await;
    let link = places.first().unwrap().link();
    assert!(link.pause() && link.is_paused() && !link.pause());
    own.look();
    assert!(!link.is_paused());
    let seconds = Seconds::default();
    let proxied = Connections::new(SMALL, false, seconds.clone(), Notices::new(seconds));
    let places = some(&proxied, &[1]).await;
    let link = places.first().unwrap().link();
    assert!(!link.pause() && !link.is_paused());
}
