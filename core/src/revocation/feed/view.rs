//! A verifier's view of revocations. SPEC section 7.
//!
//! Deltas arrive first and wait as one gapless sequence. A head then states where its chain begins
//! (at the view's position, or at the floor) and which number it reaches. Deltas up to that number
//! take effect; later ones wait.
//!
//! Invariants: only deltas that a verified head covers are in force; the position never goes back,
//! nor does the floor within an epoch; a refused head changes nothing that is in force; an entry is
//! removed only when it has expired by the issuer's time, its agent was resumed, or its principal
//! was restored. A new epoch adds entries and removes none. A skipped delta (SPEC 7.4.2) has a
//! number and a place in the chain, and changes no entry.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::delta::{Received, genesis, link};
use super::{BadFeed, Delta, FeedPosition, Head, Revocation, SignedHead};
use crate::base::id::{Principal, TrustDomain, UnixMillis};
use crate::base::limits;
use crate::trust::bundle::{KeyUse, TrustBundle};

/// The most deltas that wait for a head, at about 250 bytes each. A snapshot is at most about twice
/// as large as the revocations in force, and one agent can revoke no more than its own live hops
/// (the broker's `hops_live_max`, 262,144 by default). So eight agents that do nothing else reach
/// this number.
pub const PENDING_MAX: usize = 4_194_304;

/// A verifier's knowledge of revocations.
///
/// ```
/// use sublet_core::revocation::feed::{FeedWriter, Revocation, RevocationView};
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/world.rs")); }
/// # let (bundle, now, hop) = (world::bundle(), world::NOW, world::delegation().id());
/// # let domain = bundle.trust_domain().clone();
///
/// // The broker revokes a hop, and signs a head.
/// let mut feed = FeedWriter::new(domain.clone(), 1);
/// let delta = feed.append(Revocation::Hop(hop), now, now.plus_ms(900_000));
/// # let head = world::head(&feed);
///
/// // A verifier applies the delta, and then the head that covers it.
/// let mut view = RevocationView::new(domain);
/// view.apply_delta(&delta.encode())?;
/// assert!(!view.is_revoked(&Revocation::Hop(hop))); // no head covers it yet
/// view.apply_head(&head, &bundle, now, 0)?; // 0: the time of a monotonic clock
/// assert!(view.is_revoked(&Revocation::Hop(hop)));
/// assert_eq!(view.age_ms(now.plus_ms(400), 400), Some(400));
/// # Ok::<(), sublet_core::revocation::feed::BadFeed>(())
/// ```
#[derive(Clone, Debug)]
pub struct RevocationView {
    feed: TrustDomain,
    held: Option<Seen>,
    /// The position of a view that was built from records; it has no head, and so no age.
    recorded: Option<FeedPosition>,
    revoked: HashMap<Revocation, InForce>,
    /// The waiting deltas, numbered without a gap.
    pending: VecDeque<(Received, Vec<u8>)>,
}

/// Since when a subject is revoked, and until when that must be kept.
#[derive(Clone, Copy, Debug)]
struct InForce {
    at: UnixMillis,
    expires: UnixMillis,
}

/// The last verified head, and when it was first seen on the monotonic clock.
#[derive(Clone, Debug)]
struct Seen {
    head: Head,
    first_seen_ms: u64,
}

impl RevocationView {
    /// Returns the position that the view has reached.
    pub fn position(&self) -> FeedPosition {
        FeedPosition::new(self.epoch(), self.sequence())
    }

    /// Returns a view without revocations and without a head, so without an age.
    pub fn new(feed: TrustDomain) -> Self {
        RevocationView {
            feed,
            held: None,
            recorded: None,
            revoked: HashMap::new(),
            pending: VecDeque::new(),
        }
    }

    /// Builds the view that a tool had at a position, from the recorded revocations up to it, in
    /// order, each with its time. It serves to decide again what was decided then. It has no head
    /// and so no age; a decision that needs the age refuses.
    pub fn recorded(
        feed: TrustDomain,
        position: FeedPosition,
        revocations: impl IntoIterator<Item = (Revocation, UnixMillis)>,
    ) -> Self {
        let mut view = RevocationView { recorded: Some(position), ..RevocationView::new(feed) };
        for (sequence, (revocation, at)) in (1..).zip(revocations) {
            let expires = UnixMillis(i64::MAX);
            view.count(Delta { sequence, at, expires, revocation });
        }
        view
    }

