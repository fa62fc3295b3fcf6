use super::*;
use crate::admission::account::{Account, Network};

/// A time long after any window.
fn later(now: Instant) -> Instant {
    now + WINDOW * 2
}

fn lane(turns: usize) -> Arc<Turns> {
    Turns::new(TurnBounds { turns, begun: 8, total: 100 })
}

fn share(last: u8) -> Share {
    Share::Caller(Account::Network(Network::of([192, 0, 2, last].into())))
}

fn enter(turns: &Arc<Turns>, last: u8) -> Result<Ticket, Busy> {
    turns.enter(share(last), None, sublet_host::ports::monotonic())
}

/// Takes a turn that must be free.
async fn at_once(turns: &Arc<Turns>, last: u8) -> (Turn, Ticket) {
    let mut ticket = enter(turns, last).unwrap();
    (ticket.turn().await.unwrap(), ticket)
}

/// Waits for a turn beside others, notes its share, and gives it back after this much work.
fn waits(
    turns: &Arc<Turns>,
    last: u8,
    cost_us: u64,
    order: &Arc<Mutex<Vec<u8>>>,
) -> tokio::task::JoinHandle<()> {
    let (mut ticket, order) = (enter(turns, last).unwrap(), order.clone());
    tokio::spawn(async move {
        let mut turn = ticket.turn().await.unwrap();
        order.lock().unwrap().push(last);
        turn.spent(Duration::from_micros(cost_us));
    })
}

async fn all(waiting: Vec<tokio::task::JoinHandle<()>>) {
    for one in waiting {
        one.await.unwrap();
    }
}

// SPEC 5.11.
#[tokio::test]
async fn whoever_has_much_waiting_does_not_go_before_whoever_has_little() {
    let (turns, order) = (lane(1), Arc::default());
    let first = at_once(&turns, 0).await;
    let mut waiting: Vec<_> = (0..10).map(|_| waits(&turns, 1, 300, &order)).collect();
    tokio::task::yield_now().await;
    waiting.extend((0..2).map(|_| waits(&turns, 2, 300, &order)));
    tokio::task::yield_now().await;
    drop(first);
    all(waiting).await;
    let order = order.lock().unwrap().clone();
    let last = order.iter().rposition(|one| *one == 2).unwrap();
    assert!(last <= 4, "{order:?}");
    assert_eq!(turns.counts(), (0, 0));
}

// SPEC 5.11.2.
#[tokio::test]
async fn turns_are_shared_by_what_calls_cost_and_not_by_their_number() {
    let (turns, order) = (lane(1), Arc::default());
    let first = at_once(&turns, 0).await;
    let mut waiting: Vec<_> = (0..5).map(|_| waits(&turns, 1, 3_000, &order)).collect();
    waiting.extend((0..15).map(|_| waits(&turns, 2, 300, &order)));
    tokio::task::yield_now().await;
    drop(first);
    all(waiting).await;
    // When the expensive share had its second turn, the cheap one had ten.
    let order = order.lock().unwrap().clone();
    let second = order.iter().enumerate().filter(|(_, one)| **one == 1).nth(1).unwrap().0;
    let cheap = order[..second].iter().filter(|one| **one == 2).count();
    assert!((8..=12).contains(&cheap), "{order:?}");
}

#[tokio::test]
async fn a_proof_that_does_not_hold_costs_its_sender_more() {
    let (turns, order) = (lane(1), Arc::default());
    let first = at_once(&turns, 0).await;
    let (mut ticket, seen): (Ticket, Arc<Mutex<Vec<u8>>>) =
        (enter(&turns, 1).unwrap(), Arc::clone(&order));
    let failing = tokio::spawn(async move {
        let mut turn = ticket.turn().await.unwrap();
        seen.lock().unwrap().push(1);
        turn.spent(Duration::from_micros(300));
        turn.failed();
    });
    let mut waiting = vec![failing];
    tokio::task::yield_now().await;
    waiting.push(waits(&turns, 1, 300, &order));
    waiting.extend((0..6).map(|_| waits(&turns, 2, 300, &order)));
    tokio::task::yield_now().await;
    drop(first);
    all(waiting).await;
    // Its next turn comes after the cost of a failed proof. By then the other had all six.
    assert_eq!(*order.lock().unwrap(), [1, 2, 2, 2, 2, 2, 2, 1]);
}

