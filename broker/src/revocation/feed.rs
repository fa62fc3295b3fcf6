//! The published revocation feed: a signed head over the durable deltas. SPEC 7.5.
//!
//! Owns: signing heads, after every revocation and at least every second. Does not own: the deltas (the
//! store), who may watch (`service::revocation`).
//!
//! Invariants: a head is signed after its deltas are durable. It never names a later delta.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use sublet_core::refusal::Fault;
use sublet_core::revocation::feed::{FeedPosition, SignedHead};
use sublet_core::trust::bundle::KeyUse;
use tokio::sync::watch;

use crate::keys::Signers;
use crate::store::Store;

/// How often a head is signed without a revocation.
pub const HEARTBEAT: Duration = Duration::from_millis(500);

/// The published feed.
pub struct Feed {
    store: Store,
    signers: Signers,
    head: RwLock<Published>,
    turns: AtomicU64,
    beat: watch::Sender<u64>,
}

#[derive(Clone)]
struct Published {
    /// The head's sequence number, its floor, and a number that grows with each signing. Larger is newer.
    at: (u64, u64, u64),
    bytes: Vec<u8>,
}

/// What a reader lacks: deltas, and the head that binds them.
pub struct Portion {
    /// The encoded deltas, at most [`DELTAS_MAX`].
    pub deltas: Vec<Vec<u8>>,
    /// The encoded head that binds them; `None` if another portion follows before it.
    pub head: Option<Vec<u8>>,
    /// The position after this portion.
    pub position: FeedPosition,
}

impl Feed {
    /// Makes the feed of a store, and signs its first head. A fault if the head cannot be signed.
    pub fn new(store: Store, signers: Signers, now: UnixMillis) -> Result<Self, Fault> {
        let head = sign(&store, &signers, now, 0)?;
        let (beat, _) = watch::channel(0);
        Ok(Feed { store, signers, head: RwLock::new(head), turns: AtomicU64::new(1), beat })
    }

    /// Signs a new head over what is durable now, and notifies the watchers.
    pub fn publish(&self, now: UnixMillis) -> Result<(), Fault> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let head = sign(&self.store, &self.signers, now, turn)?;
        {
            let mut published = self.head.write().map_err(|_| damaged())?;
            // Signing took long, and a newer head is published already. A reader must never see the feed
            // go back.
            if head.at < published.at {
                return Ok(());
            }
            *published = head;
        }
        self.beat.send_modify(|beat| *beat = beat.wrapping_add(1));
        Ok(())
    }

    /// Returns a receiver that changes with every new head.
    pub fn beats(&self) -> watch::Receiver<u64> {
        self.beat.subscribe()
    }

    /// Returns what a reader at this position lacks, up to the last head. If the floor has risen since
    /// that head, a new head is signed first, because the old one does not bind deltas above the new floor.
    pub fn portion(&self, after: FeedPosition, now: UnixMillis) -> Result<Portion, Fault> {
        for _ in 0..PORTIONS_MAX {
            let head = self.head.read().map_err(|_| damaged())?.clone();
            {
                let feed = self.store.feed()?;
                if feed.floor().sequence == head.at.1 {
                    let lacking = feed.deltas_after(after.epoch, after.sequence);
                    let lacking = lacking.take_while(|(number, _)| *number <= head.at.0);
                    let (mut last, mut deltas) = (head.at.0, Vec::new());
                    for (number, bytes) in lacking.take(DELTAS_MAX) {
                        last = number;
                        deltas.push(bytes.to_vec());
                    }
                    let head = (last == head.at.0).then_some(head.bytes);
                    let position = FeedPosition::new(feed.epoch(), last);
                    return Ok(Portion { deltas, head, position });
                }
            }
            self.publish(now)?;
        }
        Err(Fault::Store("the floor of the revocation feed keeps rising".to_owned()))
    }
}

/// The most deltas of one portion, at about 130 bytes each. It bounds what a watcher that reads nothing
/// holds.
pub const DELTAS_MAX: usize = 1024;

/// How often a portion is made again because the floor has risen. The floor rises at most once in ten
/// seconds.
const PORTIONS_MAX: usize = 4;

fn sign(store: &Store, signers: &Signers, now: UnixMillis, turn: u64) -> Result<Published, Fault> {
    // No lock of the store is held while the key is looked up and signs.
    let trust = store.view()?.trust().clone();
    let key = signers.active(trust.bundle(), KeyUse::Feed)?;
    let head = store.feed()?.head(now);
    let at = (head.sequence, head.floor_sequence, turn);
    let signed = SignedHead::sign(head, key.id, key.signer.as_ref())?;
    Ok(Published { at, bytes: signed.encode() })
}

fn damaged() -> Fault {
    Fault::Internal("a thread died while it held the feed".to_owned())
}
