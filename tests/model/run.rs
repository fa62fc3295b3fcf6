//! Worlds, one after the other, until so many events have happened; and how a failure is told and replayed.

use std::fmt;

use crate::dice::Dice;
use crate::fault::Fault;
use crate::property::{Broken, Property};
use crate::world::{Counts, World};

/// Events of one world. A world grows with its events; many short ones meet more than a long one.
pub(crate) const WORLD_EVENTS: u64 = 1_000;

/// How often the whole state is compared with the model: each so many events.
const AGREE_EVERY: u64 = 20;

/// An event that broke a property.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The seed of its world.
    pub(crate) seed: u64,
    /// Its number in that world, from 1.
    pub(crate) number: u64,
    /// The event, in words.
    pub(crate) event: String,
    /// What it broke.
    pub(crate) broken: Broken,
}

impl Failure {
    /// The property that does not hold.
    pub(crate) fn property(&self) -> Property {
        self.broken.property
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, number, event, broken } = self;
        writeln!(f, "seed {seed}, event {number}: {event}")?;
        writeln!(f, "breaks {:?}: {}", broken.property, broken.detail)?;
        write!(
            f,
            "replay: SUBLET_MODEL_SEED={seed} SUBLET_MODEL_EVENTS={number} SUBLET_MODEL_TRACE=1 \
             cargo test -p sublet-tests --test model -- --nocapture random_events"
        )
    }
}

/// The world of a seed, with so many events.
pub(crate) fn world(
    seed: u64,
    events: u64,
    fault: Option<Fault>,
    trace: bool,
) -> Result<Counts, Failure> {
    let mut world = World::new(seed, fault);
    for number in 1..=events {
        let event = world.draw(number - 1);
        if trace {
            println!("{number} {event}");
        }
        let checked = world.happen(&event).and_then(|()| match number % AGREE_EVERY {
            0 => world.check_agreement(),
            _ => Ok(()),
        });
        checked.map_err(|broken| Failure { seed, number, event: event.to_string(), broken })?;
    }
    Ok(world.counts)
}

/// Worlds from a seed on, until so many events have happened.
pub(crate) fn worlds(first: u64, events: u64, trace: bool) -> Result<Counts, Failure> {
    let (mut seeds, mut seed, mut left) = (Dice::new(first), first, events);
    let mut counts = Counts::default();
    while left > 0 {
        let now = left.min(WORLD_EVENTS);
        let of_world = world(seed, now, None, trace)?;
        counts.add(&of_world);
        left -= now;
        seed = seeds.next();
    }
    Ok(counts)
}