// SPEC 5.11.3.
#[tokio::test]
async fn a_share_has_its_room_and_nobody_elses() {
    let turns = Turns::new(TurnBounds { turns: 1, begun: 8, total: 10_000 });
    let (now, mut held) = (sublet_host::ports::monotonic(), Vec::new());
    // Alone, it has half a second of the slowest pace.
    let busy = loop {
        match turns.enter(share(1), None, now) {
            Ok(ticket) => held.push(ticket),
            Err(busy) => break busy,
        }
    };
    assert_eq!(held.len(), 500);
    assert!((50..=2_000).contains(&busy.retry_ms), "{busy:?}");
    // Another share comes, and gets as much as both may have now.
    let other: Vec<_> =
        std::iter::from_fn(|| turns.enter(share(2), None, now).ok()).take(1_000).collect();
    assert_eq!(other.len(), 250);
    assert!(turns.enter(share(1), None, now).is_err());
    drop((held, other));
    assert_eq!(turns.counts(), (0, 0));
    assert!(turns.lock().shares.is_empty());
}

#[tokio::test]
async fn who_has_little_in_a_full_lane_is_let_in() {
    let turns = lane(1);
    let full: Vec<_> = std::iter::from_fn(|| enter(&turns, 1).ok()).collect();
    assert_eq!(full.len(), 100);
    let few: Vec<_> = std::iter::from_fn(|| enter(&turns, 2).ok()).collect();
    assert_eq!(few.len(), FEW);
    // Twice as many is the limit for all.
    let others: Vec<_> = (3..=250).filter_map(|last| enter(&turns, last).ok()).collect();
    assert_eq!(others.len(), 98);
}

#[tokio::test]
async fn the_faster_a_lane_is_the_more_may_wait() {
    let turns = Turns::new(TurnBounds { turns: 1, begun: 8, total: 10_000 });
    let now = sublet_host::ports::monotonic();
    for _ in 0..1_000 {
        let mut ticket = turns.enter(share(1), None, now).unwrap();
        drop(ticket.turn().await.unwrap());
    }
    // 1,000 in 200 ms are 5,000 a second.
    let entered = std::iter::from_fn(|| turns.enter(share(1), None, later(now)).ok());
    assert_eq!(entered.collect::<Vec<_>>().len(), ROOM_MAX);
}

#[tokio::test]
async fn who_goes_away_while_it_waits_holds_nobody_up() {
    let (turns, order) = (lane(1), Arc::default());
    let first = at_once(&turns, 0).await;
    let gone = waits(&turns, 1, 300, &order);
    tokio::task::yield_now().await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    drop(first);
    // Nothing is left of it, so the next call gets its turn at once.
    assert_eq!(turns.counts(), (0, 0));
    let next = at_once(&turns, 2).await;
    assert_eq!(turns.counts(), (1, 1));
    drop(next);
}

// SPEC 5.11.3.
#[tokio::test]
async fn nobody_waits_longer_than_a_second() {
    let turns = lane(1);
    let first = at_once(&turns, 0).await;
    let mut ticket = enter(&turns, 1).unwrap();
    let busy = ticket.turn().await.unwrap_err();
    assert!(busy.retry_ms >= RETRY_MS.0);
    drop((ticket, first));
    assert_eq!(turns.counts(), (0, 0));
}

#[tokio::test]
async fn saved_up_turns_are_worth_nothing() {
    let (turns, order) = (lane(1), Arc::default());
    let first = at_once(&turns, 0).await;
    // Share 1 is served for long while share 2 is idle.
    let mut waiting: Vec<_> = (0..10).map(|_| waits(&turns, 1, 300, &order)).collect();
    tokio::task::yield_now().await;
    drop(first);
    all(waiting.drain(..).take(5).collect()).await;
    let first = at_once(&turns, 0).await;
    waiting.extend((0..4).map(|_| waits(&turns, 2, 300, &order)));
    waiting.extend((0..4).map(|_| waits(&turns, 1, 300, &order)));
    tokio::task::yield_now().await;
    drop(first);
    all(waiting).await;
    let order = order.lock().unwrap().clone();
    let last_of_one = order.iter().rposition(|one| *one == 1).unwrap();
    let last_of_two = order.iter().rposition(|one| *one == 2).unwrap();
    assert!(last_of_one.abs_diff(last_of_two) <= 2, "{order:?}");
}

#[tokio::test]
async fn who_waits_for_the_disk_lets_another_work_until_enough_have_begun() {
    let turns = Turns::new(TurnBounds { turns: 1, begun: 2, total: 100 });
    let (first, one) = at_once(&turns, 1).await;
    let waiting = first.waits();
    let (second, two) = at_once(&turns, 2).await;
    let other = second.waits();
    // Two calls have begun, so the third waits although none is in work.
    let order = Arc::default();
    let third = waits(&turns, 3, 300, &order);
    tokio::task::yield_now().await;
    assert_eq!((turns.counts(), order.lock().unwrap().len()), ((3, 0), 0));
    drop(waiting);
    third.await.unwrap();
    drop((other, one, two));
    assert_eq!(turns.counts(), (0, 0));
}
