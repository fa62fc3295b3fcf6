//! The replay cache: the call proofs that were used. SPEC section 5.
//!
//! Owns: that one proof permits one call, within limits of memory and work. Does not own: whether a
//! proof is authentic or within its window (`proof`). Ask this last, after everything else permits
//! the call.
//!
//! Invariants: of all calls with one (holder, nonce) at most one succeeds while the proof could be
//! valid; a proof that may have been forgotten is refused, so setting a clock back revives none; a
//! holder cannot use up another holder's share; in doubt the answer is a refusal.
//!
//! Work: a proof is stored under the second in which it can be forgotten, and whole seconds are
//! dropped when they are over. So each call pays once for storing and once for dropping its own
//! entry; nothing scans.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::id::{Nonce, UnixMillis};
use crate::base::key::Thumbprint;
use crate::base::limits;

/// How long a proof is remembered after it was issued, in milliseconds: its window and the clock
/// skew, 35 s.
pub const RETENTION_MS: i64 = limits::PROOF_WINDOW_MS + limits::CLOCK_SKEW_MS;

/// The length of a bucket in milliseconds. Proofs are dropped in whole buckets: 35 are live, and a
/// proof is kept at most a second too long.
const BUCKET_MS: i64 = 1000;

/// The number of locks. A call holds one for about a microsecond.
const SHARDS: usize = 16;

/// The limits of the cache. When one is reached, a further proof is refused and none is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most proofs of all holders together.
    pub total: usize,
    /// The most proofs of one holder's key.
    pub per_holder: usize,
}

impl Default for Bounds {
    /// The limits for 36 s of 10,000 proofs a second in all and 1,000 a second by one holder. An
    /// entry is 16 bytes in a hash set and 48 in its bucket, about 100 with slack: 36 MB when full.
    fn default() -> Self {
        Bounds { total: 360_000, per_holder: 36_000 }
    }
}

/// Why a proof is not accepted as new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayRefusal {
    /// The holder used this nonce before.
    #[error("this proof was used before")]
    Replayed,
    /// The holder has reached its limit of live proofs.
    #[error("this holder has {held} live proofs, as many as it may; retry in a few seconds")]
    QuotaExceeded {
        /// How many it has.
        held: usize,
    },
    /// All holders together have reached the limit of live proofs.
    #[error("{held} proofs are live, as many as fit; retry in a few seconds")]
    Full {
        /// How many there are.
        held: usize,
    },
    /// The proof was issued before the memory of this cache begins, so it may have been used
    /// before.
    #[error("this proof was issued before this verifier's memory begins; make a new one")]
    BeforeStart,
    /// A thread panicked while it had the cache, so its content is not reliable any more.
    #[error("the set of used proofs is damaged; restart the process")]
    Damaged,
}

impl ReplayRefusal {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            ReplayRefusal::Replayed => "proof_replayed",
            ReplayRefusal::QuotaExceeded { .. } => "proof_quota_exceeded",
            ReplayRefusal::Full { .. } => "proof_set_full",
            ReplayRefusal::BeforeStart => "proof_before_start",
            ReplayRefusal::Damaged => "proof_set_damaged",
        }
    }
}

/// The used proofs of one process.
///
/// ```
/// use sublet_core::base::id::{Nonce, UnixMillis};
/// use sublet_core::base::key::Thumbprint;
/// use sublet_core::evidence::replay_cache::{Bounds, ReplayCache, ReplayRefusal};
///
/// let start = UnixMillis(1_800_000_000_000);
/// let cache = ReplayCache::new(Bounds::default(), start);
/// let (holder, nonce, now) = (Thumbprint([1; 32]), Nonce([7; 16]), start.plus_ms(20));
///
/// assert_eq!(cache.check_and_insert(holder, nonce, now, now), Ok(()));
/// let again = cache.check_and_insert(holder, nonce, now, now);
/// assert_eq!(again, Err(ReplayRefusal::Replayed));
/// let older = cache.check_and_insert(holder, Nonce([8; 16]), start.plus_ms(-1), now);
/// assert_eq!(older, Err(ReplayRefusal::BeforeStart));
/// ```
#[derive(Debug)]
pub struct ReplayCache {
    bounds: Bounds,
    started_at: UnixMillis,
    held: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
}

