//! A verifier's view of what is revoked. SPEC section 7.
//!
//! Deltas come in first and wait in one gapless run; a head then says where its chain begins (what
//! is held, or the floor) and how far it reaches. What it reaches is taken in, what lies beyond it
//! waits on.
//!
//! Invariants: only deltas that a verified head binds are in force; the position never goes back,
//! nor does the floor in its epoch; a refused head changes nothing that is in force; an entry
//! leaves only when it expired by the issuer's time, or its agent was resumed, or its principal
//! restored. A new epoch adds entries and takes none away. A delta that is skipped (SPEC 7.4.2) is
//! numbered and bound as every other, and changes no entry.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::delta::{Received, genesis, link};
use super::{BadFeed, Delta, FeedPosition, Head, Revocation, SignedHead};
use crate::base::id::{Principal, TrustDomain, UnixMillis};
use crate::base::limits;
use crate::trust::bundle::{KeyUse, TrustBundle};

/// Deltas that a view holds while no head binds them, at about 250 bytes each. A snapshot is at most some
/// twice as large as what is revoked, and one agent can revoke no more than the hops that it has made and
/// that live (a broker's `hops_live_max`, 262,144 by default): so many take eight agents that do nothing
/// else.
pub const PENDING_MAX: usize = 4_194_304;

/// What a verifier knows of revocations.
#[derive(Clone, Debug)]
pub struct RevocationView {
    feed: TrustDomain,
    held: Option<Seen>,
    /// Of a view that was put together from records; it has no head, and so no age.
    recorded: Option<FeedPosition>,
    revoked: HashMap<Revocation, ChainPosition>,
    /// Numbered without a gap.
    pending: VecDeque<(Received, Vec<u8>)>,
}

/// Since when something is revoked, and until when that is to be kept.
#[derive(Clone, Copy, Debug)]
struct ChainPosition {
    at: UnixMillis,
    expires: UnixMillis,
}

/// The last head that was verified, and when it was first seen on the monotonic clock.
#[derive(Clone, Debug)]
struct Seen {
    head: Head,
    first_seen_ms: u64,
}

impl RevocationView {
    /// How far the view reaches.
    pub fn position(&self) -> FeedPosition {
        FeedPosition::new(self.epoch(), self.sequence())
    }

    /// A view that knows nothing yet, and so has no age.
    pub fn new(feed: TrustDomain) -> Self {
        RevocationView {
            feed,
            held: None,
            recorded: None,
            revoked: HashMap::new(),
            pending: VecDeque::new(),
        }
    }

    /// The view that somebody had at a position, from what is recorded up to
    /// there, in order, each with its time: to decide again what was decided then. No head binds it,
    /// so it has no age, and who decides on its age refuses.
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

    /// Takes a delta in; it counts once a head binds it. One that does not follow those waiting
    /// takes their place: a new epoch, a raised floor and a repeated answer all begin so, and only
    /// a head can tell them from a gap.
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

    /// Verifies a head and, with it, the waiting deltas up to its number; later ones wait on.
    /// `monotonic_ms` is the time of a clock that is never set back. On an error nothing in force
    /// changes. Deltas that the head contradicts are dropped, so that the reader asks again from
    /// where it is; after any other error they wait on.
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

    /// The head, if a feed key of the bundle signed it for this feed, and not ahead of time.
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

    /// Refuses a head that goes back behind the one held, or tells another past.
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

    /// Where the head's chain begins: at what is held, or at its floor when nothing is held, when
    /// its epoch is new, or when the floor has passed what is held. In the last case the deltas
    /// between have all expired by the issuer's word.
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

    /// Whether the waiting deltas lead from the start to the head's number and hash.
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

    /// Puts in force what the head binds: the waiting deltas after `start` and up to its number. Where the
    /// floor has passed what is held, a suspension or the revocation of a principal that is not stated again
    /// was lifted in between; all else stays until it expires.
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

    /// Of two revocations of one thing the one that lasts longer counts.
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
                free.insert(ChainPosition { at, expires });
            }
        }
    }

    /// How old the view is: on the issuer's clock, and at least as long as the head was held.
    /// `None` when there is no head.
    pub fn age_ms(&self, now: UnixMillis, monotonic_ms: u64) -> Option<i64> {
        let held = self.held.as_ref()?;
        let held_for =
            i64::try_from(monotonic_ms.saturating_sub(held.first_seen_ms)).unwrap_or(i64::MAX);
        Some(now.since(held.head.time).max(held_for))
    }

    /// The epoch held; 0 before the first head.
    pub fn epoch(&self) -> u64 {
        let recorded = self.recorded.map_or(0, |position| position.epoch);
        self.held.as_ref().map_or(recorded, |held| held.head.epoch)
    }

    /// The sequence number held; 0 before the first head.
    pub fn sequence(&self) -> u64 {
        let recorded = self.recorded.map_or(0, |position| position.sequence);
        self.held.as_ref().map_or(recorded, |held| held.head.sequence)
    }

    /// The last head held.
    pub fn head(&self) -> Option<&Head> {
        self.held.as_ref().map(|held| &held.head)
    }

    /// How many revocations are in force.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether no revocation is in force.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    /// Whether this very thing is revoked.
    pub fn is_revoked(&self, revocation: &Revocation) -> bool {
        self.revoked.contains_key(revocation)
    }

    /// Whether what was issued for a principal at this time is revoked.
    pub fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool {
        let at = |known: &Revocation| self.revoked.get(known).map(|standing| standing.at);
        Revocation::ends(principal, issued_at, at)
    }

    /// Drops revocations of which all that they could kill has expired, skew included. A clock
    /// that runs ahead of the issuer's drops nothing early: the last head's time is the limit.
    pub fn prune(&mut self, now: UnixMillis) {
        let Some(held) = &self.held else { return };
        let now = now.min(held.head.time);
        self.revoked.retain(|_, held| held.expires.plus_ms(limits::CLOCK_SKEW_MS) > now);
    }
}

/// Whether two accounts of one number have two hashes.
fn differs(one: (u64, [u8; 32]), other: (u64, [u8; 32])) -> bool {
    one.0 == other.0 && one.1 != other.1
}
