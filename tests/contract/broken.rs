//! What is slow, away or out of order below a store: its disk, the signer of its heads and of the feed's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use sublet_broker::revocation::feed::Feed;
use sublet_broker::store::{Backend, Batch, LedgerReader, Loaded};
use sublet_core::base::id::TrustDomain;
use sublet_core::base::sign::{SecretKey, Signer, SignerFault};
use sublet_core::revocation::feed::{FeedPosition, RevocationView, SignedHead};

use super::*;

/// A key in a device that is taken out for a moment.
struct Device {
    key: SecretKey,
    away: AtomicUsize,
}

impl Signer for Device {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFault> {
        let away = self.away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        match away {
            Ok(_) => Err(SignerFault("it was taken out".to_owned())),
            Err(_) => self.key.sign(message),
        }
    }
}

#[tokio::test]
async fn a_signer_that_is_away_for_a_moment_is_waited_for() {
    let device = Device { key: Fleet::signer(KeyUse::Ledger), away: AtomicUsize::new(0) };
    let (device, signers) = (Arc::new(device), Signers::default());
    signers.add(device.clone());
    let store = Store::open(Memory::default(), trust(), CheckpointSigner::new(signers)).unwrap();
    for size in 1..3 {
        device.away.store(3, Ordering::SeqCst);
        store.commit(commit(vec![], vec![], vec![record(None, "a")])).await.unwrap();
        let published = store.published().unwrap();
        assert_eq!((published.tree.size(), device.away.load(Ordering::SeqCst)), (size, 0));
    }
}

/// A disk that counts batches, and takes so many.
struct Failing {
    memory: Memory,
    batches: Arc<AtomicUsize>,
    most: usize,
}

impl Backend for Failing {
    fn load(&mut self, domain: &TrustDomain) -> Result<Loaded, Fault> {
        self.memory.load(domain)
    }

    fn persist(&mut self, batch: &Batch) -> Result<(), Fault> {
        if self.batches.fetch_add(1, Ordering::SeqCst) >= self.most {
            return Err(Fault::Store("no space left on device".to_owned()));
        }
        self.memory.persist(batch)
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        self.memory.reader()
    }

    fn name(&self) -> &'static str {
        "failing"
    }
}

fn failing(most: usize) -> (Store, Arc<AtomicUsize>) {
    let batches = Arc::new(AtomicUsize::new(0));
    let backend = Failing { memory: Memory::default(), batches: batches.clone(), most };
    (Store::open(backend, trust(), notary()).unwrap(), batches)
}

fn one() -> Commit {
    commit(vec![], vec![], vec![record(None, "one")])
}

/// Whoever supervises the process hears of it, and nobody is told that something was recorded.
// SPEC 8.5.
#[tokio::test]
async fn a_store_whose_disk_failed_has_ended() {
    let (store, _) = failing(1);
    store.commit(one()).await.unwrap();
    assert!(!store.has_ended());
    let NotCommitted::Refusal(refused) = store.commit(one()).await.unwrap_err() else {
        panic!("nothing has changed under it")
    };
    assert_eq!(refused.code(), "store_unavailable");
    store.ended().await;
    assert!(store.has_ended());
    assert!(matches!(store.commit(one()).await, Err(NotCommitted::Refusal(Refusal::Fault(_)))));
    assert_eq!(store.published().unwrap().tree.size(), 1);
}

/// A batch that hangs shows, so that no head says that all is well.
#[tokio::test]
async fn a_batch_that_is_being_written_shows() {
    let (store, _) = failing(usize::MAX);
    store.commit(one()).await.unwrap();
    let device = Device { key: Fleet::signer(KeyUse::Ledger), away: AtomicUsize::new(0) };
    let (device, signers) = (Arc::new(device), Signers::default());
    signers.add(device.clone());
    let store = Store::open(Memory::default(), trust(), CheckpointSigner::new(signers)).unwrap();
    assert_eq!(store.at_work(), None);
    device.away.store(1, Ordering::SeqCst);
    let waiting = store.clone();
    let waits = tokio::spawn(async move { waiting.commit(one()).await });
    while store.at_work().is_none() {
        tokio::task::yield_now().await;
    }
    waits.await.unwrap().unwrap();
    while store.at_work().is_some() {
        tokio::task::yield_now().await;
    }
}

/// One batch a wait for the disk, whoever waits by then.
#[tokio::test]
async fn waiters_are_committed_together() {
    let (store, batches) = failing(usize::MAX);
    let waiters: Vec<_> = (0..1_000)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(one()).await })
        })
        .collect();
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    let batches = batches.load(Ordering::SeqCst);
    assert!((4..500).contains(&batches), "{batches} batches");
}

/// A key whose next signature waits until it is let go.
struct Slow {
    key: SecretKey,
    turn: Mutex<Turn>,
    moved: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Free,
    /// The next one waits.
    Held,
    /// One is waiting, and others go on.
    Waiting,
}