/// The holders whose thumbprints fall into this shard. All proofs of one holder are in one shard.
#[derive(Debug, Default)]
struct Shard {
    nonces: HashMap<Thumbprint, HashSet<Nonce>>,
    /// The proofs by the second in which they can be forgotten.
    buckets: BTreeMap<i64, Vec<(Thumbprint, Nonce)>>,
    /// The last bucket that was dropped. A proof for this bucket or an earlier one may have been
    /// forgotten.
    forgotten: Option<i64>,
}

impl ReplayCache {
    /// Returns an empty cache, which refuses every proof issued before `started_at`. A holder whose
    /// clock is ahead can have used a proof before a restart whose time is just after it.
    /// [`limits::CLOCK_SKEW_MS`] added to the start closes that gap, but valid proofs are refused
    /// for as long.
    pub fn new(bounds: Bounds, started_at: UnixMillis) -> Self {
        ReplayCache {
            bounds,
            started_at,
            held: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Remembers the proof, or returns why it is not accepted as new. The proof must have been
    /// verified, so `issued_at` is at most the clock skew ahead of `now`.
    pub fn check_and_insert(
        &self,
        holder: Thumbprint,
        nonce: Nonce,
        issued_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), ReplayRefusal> {
        if issued_at < self.started_at {
            return Err(ReplayRefusal::BeforeStart);
        }
        match self.insert(holder, nonce, issued_at, now) {
            Err(ReplayRefusal::Full { .. }) => {
                self.forget_expired(now)?; // Other shards may hold what is over.
                self.insert(holder, nonce, issued_at, now)
            }
            done => done,
        }
    }

    /// Returns how many proofs are stored, including expired ones that no call has dropped yet.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Drops the proofs that cannot be valid any more at `now`. Calls do this by themselves; a
    /// verifier without calls can do it to free memory.
    pub fn forget_expired(&self, now: UnixMillis) -> Result<(), ReplayRefusal> {
        for shard in &self.shards {
            let mut shard = shard.lock().map_err(|_| ReplayRefusal::Damaged)?;
            self.release(shard.forget_expired(now));
        }
        Ok(())
    }

    fn insert(
        &self,
        holder: Thumbprint,
        nonce: Nonce,
        issued_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), ReplayRefusal> {
        let at = usize::from(holder.0.first().copied().unwrap_or_default()) % SHARDS;
        let shard = self.shards.get(at).ok_or(ReplayRefusal::Damaged)?;
        let mut shard = shard.lock().map_err(|_| ReplayRefusal::Damaged)?;
        self.release(shard.forget_expired(now));
        shard.check(&holder, &nonce, issued_at, self.bounds.per_holder)?;
        self.reserve()?;
        shard.insert(holder, nonce, issued_at);
        Ok(())
    }

    fn reserve(&self) -> Result<(), ReplayRefusal> {
        let room = |held: usize| (held < self.bounds.total).then_some(held + 1);
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .map(|_| ())
            .map_err(|held| ReplayRefusal::Full { held })
    }

    fn release(&self, count: usize) {
        self.held.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Shard {
    fn check(
        &self,
        holder: &Thumbprint,
        nonce: &Nonce,
        issued_at: UnixMillis,
        quota: usize,
    ) -> Result<(), ReplayRefusal> {
        if self.forgotten.is_some_and(|last| bucket_of(issued_at) <= last) {
            return Err(ReplayRefusal::BeforeStart);
        }
        let Some(nonces) = self.nonces.get(holder) else {
            return if quota == 0 { Err(ReplayRefusal::QuotaExceeded { held: 0 }) } else { Ok(()) };
        };
        if nonces.contains(nonce) {
            return Err(ReplayRefusal::Replayed);
        }
        if nonces.len() >= quota {
            return Err(ReplayRefusal::QuotaExceeded { held: nonces.len() });
        }
        Ok(())
    }

    fn insert(&mut self, holder: Thumbprint, nonce: Nonce, issued_at: UnixMillis) {
        self.nonces.entry(holder).or_default().insert(nonce);
        self.buckets.entry(bucket_of(issued_at)).or_default().push((holder, nonce));
    }

    /// Drops the buckets that are over. Returns how many proofs they had.
    fn forget_expired(&mut self, now: UnixMillis) -> usize {
        let current = now.0.div_euclid(BUCKET_MS);
        let mut count = 0;
        while let Some(bucket) = self.buckets.first_entry().filter(|b| *b.key() < current) {
            self.forgotten = self.forgotten.max(Some(*bucket.key()));
            for (holder, nonce) in bucket.remove() {
                count += 1;
                forget(&mut self.nonces, &holder, &nonce);
            }
        }
        count
    }
}

fn forget(nonces: &mut HashMap<Thumbprint, HashSet<Nonce>>, holder: &Thumbprint, nonce: &Nonce) {
    if let Some(of_holder) = nonces.get_mut(holder) {
        of_holder.remove(nonce);
        if of_holder.is_empty() {
            nonces.remove(holder);
        }
    }
}

/// Returns the second at whose end a proof of this time can be forgotten.
fn bucket_of(issued_at: UnixMillis) -> i64 {
    issued_at.plus_ms(RETENTION_MS).0.div_euclid(BUCKET_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMillis = UnixMillis(1_800_000_000_000);
    const ALICE: Thumbprint = Thumbprint([1; 32]);
    const BOB: Thumbprint = Thumbprint([2; 32]);

    fn nonce(number: u32) -> Nonce {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Nonce(bytes)
    }

    fn set(total: usize, per_holder: usize) -> ReplayCache {
        ReplayCache::new(Bounds { total, per_holder }, START)
    }

    #[test]
    fn a_proof_counts_once_for_as_long_as_it_can_be_valid() {
        let seen = set(10, 10);
        assert_eq!(seen.check_and_insert(ALICE, nonce(1), START, START), Ok(()));
        assert_eq!(seen.check_and_insert(BOB, nonce(1), START, START), Ok(()));
        for ms in [0, 1, 29_999, 30_000, RETENTION_MS] {
            let again = seen.check_and_insert(ALICE, nonce(1), START, START.plus_ms(ms));
            assert_eq!(again, Err(ReplayRefusal::Replayed), "{ms}");
        }
    }

    #[test]
    fn one_nonce_in_two_proofs_is_a_replay() {
        let seen = set(10, 10);
        seen.check_and_insert(ALICE, nonce(1), START, START).unwrap();
        let later = START.plus_ms(5_000);
        assert_eq!(
            seen.check_and_insert(ALICE, nonce(1), later, later),
            Err(ReplayRefusal::Replayed)
        );
    }

    #[test]
    fn a_proof_from_before_the_start_is_refused() {
        let seen = set(10, 10);
        let before = START.plus_ms(-1);
        let refusal = seen.check_and_insert(ALICE, nonce(1), before, START).unwrap_err();
        assert_eq!(refusal.code(), "proof_before_start");
    }

    // SPEC 5.3.2.
    #[test]
    fn a_clock_set_back_revives_nothing() {
        let seen = set(10, 10);
        seen.check_and_insert(ALICE, nonce(1), START, START).unwrap();
        let later = START.plus_ms(60_000);
        seen.check_and_insert(ALICE, nonce(2), later, later).unwrap();
        assert_eq!(seen.held(), 1, "the first is forgotten");
        let back = START.plus_ms(1_000);
        assert_eq!(
            seen.check_and_insert(ALICE, nonce(1), START, back),
            Err(ReplayRefusal::BeforeStart)
        );
        let fresh = START.plus_ms(2_000);
        assert_eq!(seen.check_and_insert(ALICE, nonce(3), fresh, fresh), Ok(()));
    }

    #[test]
    fn one_holder_cannot_use_up_the_room_of_others() {
        let seen = set(10, 3);
        for number in 0..3 {
            seen.check_and_insert(ALICE, nonce(number), START, START).unwrap();
        }
        let refusal = seen.check_and_insert(ALICE, nonce(3), START, START);
        assert_eq!(refusal, Err(ReplayRefusal::QuotaExceeded { held: 3 }));
        assert_eq!(seen.check_and_insert(BOB, nonce(3), START, START), Ok(()));
        assert_eq!(
            set(10, 0).check_and_insert(BOB, nonce(0), START, START).unwrap_err().code(),
            "proof_quota_exceeded"
        );
    }

    // SPEC 5.3.1.
    #[test]
    fn a_full_set_refuses_until_proofs_expire_in_whatever_shard() {
        let seen = set(4, 4);
        for number in 0..4 {
            seen.check_and_insert(ALICE, nonce(number), START, START).unwrap();
        }
        let refusal = seen.check_and_insert(BOB, nonce(9), START, START);
        assert_eq!(refusal, Err(ReplayRefusal::Full { held: 4 }));
        let replay = seen.check_and_insert(ALICE, nonce(0), START, START);
        assert_eq!(replay, Err(ReplayRefusal::Replayed), "a replay is named even when full");
        let later = START.plus_ms(RETENTION_MS + BUCKET_MS);
        assert_eq!(seen.check_and_insert(BOB, nonce(9), later, later), Ok(()));
        assert_eq!(seen.held(), 1);
    }

    #[test]
    fn memory_is_given_back() {
        let seen = set(100_000, 100_000);
        for number in 0..10_000 {
            let at = START.plus_ms(i64::from(number) * 100);
            seen.check_and_insert(ALICE, nonce(number), at, at).unwrap();
        }
        assert!(seen.held() <= 361, "36 s of 10 a second, and {} are held", seen.held());
        seen.forget_expired(START.plus_ms(10_000_000)).unwrap();
        assert_eq!(seen.held(), 0);
        assert!(seen.shards.iter().all(|s| s.lock().unwrap().nonces.is_empty()));
    }

    // SPEC 5.3.
    #[test]
    fn of_many_threads_with_one_nonce_exactly_one_wins() {
        let seen = set(1_000, 1_000);
        for round in 0..200 {
            let barrier = std::sync::Barrier::new(8);
            let race = || {
                barrier.wait();
                seen.check_and_insert(ALICE, nonce(round), START, START).is_ok()
            };
            let wins = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
                threads.into_iter().map(|t| t.join().unwrap()).filter(|w| *w).count()
            });
            assert_eq!(wins, 1);
        }
        assert_eq!(seen.held(), 200);
    }

    #[test]
    fn threads_do_not_overfill() {
        let seen = set(100, 100);
        std::thread::scope(|scope| {
            for thread in 0..8u8 {
                let seen = &seen;
                scope.spawn(move || {
                    for number in 0..50 {
                        let holder = Thumbprint([thread; 32]);
                        let _ = seen.check_and_insert(holder, nonce(number), START, START);
                    }
                });
            }
        });
        assert_eq!(seen.held(), 100);
    }

    // SPEC 8.5.
    #[test]
    fn a_poisoned_set_refuses() {
        let seen = set(10, 10);
        let poison = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _held = seen.shards[1].lock().unwrap();
                    panic!("a thread dies while it holds the shard");
                })
                .join()
        });
        assert!(poison.is_err());
        let refusal = seen.check_and_insert(ALICE, nonce(1), START, START).unwrap_err();
        assert_eq!(refusal.code(), "proof_set_damaged");
    }
}
