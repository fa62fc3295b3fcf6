//! The revocation feed as it is published: a signed head over what is durable. SPEC 7.5.
//!
//! Owns: signing heads, at every revocation and at least every second. Does not own: the deltas
//! (the store), who may watch (`service::revocation`).
//!
//! Invariants: a head is signed after its deltas are durable; its number never exceeds them.

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

/// How often a head is signed when nothing happens.
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
    /// Deltas that it binds, where its floor is, and which of all heads it is, by when it was begun.
    at: (u64, u64, u64),
    bytes: Vec<u8>,
}

/// What a reader at some position lacks: deltas with their numbers, and the head that binds them.
pub struct Portion {
    /// The deltas' bytes, at most [`DELTAS_MAX`] of them.
    pub deltas: Vec<Vec<u8>>,
    /// The bytes of the head that binds them; `None` where more come before it.
    pub head: Option<Vec<u8>>,
    /// The position after it.
    pub position: FeedPosition,
}

impl Feed {
    /// A feed over a store, with its first head.
    pub fn new(store: Store, signers: Signers, now: UnixMillis) -> Result<Self, Fault> {
        let head = sign(&store, &signers, now, 0)?;
        let (beat, _) = watch::channel(0);
        Ok(Feed { store, signers, head: RwLock::new(head), turns: AtomicU64::new(1), beat })
    }

    /// Signs a new head over what is durable now, and tells the watchers.
    pub fn publish(&self, now: UnixMillis) -> Result<(), Fault> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let head = sign(&self.store, &self.signers, now, turn)?;
        {
            let mut published = self.head.write().map_err(|_| damaged())?;
            // Signing took so long that a newer one is out: a reader must never see the feed go back.
            if head.at < published.at {
                return Ok(());
            }
            *published = head;
        }
        self.beat.send_modify(|beat| *beat = beat.wrapping_add(1));
        Ok(())
    }

    /// Tells of every new head.
    pub fn beats(&self) -> watch::Receiver<u64> {
        self.beat.subscribe()
    }

    /// What a reader at this position lacks, up to the last head. A head from before the floor was raised
    /// does not go with deltas from above it: another is signed first.
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

/// Deltas of one portion, some 130 bytes each: what a watcher holds that reads nothing, however large the feed.
pub const DELTAS_MAX: usize = 1024;

/// How often a portion is put together anew because the floor has risen meanwhile, which it does every ten
/// seconds at most.
const PORTIONS_MAX: usize = 4;

fn sign(store: &Store, signers: &Signers, now: UnixMillis, turn: u64) -> Result<Published, Fault> {
    // Nothing of the store is held while a signer is looked for and signs.
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