    /// Takes a delta, which has no effect before a head covers it. A delta that does not follow the
    /// waiting ones replaces them: a new epoch, a raised floor and a repeated answer begin like
    /// this, and only a head tells them from a gap.
    pub fn apply_delta(&mut self, bytes: &[u8]) -> Result<(), BadFeed> {
        let delta = Received::decode(bytes)?;
        let follows = |last: &Received| last.sequence().checked_add(1) == Some(delta.sequence());
        if !self.pending.back().is_some_and(|(last, _)| follows(last)) {
            self.pending.clear();
        }
        if self.pending.len() >= PENDING_MAX {
            return Err(BadFeed::TooMany);
        }
        self.pending.push_back((delta, bytes.to_vec()));
        Ok(())
    }

    /// Verifies a head and the waiting deltas up to its number, which then take effect.
    /// `monotonic_ms` is the time of a clock that is never set back. After an error nothing that is
    /// in force has changed. Deltas that the head contradicts are dropped, so the reader asks again
    /// from its position; after any other error they keep waiting.
    pub fn apply_head(
        &mut self,
        bytes: &[u8],
        bundle: &TrustBundle,
        now: UnixMillis,
        monotonic_ms: u64,
    ) -> Result<(), BadFeed> {
        let head = self.authenticate(bytes, bundle, now)?;
        self.check_succession(&head)?;
        let start = self.start_of(&head);
        let bound = self.check_chain(&head, start);
        if let Err(BadFeed::Gap { .. } | BadFeed::Forked { .. }) = bound {
            self.pending.clear();
        }
        bound?;
        self.take_in(head, start.0, monotonic_ms);
        Ok(())
    }

    /// Returns the head if a feed key of the bundle signed it for this feed and it is not from the
    /// future.
    fn authenticate(
        &self,
        bytes: &[u8],
        bundle: &TrustBundle,
        now: UnixMillis,
    ) -> Result<Head, BadFeed> {
        let SignedHead { head, key, signature } = SignedHead::decode(bytes)?;
        let public = bundle.signing_key(KeyUse::Feed, key, head.time).map_err(BadFeed::Key)?;
        if !public.verify(&head.message(key), &signature) {
            return Err(BadFeed::Signature);
        }
        if head.feed != self.feed {
            return Err(BadFeed::OtherFeed { found: head.feed, held: self.feed.clone() });
        }
        let ahead_ms = head.time.since(now);
        if ahead_ms > limits::CLOCK_SKEW_MS {
            return Err(BadFeed::FromFuture { ahead_ms });
        }
        Ok(head)
    }

    /// Refuses a head that goes back, or that contradicts the current one.
    fn check_succession(&self, head: &Head) -> Result<(), BadFeed> {
        let forked = |at: u64| Err(BadFeed::Forked { sequence: at });
        let floor = (head.floor_sequence, head.floor_hash);
        if head.floor_sequence == 0 && head.floor_hash != genesis(&head.feed, head.epoch) {
            return forked(0);
        }
        if head.floor_sequence > head.sequence || differs(floor, (head.sequence, head.hash)) {
            return forked(head.sequence);
        }
        let Some(Seen { head: held, .. }) = &self.held else { return Ok(()) };
        if head.epoch > held.epoch {
            return Ok(());
        }
        let behind = head.epoch < held.epoch
            || head.sequence < held.sequence
            || head.floor_sequence < held.floor_sequence
            || (head.sequence == held.sequence && head.time < held.time);
        if behind {
            return Err(BadFeed::RolledBack { epoch: head.epoch, sequence: head.sequence });
        }
        let held_floor = (held.floor_sequence, held.floor_hash);
        if differs(floor, held_floor) || differs(floor, (held.sequence, held.hash)) {
            return forked(head.floor_sequence);
        }
        Ok(())
    }

    /// Returns where the head's chain begins: at the view's position, or at the head's floor if the
    /// view is empty, of an earlier epoch, or below the floor. In the last case the issuer states
    /// that all deltas between have expired.
    fn start_of(&self, head: &Head) -> (u64, [u8; 32]) {
        match &self.held {
            Some(Seen { head: held, .. })
                if held.epoch == head.epoch && held.sequence >= head.floor_sequence =>
            {
                (held.sequence, held.hash)
            }
            _ => (head.floor_sequence, head.floor_hash),
        }
    }

    /// Checks that the waiting deltas lead from the start to the head's number and hash.
    fn check_chain(&self, head: &Head, start: (u64, [u8; 32])) -> Result<(), BadFeed> {
        let (mut sequence, mut hash) = start;
        let news = self.pending.iter().skip_while(|(delta, _)| delta.sequence() <= start.0);
        for (delta, bytes) in news.take_while(|(delta, _)| delta.sequence() <= head.sequence) {
            if sequence.checked_add(1) != Some(delta.sequence()) {
                return Err(BadFeed::Gap { found: delta.sequence(), held: sequence });
            }
            (sequence, hash) = (delta.sequence(), link(&hash, bytes));
        }
        if sequence < head.sequence {
            return Err(BadFeed::Incomplete { head: head.sequence, held: sequence });
        }
        if hash != head.hash {
            return Err(BadFeed::Forked { sequence: head.sequence });
        }
        Ok(())
    }