impl Slow {
    fn go(&self, turn: Turn) {
        *self.turn.lock().unwrap() = turn;
        self.moved.notify_all();
    }

    fn until(&self, so: impl Fn(Turn) -> bool) {
        let turn = self.turn.lock().unwrap();
        drop(self.moved.wait_while(turn, |turn| !so(*turn)).unwrap());
    }
}

impl Signer for Slow {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFault> {
        let held = {
            let mut turn = self.turn.lock().unwrap();
            let held = *turn == Turn::Held;
            if held {
                *turn = Turn::Waiting;
                self.moved.notify_all();
            }
            held
        };
        if held {
            self.until(|turn| turn == Turn::Free);
        }
        self.key.sign(message)
    }
}

/// A clock that was set back is no reason to fall silent.
#[tokio::test]
async fn a_head_of_an_earlier_time_that_was_begun_later_is_published() {
    let signers = Signers::default();
    signers.add(Arc::new(Fleet::signer(KeyUse::Ledger)));
    signers.add(Arc::new(Fleet::signer(KeyUse::Feed)));
    let store =
        Store::open(Memory::default(), trust(), CheckpointSigner::new(signers.clone())).unwrap();
    let feed = Feed::new(store, signers, NOW.plus_ms(10_000)).unwrap();
    feed.publish(NOW).unwrap();
    let head =
        SignedHead::decode(&feed.portion(FeedPosition::BEGINNING, NOW).unwrap().head.unwrap())
            .unwrap()
            .head;
    assert_eq!(head.time, NOW);
}

/// A heartbeat waits for its signature while somebody is revoked: what it signed is of before.
#[tokio::test]
async fn a_head_that_took_long_does_not_take_the_feed_back() {
    let key = Fleet::signer(KeyUse::Feed);
    let slow = Slow { key, turn: Mutex::new(Turn::Free), moved: Condvar::new() };
    let (slow, signers) = (Arc::new(slow), Signers::default());
    signers.add(Arc::new(Fleet::signer(KeyUse::Ledger)));
    signers.add(slow.clone());
    let store =
        Store::open(Memory::default(), trust(), CheckpointSigner::new(signers.clone())).unwrap();
    let feed = Arc::new(Feed::new(store.clone(), signers, NOW).unwrap());
    slow.go(Turn::Held);
    let beating = feed.clone();
    let beat = std::thread::spawn(move || beating.publish(NOW.plus_ms(10)));
    slow.until(|turn| turn == Turn::Waiting);
    let revoked = Mutation::Revoke {
        revocation: Revocation::Hop(HopId([1; 32])),
        expires_at: NOW.plus_ms(60_000),
    };
    store.commit(commit(vec![], vec![revoked], vec![record(None, "one")])).await.unwrap();
    feed.publish(NOW.plus_ms(20)).unwrap();
    slow.go(Turn::Free);
    beat.join().unwrap().unwrap();
    let portion = feed.portion(FeedPosition::BEGINNING, NOW.plus_ms(20)).unwrap();
    assert_eq!((portion.deltas.len(), portion.position.sequence), (1, 1));
    let head = SignedHead::decode(&portion.head.unwrap()).unwrap().head;
    assert_eq!((head.sequence, head.time), (1, NOW.plus_ms(20)));
}

/// The floor rises between two heads: whoever asks in between is sent deltas and a head that go together.
#[tokio::test]
async fn a_head_from_before_the_floor_rose_is_not_sent_with_deltas_from_above_it() {
    let now = sublet_tests::NOW;
    let signers = Signers::default();
    signers.add(Arc::new(Fleet::signer(KeyUse::Ledger)));
    signers.add(Arc::new(Fleet::signer(KeyUse::Feed)));
    let store =
        Store::open(Memory::default(), trust(), CheckpointSigner::new(signers.clone())).unwrap();
    for (hop, ms) in [(1, 1_000), (2, 1_000), (3, 600_000)] {
        let revocation = Revocation::Hop(HopId([hop; 32]));
        let revoked = Mutation::Revoke { revocation, expires_at: now.plus_ms(ms) };
        store.commit(commit(vec![], vec![revoked], vec![])).await.unwrap();
    }
    let feed = Feed::new(store.clone(), signers, now).unwrap();
    let later = now.plus_ms(60_000);
    assert_eq!(store.prune(later).await, Ok(2), "two are over");
    let portion = feed.portion(FeedPosition::BEGINNING, later).unwrap();
    let mut view = RevocationView::new("acme.example".parse().unwrap());
    for delta in &portion.deltas {
        view.apply_delta(delta).unwrap();
    }
    assert_eq!(view.apply_head(&portion.head.unwrap(), trust().bundle(), later, 0), Ok(()));
    let revoked = |hop: u8| view.is_revoked(&Revocation::Hop(HopId([hop; 32])));
    assert_eq!([1, 2, 3].map(revoked), [false, false, true]);
}
