//! Runs work in a turn, and measures its processor time.
//!
//! Owns: giving the turn back when the work waits for something other than the processor, and adding up
//! the time of its polls. Does not own: what a share is charged (`turns`).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::bounds::WAITS_MAX;
use super::turns::Turn;
use sublet_host::ports;

/// A future whose polls are timed.
struct Timed<F> {
    work: F,
    spent: Duration,
}

impl<F: Future + Unpin> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = ports::monotonic();
        let polled = Pin::new(&mut self.work).poll(context);
        self.spent = self.spent.saturating_add(ports::monotonic().duration_since(began));
        polled
    }
}

/// Runs a future in a turn until it ends or waits for something other than the processor. What it does
/// after waiting is charged to its share too and needs no second turn. While it waits it counts as
/// begun, for at most [`WAITS_MAX`].
pub(super) async fn in_turn<F: Future>(mut turn: Turn, work: F) -> F::Output {
    let mut work = Timed { work: pin!(work), spent: Duration::ZERO };
    let first = poll_fn(|context| match Pin::new(&mut work).poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    });
    let done = first.await;
    turn.spent(std::mem::take(&mut work.spent));
    if let Some(done) = done {
        return done;
    }
    let waits = turn.waits();
    match tokio::time::timeout(WAITS_MAX, &mut work).await {
        Ok(done) => {
            waits.spent(work.spent);
            done
        }
        Err(_) => {
            drop(waits);
            work.await
        }
    }
}

/// Runs a function in a turn, and adds its time to the turn.
pub(super) fn timed<T>(turn: &mut Turn, work: impl FnOnce() -> T) -> T {
    let began = ports::monotonic();
    let done = work();
    turn.spent(ports::monotonic().duration_since(began));
    done
}
