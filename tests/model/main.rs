//! The model test over `State::apply`: random operations of all kinds, crashes and restarts among them, with the
//! properties of docs/SPEC section 1 held against each.
//!
//! The shipped decisions and the shipped state machine run beside a naive model that is written from the
//! documents. Worlds of 1,000 events follow from a seed.
//!
//! - `SUBLET_MODEL_EVENTS` says how many events (10,000), `SUBLET_MODEL_SEED` with which world to begin (1; a
//!   number that is drawn, where only the events are given).
//! - A failure prints the line that replays it. `SUBLET_MODEL_TRACE=1` prints each event.
//! - Before a release: `SUBLET_MODEL_EVENTS=1000000 cargo test -p sublet-tests --test model`. Dependencies are
//!   optimised in this profile too, so it takes a quarter of an hour of one core.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod agree;
mod ask;
mod broker;
mod call;
mod cast;
mod commit;
mod controls;
mod dice;
mod door;
mod draw;
mod event;
mod fault;
mod hops;
mod joining;
mod judge;
mod learn;
mod log;
mod operator;
mod property;
mod reference;
mod requests;
mod run;
mod stock;
mod tool;
mod uses;
mod world;

use std::hash::{BuildHasher, RandomState};

use crate::ask::Ask;
use crate::run::WORLD_EVENTS;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn random_events_keep_the_properties() {
    let (seed, events) = (number("SUBLET_MODEL_SEED"), number("SUBLET_MODEL_EVENTS"));
    let seed = seed.unwrap_or_else(|| events.map_or(1, |_| RandomState::new().hash_one(0)));
    let (events, trace) = (events.unwrap_or(10_000), number("SUBLET_MODEL_TRACE").is_some());
    println!("seed {seed}, {events} events");
    let counts = match run::worlds(seed, events, trace) {
        Ok(counts) => counts,
        Err(failure) => panic!("{failure}"),
    };
    println!("{counts}");
    if events < 10 * WORLD_EVENTS {
        return;
    }
    // A run in which something never happens says nothing of it.
    for name in Ask::NAMES {
        let [granted, ..] = counts.asks.get(name).copied().unwrap_or_default();
        assert!(granted > 0, "{name} was never granted: {counts}");
    }
    for code in
        ["permitted", "not_allowed", "expired", "hop_revoked", "agent_suspended", "stale_view"]
    {
        assert!(counts.codes.get(code).is_some_and(|count| *count > 0), "{code}: {counts}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run =
        || format!("{:?}", run::world(7, 600, None, false).map_err(|failure| failure.to_string()));
    assert_eq!(run(), run());
}
