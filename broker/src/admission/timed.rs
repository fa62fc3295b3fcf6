//! Work in a turn, and how much of the processor it uses.
//!
//! Owns: giving the turn back when the work waits for something else than the processor, and adding up what
//! its polls take. Does not own: what a share is charged (`turns`).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::turns::{Turn, Waits};
use crate::ports;

/// Work that has its turn, or waits, for the disk or for an issuer of keys, and needs none.
enum At {
    Work(Turn),
    Wait(Waits, Duration),
}

/// Runs a future in a turn until it is done or waits. What it does after it has waited, building its answer,
/// is charged to its share as well, and needs no second turn.
pub(super) async fn in_turn<F: Future>(turn: Turn, work: F) -> F::Output {
    let (mut work, mut at) = (pin!(work), Some(At::Work(turn)));
    poll_fn(move |context| {
        let began = ports::monotonic();
        let polled = work.as_mut().poll(context);
        let took = ports::monotonic().duration_since(began);
        at = match at.take() {
            Some(At::Work(mut turn)) => {
                turn.spent(took);
                // Dropped when the work is done.
                polled.is_pending().then(|| At::Wait(turn.waits(), Duration::ZERO))
            }
            Some(At::Wait(waits, spent)) => Some(At::Wait(waits, spent.saturating_add(took))),
            None => None,
        };
        if let (Poll::Ready(_), Some(At::Wait(waits, spent))) = (&polled, &at) {
            waits.spent(*spent);
        }
        polled
    })
    .await
}

/// Runs something in a turn, and adds its time to it.
pub(super) fn timed<T>(turn: &mut Turn, work: impl FnOnce() -> T) -> T {
    let began = ports::monotonic();
    let done = work();
    turn.spent(ports::monotonic().duration_since(began));
    done
}
