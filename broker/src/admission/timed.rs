//! How much of the processor a future uses.
//!
//! Owns: adding up the time that its polls take. Does not own: what it is charged to (`turns`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::bounds::TURN_MAX;
use super::turns::Turn;
use crate::ports;

/// A future of which the polls are timed.
struct Timed<F> {
    inner: Pin<Box<F>>,
    spent: Duration,
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = ports::monotonic();
        let polled = self.inner.as_mut().poll(context);
        self.spent = self.spent.saturating_add(ports::monotonic().duration_since(began));
        polled
    }
}

/// Runs a future in a turn. The turn is given back when it is done, or when it has taken so long that it
/// waits for something else than the processor.
pub(super) async fn in_turn<F: Future>(mut turn: Turn, work: F) -> F::Output {
    let mut work = Timed { inner: Box::pin(work), spent: Duration::ZERO };
    match tokio::time::timeout(TURN_MAX, &mut work).await {
        Ok(done) => {
            turn.spent(work.spent);
            done
        }
        Err(_) => {
            turn.spent(work.spent);
            drop(turn);
            work.await
        }
    }
}

/// Runs something in a turn, and adds its time to it.
pub(super) fn timed<T>(turn: &mut Turn, work: impl FnOnce() -> T) -> T {
    let began = ports::monotonic();
    let done = work();
    turn.spent(ports::monotonic().duration_since(began));
    done
}