    /// Applies the waiting deltas after `start` up to the head's number. If the floor has passed
    /// the view's position, a suspension or a revocation of a principal that is not repeated was
    /// lifted in between; everything else stays until it expires.
    fn take_in(&mut self, head: Head, start: u64, monotonic_ms: u64) {
        let passed = |held: &Seen| held.head.epoch == head.epoch && held.head.sequence < start;
        if self.held.as_ref().is_some_and(passed) {
            let may_be_lifted = |known: &Revocation| {
                matches!(known, Revocation::AgentSuspended(_) | Revocation::Principal(_))
            };
            self.revoked.retain(|known, _| !may_be_lifted(known));
        }
        let reached = |(delta, _): &(Received, Vec<u8>)| delta.sequence() <= head.sequence;
        while self.pending.front().is_some_and(reached) {
            let news = self.pending.pop_front().filter(|(delta, _)| delta.sequence() > start);
            match news {
                Some((Received::Understood(delta), _)) => self.count(delta),
                Some((Received::Skipped { .. }, _)) | None => {}
            }
        }
        let same =
            self.held.as_ref().filter(|held| held.head == head).map(|held| held.first_seen_ms);
        self.held = Some(Seen { head, first_seen_ms: same.unwrap_or(monotonic_ms) });
    }

    /// Applies a delta. Of two revocations of one subject the one that lasts longer counts.
    fn count(&mut self, delta: Delta) {
        if let Some(lifted) = delta.lifts()
            && self.revoked.get(&lifted).is_some_and(|held| held.at < delta.at)
        {
            self.revoked.remove(&lifted);
        }
        let Delta { revocation, at, expires, .. } = delta;
        if let Revocation::AgentResumed(agent) = revocation {
            self.revoked.remove(&Revocation::AgentSuspended(agent));
            return;
        }
        match self.revoked.entry(revocation) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                (held.at, held.expires) = (held.at.max(at), held.expires.max(expires));
            }
            Entry::Vacant(free) => {
                free.insert(InForce { at, expires });
            }
        }
    }

    /// Returns the age of the view in milliseconds, by the issuer's clock, and at least the time
    /// since the head was first seen. `None` when there is no head.
    pub fn age_ms(&self, now: UnixMillis, monotonic_ms: u64) -> Option<i64> {
        let held = self.held.as_ref()?;
        let held_for =
            i64::try_from(monotonic_ms.saturating_sub(held.first_seen_ms)).unwrap_or(i64::MAX);
        Some(now.since(held.head.time).max(held_for))
    }

    /// Returns the epoch; 0 before the first head.
    pub fn epoch(&self) -> u64 {
        let recorded = self.recorded.map_or(0, |position| position.epoch);
        self.held.as_ref().map_or(recorded, |held| held.head.epoch)
    }

    /// Returns the number of the last applied delta; 0 before the first head.
    pub fn sequence(&self) -> u64 {
        let recorded = self.recorded.map_or(0, |position| position.sequence);
        self.held.as_ref().map_or(recorded, |held| held.head.sequence)
    }

    /// Returns the last accepted head; `None` before the first.
    pub fn head(&self) -> Option<&Head> {
        self.held.as_ref().map(|held| &held.head)
    }

    /// Returns how many revocations are in force.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Returns whether no revocation is in force.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    /// Returns whether exactly this subject is revoked.
    pub fn is_revoked(&self, revocation: &Revocation) -> bool {
        self.revoked.contains_key(revocation)
    }

    /// Returns whether a delegation that was issued for a principal at this time is revoked.
    pub fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool {
        let at = |known: &Revocation| self.revoked.get(known).map(|in_force| in_force.at);
        Revocation::ends(principal, issued_at, at)
    }

    /// Drops revocations when everything that they can end has expired, including the clock skew.
    /// The time of the last head is the limit, so a clock that is ahead drops nothing early.
    pub fn prune(&mut self, now: UnixMillis) {
        let Some(held) = &self.held else { return };
        let now = now.min(held.head.time);
        self.revoked.retain(|_, held| held.expires.plus_ms(limits::CLOCK_SKEW_MS) > now);
    }
}

/// Returns whether two statements about one number have different hashes.
fn differs(one: (u64, [u8; 32]), other: (u64, [u8; 32])) -> bool {
    one.0 == other.0 && one.1 != other.1
}
