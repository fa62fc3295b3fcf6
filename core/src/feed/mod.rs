//! Revocations, and the signed feed that carries them to tools. SPEC section 7.
//!
//! Owns: what can be revoked, the deltas and their hash chain, signed heads, the view that a
//! verifier keeps of them and how old it is. Does not own: who may revoke (`decide`), sockets.
//!
//! Invariants: a delta counts only once a verified head binds it; sequence numbers have no gap; a
//! view never goes back, and its age is on the issuer's clock, so an old list that is played again
//! does not become fresh.

use std::collections::{HashMap, VecDeque};

use crate::bundle::{KeyId, KeyRefusal, KeyUse, TrustBundle};
use crate::bytes::{BadLayout, Reader, Writer, domain, sha256};
use crate::id::{AgentId, HopId, Principal, TrustDomain, UnixMillis};
use crate::key::Thumbprint;
use crate::limits;
use crate::sign::{Signer, SignerFault};
use crate::text::{base64url, from_base64url};

const HEAD: &str = "feed-head-v1";

/// Deltas that a view holds while no head binds them: a snapshot of a large fleet.
pub const PENDING_MAX: usize = 1_000_000;

/// Something that is revoked, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// A hop and everything below it.
    Hop(HopId),
    /// An agent, until it is resumed.
    AgentSuspended(AgentId),
    /// An agent is back.
    AgentResumed(AgentId),
    /// An agent's key, for ever.
    AgentKey(Thumbprint),
    /// A user's authority.
    Principal(Principal),
    /// A root key.
    RootKey(Thumbprint),
}

/// One entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Its number; the first is 1 and there is no gap.
    pub sequence: u64,
    /// When it was committed.
    pub at: UnixMillis,
    /// When all that it could kill has expired.
    pub expires: UnixMillis,
    /// What.
    pub revocation: Revocation,
}

impl Delta {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, subject): (u8, &[u8]) = match &self.revocation {
            Revocation::Hop(id) => (1, &id.0),
            Revocation::AgentSuspended(agent) => (2, agent.as_str().as_bytes()),
            Revocation::AgentResumed(agent) => (3, agent.as_str().as_bytes()),
            Revocation::AgentKey(key) => (4, &key.0),
            Revocation::Principal(principal) => (5, principal.as_str().as_bytes()),
            Revocation::RootKey(key) => (6, &key.0),
        };
        let head =
            Writer::labelled("feed-delta-v1").u64(self.sequence).time(self.at).time(self.expires);
        head.u8(kind).fixed(subject).finish()
    }

    /// Reads the bytes, exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFeed> {
        let mut reader = Reader::labelled(bytes, "feed-delta-v1")?;
        let (sequence, at, expires, kind) =
            (reader.u64()?, reader.time()?, reader.time()?, reader.u8()?);
        let subject = reader.rest();
        let text = || std::str::from_utf8(subject).map_err(|_| BadFeed::Layout(BadLayout));
        let fixed = || <[u8; 32]>::try_from(subject).map_err(|_| BadFeed::Layout(BadLayout));
        let name = |_| BadFeed::Layout(BadLayout);
        let revocation = match kind {
            1 => Revocation::Hop(HopId(fixed()?)),
            2 => Revocation::AgentSuspended(text()?.parse().map_err(name)?),
            3 => Revocation::AgentResumed(text()?.parse().map_err(name)?),
            4 => Revocation::AgentKey(Thumbprint(fixed()?)),
            5 => Revocation::Principal(text()?.parse().map_err(name)?),
            6 => Revocation::RootKey(Thumbprint(fixed()?)),
            _ => return Err(BadFeed::Layout(BadLayout)),
        };
        Ok(Delta { sequence, at, expires, revocation })
    }
}

/// Where the hash chain of a feed begins.
fn genesis(feed: &TrustDomain, epoch: u64) -> [u8; 32] {
    let bytes = Writer::labelled("feed-v1").text(feed.as_str()).u64(epoch).finish();
    sha256(&bytes)
}

fn link(previous: &[u8; 32], delta: &[u8]) -> [u8; 32] {
    sha256(&[domain("feed-link-v1").as_slice(), previous, delta].concat())
}

/// What a head says: the whole feed up to a number, in one hash, at the issuer's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The feed, named by its trust domain.
    pub feed: TrustDomain,
    /// Counts restarts of the sequence; never goes back.
    pub epoch: u64,
    /// The number of the last delta.
    pub sequence: u64,
    /// The hash over all deltas.
    pub hash: [u8; 32],
    /// Everything up to this number has expired and need not be sent.
    pub floor_sequence: u64,
    /// The hash up to there: where a fresh reader begins.
    pub floor_hash: [u8; 32],
    /// The issuer's time.
    pub time: UnixMillis,
}

/// A head and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// What it says.
    pub head: Head,
    /// The number of the key.
    pub key: KeyId,
    /// The signature.
    pub signature: Vec<u8>,
}

impl SignedHead {
    /// Signs a head.
    pub fn sign(head: Head, key: KeyId, signer: &dyn Signer) -> Result<Self, SignerFault> {
        let signature = signer.sign(&head.message(key))?;
        Ok(SignedHead { head, key, signature })
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [self.head.message(self.key), self.signature.clone()].concat()
    }

    /// Reads the bytes, exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFeed> {
        let mut reader = Reader::labelled(bytes, HEAD)?;
        let key = KeyId(reader.u32()?);
        let head = Head {
            feed: reader.text()?.parse().map_err(|_| BadFeed::Layout(BadLayout))?,
            epoch: reader.u64()?,
            sequence: reader.u64()?,
            hash: reader.fixed()?,
            floor_sequence: reader.u64()?,
            floor_hash: reader.fixed()?,
            time: reader.time()?,
        };
        Ok(SignedHead { head, key, signature: reader.rest().to_vec() })
    }
}

impl Head {
    fn message(&self, key: KeyId) -> Vec<u8> {
        Writer::labelled(HEAD)
            .u32(key.0)
            .text(self.feed.as_str())
            .u64(self.epoch)
            .u64(self.sequence)
            .fixed(&self.hash)
            .u64(self.floor_sequence)
            .fixed(&self.floor_hash)
            .time(self.time)
            .finish()
    }
}

/// Why something of a feed is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFeed {
    /// Not the layout.
    #[error(transparent)]
    Layout(#[from] BadLayout),
    /// A head that no feed key of the bundle signed.
    #[error("the head's key: {0}")]
    Key(KeyRefusal),
    /// The signature does not hold.
    #[error("the head's signature does not hold")]
    Signature,
    /// Another feed.
    #[error("the feed is of {found}, not of {held}")]
    OtherFeed {
        /// Of whom it is.
        found: TrustDomain,
        /// Whose is followed.
        held: TrustDomain,
    },
    /// A delta that does not follow the last one.
    #[error("delta {found} does not follow {held}")]
    Gap {
        /// Its number.
        found: u64,
        /// The last number held.
        held: u64,
    },
    /// The head goes back behind what is held.
    #[error(
        "the head ({epoch}, {sequence}) is behind what was seen before: the feed was rolled back"
    )]
    RolledBack {
        /// Its epoch.
        epoch: u64,
        /// Its sequence.
        sequence: u64,
    },
    /// Two heads at one number, or deltas that the head does not bind.
    #[error(
        "the head at {sequence} does not bind the deltas that were sent: the feed is forked or altered"
    )]
    Forked {
        /// At which number.
        sequence: u64,
    },
    /// The head counts deltas that were not sent.
    #[error("the head is at {head}, the deltas only reach {held}")]
    Incomplete {
        /// Its number.
        head: u64,
        /// The last number held.
        held: u64,
    },
    /// The head is from the future.
    #[error("the head is {ahead_ms} ms ahead of this clock")]
    FromFuture {
        /// By how much.
        ahead_ms: i64,
    },
    /// Too many deltas without a head.
    #[error("over {PENDING_MAX} deltas without a head")]
    TooMany,
    /// Not the text form.
    #[error("no revocation snapshot in text form, line {line}")]
    Text {
        /// Which line.
        line: usize,
    },
}

impl BadFeed {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadFeed::Layout(_) => "feed_layout",
            BadFeed::Key(refusal) => refusal.code(),
            BadFeed::Signature => "feed_signature",
            BadFeed::OtherFeed { .. } => "feed_of_another",
            BadFeed::Gap { .. } => "feed_gap",
            BadFeed::RolledBack { .. } => "feed_rolled_back",
            BadFeed::Forked { .. } => "feed_forked",
            BadFeed::Incomplete { .. } => "feed_incomplete",
            BadFeed::FromFuture { .. } => "feed_from_future",
            BadFeed::TooMany => "feed_too_many",
            BadFeed::Text { .. } => "feed_text",
        }
    }
}

/// What a verifier knows of revocations.
#[derive(Clone, Debug)]
pub struct RevocationView {
    feed: TrustDomain,
    held: Option<Seen>,
    revoked: HashMap<Revocation, UnixMillis>,
    pending: VecDeque<(Delta, Vec<u8>)>,
}

/// The last head that was verified, and when it was first seen on the monotonic clock.
#[derive(Clone, Debug)]
struct Seen {
    head: Head,
    first_seen_ms: u64,
}

impl RevocationView {
    /// A view that knows nothing yet, and so has no age.
    pub fn new(feed: TrustDomain) -> Self {
        RevocationView { feed, held: None, revoked: HashMap::new(), pending: VecDeque::new() }
    }

    /// Takes a delta in; it counts once a head binds it.
    pub fn apply_delta(&mut self, bytes: &[u8]) -> Result<(), BadFeed> {
        let delta = Delta::decode(bytes)?;
        let last = match (self.pending.back(), &self.held) {
            (Some((last, _)), _) => Some(last.sequence),
            (None, Some(held)) => Some(held.head.sequence),
            // A fresh view begins wherever the floor is; the head will say whether that is so.
            (None, None) => None,
        };
        if let Some(held) = last.filter(|last| last.checked_add(1) != Some(delta.sequence)) {
            return Err(BadFeed::Gap { found: delta.sequence, held });
        }
        if self.pending.len() >= PENDING_MAX {
            return Err(BadFeed::TooMany);
        }
        self.pending.push_back((delta, bytes.to_vec()));
        Ok(())
    }

    /// Verifies a head and, with it, the deltas before it. `monotonic_ms` is the time of a clock
    /// that is never set back. On an error nothing is taken in; deltas that were waiting are
    /// dropped, so that the reader begins again from where it was.
    pub fn apply_head(
        &mut self,
        bytes: &[u8],
        bundle: &TrustBundle,
        now: UnixMillis,
        monotonic_ms: u64,
    ) -> Result<(), BadFeed> {
        let pending = std::mem::take(&mut self.pending);
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
        let fresh_start = self.check_succession(&head)?;
        self.check_chain(&head, fresh_start, &pending)?;
        if fresh_start {
            self.revoked.clear();
        }
        for (delta, _) in pending {
            self.count(delta);
        }
        let same =
            self.held.as_ref().filter(|held| held.head == head).map(|held| held.first_seen_ms);
        self.held = Some(Seen { head, first_seen_ms: same.unwrap_or(monotonic_ms) });
        Ok(())
    }

    /// Whether the head begins anew (first head, or a new epoch); refuses one that goes back.
    fn check_succession(&self, head: &Head) -> Result<bool, BadFeed> {
        let Some(held) = self.held.as_ref().map(|held| &held.head) else { return Ok(true) };
        if head.epoch > held.epoch {
            return Ok(true);
        }
        let behind = head.epoch < held.epoch || head.sequence < held.sequence;
        if behind || (head.sequence == held.sequence && head.time < held.time) {
            return Err(BadFeed::RolledBack { epoch: head.epoch, sequence: head.sequence });
        }
        Ok(false)
    }

    /// Whether the head's hash is that of the deltas held and waiting.
    fn check_chain(
        &self,
        head: &Head,
        fresh_start: bool,
        pending: &VecDeque<(Delta, Vec<u8>)>,
    ) -> Result<(), BadFeed> {
        let (mut sequence, mut hash) = match &self.held {
            Some(held) if !fresh_start => (held.head.sequence, held.head.hash),
            _ => (head.floor_sequence, head.floor_hash),
        };
        if fresh_start
            && head.floor_sequence == 0
            && head.floor_hash != genesis(&head.feed, head.epoch)
        {
            return Err(BadFeed::Forked { sequence: 0 });
        }
        for (delta, bytes) in pending {
            if sequence.checked_add(1) != Some(delta.sequence) {
                return Err(BadFeed::Gap { found: delta.sequence, held: sequence });
            }
            (sequence, hash) = (delta.sequence, link(&hash, bytes));
        }
        if sequence < head.sequence {
            return Err(BadFeed::Incomplete { head: head.sequence, held: sequence });
        }
        if sequence > head.sequence || hash != head.hash {
            return Err(BadFeed::Forked { sequence: head.sequence });
        }
        Ok(())
    }

    fn count(&mut self, delta: Delta) {
        match delta.revocation {
            Revocation::AgentResumed(agent) => self.revoked.remove(&Revocation::AgentSuspended(agent)),
            other => self.revoked.insert(other, delta.expires),
        };
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
        self.held.as_ref().map_or(0, |held| held.head.epoch)
    }

    /// The sequence number held; 0 before the first head.
    pub fn sequence(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.head.sequence)
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

    /// Drops revocations of which all that they could kill has expired, skew included.
    pub fn prune(&mut self, now: UnixMillis) {
        self.revoked.retain(|_, expires| expires.plus_ms(limits::CLOCK_SKEW_MS) > now);
    }
}

/// The broker's side: numbers deltas, chains them, says what to send.
#[derive(Clone, Debug)]
pub struct FeedWriter {
    feed: TrustDomain,
    epoch: u64,
    sequence: u64,
    hash: [u8; 32],
    floor_sequence: u64,
    floor_hash: [u8; 32],
    deltas: VecDeque<(Delta, Vec<u8>)>,
}

impl FeedWriter {
    /// A feed that has just begun.
    pub fn new(feed: TrustDomain, epoch: u64) -> Self {
        let hash = genesis(&feed, epoch);
        FeedWriter {
            feed,
            epoch,
            sequence: 0,
            hash,
            floor_sequence: 0,
            floor_hash: hash,
            deltas: VecDeque::new(),
        }
    }

    /// A feed that goes on after a restart, from all of its deltas in order.
    pub fn resume(
        feed: TrustDomain,
        epoch: u64,
        deltas: impl IntoIterator<Item = Delta>,
    ) -> Result<Self, BadFeed> {
        let mut writer = FeedWriter::new(feed, epoch);
        for delta in deltas {
            if delta.sequence != writer.sequence + 1 {
                return Err(BadFeed::Gap { found: delta.sequence, held: writer.sequence });
            }
            writer.push(delta);
        }
        Ok(writer)
    }

    /// Takes in a delta that was committed; its number is the next.
    pub fn append(&mut self, revocation: Revocation, at: UnixMillis, expires: UnixMillis) -> Delta {
        let delta = Delta { sequence: self.sequence.saturating_add(1), at, expires, revocation };
        self.push(delta.clone());
        delta
    }

    fn push(&mut self, delta: Delta) {
        let bytes = delta.encode();
        self.hash = link(&self.hash, &bytes);
        self.sequence = delta.sequence;
        self.deltas.push_back((delta, bytes));
    }

    /// Raises the floor over the deltas at the front of which everything has expired.
    pub fn advance_floor(&mut self, now: UnixMillis) {
        let over = |delta: &Delta| delta.expires.plus_ms(limits::CLOCK_SKEW_MS) <= now;
        while self.deltas.front().is_some_and(|(delta, _)| over(delta)) {
            if let Some((delta, bytes)) = self.deltas.pop_front() {
                self.floor_hash = link(&self.floor_hash, &bytes);
                self.floor_sequence = delta.sequence;
            }
        }
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of the last delta.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The deltas that a reader at this position lacks, with their numbers. A reader of another
    /// epoch, or from below the floor, gets all.
    pub fn deltas_after(&self, epoch: u64, sequence: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let known =
            epoch == self.epoch && (self.floor_sequence..=self.sequence).contains(&sequence);
        let after = if known { sequence } else { self.floor_sequence };
        let lacking = self.deltas.iter().filter(move |(delta, _)| delta.sequence > after);
        lacking.map(|(delta, bytes)| (delta.sequence, bytes.as_slice()))
    }

    /// The head to be signed now.
    pub fn head(&self, time: UnixMillis) -> Head {
        Head {
            feed: self.feed.clone(),
            epoch: self.epoch,
            sequence: self.sequence,
            hash: self.hash,
            floor_sequence: self.floor_sequence,
            floor_hash: self.floor_hash,
            time,
        }
    }
}

const DELTA_LINE: &str = "sublet1d.";
const HEAD_LINE: &str = "sublet1h.";

/// A snapshot as text, for files: a line for each delta, and one for the head.
pub fn snapshot_text<'a>(deltas: impl IntoIterator<Item = &'a [u8]>, head: &[u8]) -> String {
    let mut text = String::new();
    for delta in deltas {
        text.push_str(&format!("{DELTA_LINE}{}\n", base64url(delta)));
    }
    text + &format!("{HEAD_LINE}{}\n", base64url(head))
}

/// One line of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotLine {
    /// A delta's bytes.
    Delta(Vec<u8>),
    /// A head's bytes.
    Head(Vec<u8>),
}

/// Reads what `snapshot_text` writes.
pub fn read_snapshot(text: &str) -> Result<Vec<SnapshotLine>, BadFeed> {
    let line = |(at, line): (usize, &str)| {
        let delta = line.strip_prefix(DELTA_LINE).and_then(from_base64url).map(SnapshotLine::Delta);
        let head = || line.strip_prefix(HEAD_LINE).and_then(from_base64url).map(SnapshotLine::Head);
        delta.or_else(head).ok_or(BadFeed::Text { line: at + 1 })
    };
    text.lines().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{KeyState, TrustedKey};
    use crate::sign::SecretKey;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const LATER: UnixMillis = UnixMillis(9_000_000);

    fn signer() -> SecretKey {
        SecretKey::ed25519_from_seed([6; 32])
    }

    fn bundle() -> TrustBundle {
        let key = |use_, id, seed| TrustedKey {
            use_,
            id: KeyId(id),
            alg: "ed25519".into(),
            public: SecretKey::ed25519_from_seed([seed; 32]).public_key().clone(),
            not_before: UnixMillis(0),
            not_after: UnixMillis(i64::MAX),
            state: KeyState::Active,
        };
        let keys = vec![key(KeyUse::Feed, 5, 6), key(KeyUse::Bundle, 6, 7)];
        TrustBundle::new(
            "acme.example".parse().unwrap(),
            1,
            UnixMillis(0),
            UnixMillis(i64::MAX),
            keys,
        )
        .unwrap()
    }

    fn writer() -> FeedWriter {
        FeedWriter::new("acme.example".parse().unwrap(), 1)
    }

    fn head(writer: &FeedWriter, time: UnixMillis) -> Vec<u8> {
        SignedHead::sign(writer.head(time), KeyId(5), &signer()).unwrap().encode()
    }

    fn hop(byte: u8) -> Revocation {
        Revocation::Hop(HopId([byte; 32]))
    }

    fn feed(
        view: &mut RevocationView,
        writer: &FeedWriter,
        time: UnixMillis,
    ) -> Result<(), BadFeed> {
        for (_, delta) in writer.deltas_after(view.epoch(), view.sequence()) {
            view.apply_delta(delta)?;
        }
        view.apply_head(&head(writer, time), &bundle(), time, 0)
    }

    fn view() -> RevocationView {
        RevocationView::new("acme.example".parse().unwrap())
    }

    #[test]
    fn follows_and_resumes() {
        let (mut writer, mut view) = (writer(), view());
        writer.append(hop(1), NOW, LATER);
        let agent: AgentId = "spiffe://acme.example/agent/a".parse().unwrap();
        writer.append(Revocation::AgentSuspended(agent.clone()), NOW, LATER);
        feed(&mut view, &writer, NOW).unwrap();
        assert!(
            view.is_revoked(&hop(1)) && view.is_revoked(&Revocation::AgentSuspended(agent.clone()))
        );
        writer.append(Revocation::AgentResumed(agent.clone()), NOW, LATER);
        feed(&mut view, &writer, NOW.plus_ms(5)).unwrap();
        assert!(!view.is_revoked(&Revocation::AgentSuspended(agent)));
        let stored: Vec<Delta> = writer.deltas.iter().map(|(delta, _)| delta.clone()).collect();
        let again = FeedWriter::resume("acme.example".parse().unwrap(), 1, stored).unwrap();
        assert_eq!(again.head(NOW), writer.head(NOW));
    }

    #[test]
    fn a_delta_counts_only_under_a_head() {
        let (mut writer, mut view) = (writer(), view());
        let delta = writer.append(hop(1), NOW, LATER).encode();
        view.apply_delta(&delta).unwrap();
        assert!(!view.is_revoked(&hop(1)));
        assert_eq!(view.age_ms(NOW, 0), None);
    }

    #[test]
    fn withheld_swapped_and_altered_deltas_are_noticed() {
        let mut writer = writer();
        writer.append(hop(1), NOW, LATER);
        writer.append(hop(2), NOW, LATER);
        let deltas: Vec<Vec<u8>> =
            writer.deltas_after(0, 0).map(|(_, bytes)| bytes.to_vec()).collect();
        let signed = head(&writer, NOW);
        let play = |deltas: &[&Vec<u8>]| {
            let mut view = view();
            deltas.iter().try_for_each(|delta| view.apply_delta(delta))?;
            view.apply_head(&signed, &bundle(), NOW, 0)
        };
        assert_eq!(play(&[&deltas[0], &deltas[1]]), Ok(()));
        assert_eq!(play(&[&deltas[0]]), Err(BadFeed::Incomplete { head: 2, held: 1 }));
        assert!(matches!(play(&[&deltas[1]]), Err(BadFeed::Gap { .. })));
        assert!(matches!(play(&[&deltas[1], &deltas[0]]), Err(BadFeed::Gap { .. })));
        let other = Delta { revocation: hop(9), ..Delta::decode(&deltas[1]).unwrap() }.encode();
        assert_eq!(play(&[&deltas[0], &other]), Err(BadFeed::Forked { sequence: 2 }));
    }

    #[test]
    fn never_goes_back_and_never_forks() {
        let (mut writer, mut view) = (writer(), view());
        let old = head(&writer, NOW);
        writer.append(hop(1), NOW, LATER);
        let mut fork = self::writer();
        fork.append(hop(7), NOW, LATER);
        feed(&mut view, &writer, NOW).unwrap();
        assert!(matches!(
            view.apply_head(&old, &bundle(), NOW, 0),
            Err(BadFeed::RolledBack { .. })
        ));
        let forked = view.apply_head(&head(&fork, NOW.plus_ms(1)), &bundle(), NOW, 0);
        assert_eq!(forked, Err(BadFeed::Forked { sequence: 1 }));
        assert!(view.is_revoked(&hop(1)));
    }

    #[test]
    fn age_is_on_the_issuers_clock_and_never_shrinks() {
        let (writer, mut view) = (writer(), view());
        let signed = head(&writer, NOW);
        view.apply_head(&signed, &bundle(), NOW, 100).unwrap();
        assert_eq!(view.age_ms(NOW.plus_ms(3_000), 3_100), Some(3_000));
        // The same head played again does not become younger, nor does a clock set back help.
        view.apply_head(&signed, &bundle(), NOW.plus_ms(3_000), 3_100).unwrap();
        assert_eq!(view.age_ms(NOW.plus_ms(-60_000), 4_100), Some(4_000));
        let ahead = view.apply_head(&head(&writer, NOW.plus_ms(60_000)), &bundle(), NOW, 0);
        assert_eq!(ahead, Err(BadFeed::FromFuture { ahead_ms: 60_000 }));
    }

    #[test]
    fn only_a_feed_key_signs_heads() {
        let other = SecretKey::ed25519_from_seed([7; 32]);
        let wrong_use = SignedHead::sign(writer().head(NOW), KeyId(6), &other).unwrap().encode();
        assert!(matches!(view().apply_head(&wrong_use, &bundle(), NOW, 0), Err(BadFeed::Key(_))));
        let wrong_key = SignedHead::sign(writer().head(NOW), KeyId(5), &other).unwrap().encode();
        assert_eq!(view().apply_head(&wrong_key, &bundle(), NOW, 0), Err(BadFeed::Signature));
    }

    #[test]
    fn the_floor_spares_fresh_readers_what_has_expired() {
        let mut writer = writer();
        writer.append(hop(1), NOW, NOW.plus_ms(10));
        writer.append(hop(2), NOW, LATER);
        writer.advance_floor(NOW.plus_ms(60_000));
        let mut view = view();
        feed(&mut view, &writer, NOW.plus_ms(60_000)).unwrap();
        assert!(!view.is_revoked(&hop(1)) && view.is_revoked(&hop(2)));
    }

    #[test]
    fn snapshots_are_text() {
        let mut writer = writer();
        let delta = writer.append(hop(1), NOW, LATER).encode();
        let text = snapshot_text([delta.as_slice()], &head(&writer, NOW));
        let lines = read_snapshot(&text).unwrap();
        assert_eq!(lines, [SnapshotLine::Delta(delta), SnapshotLine::Head(head(&writer, NOW))]);
        assert_eq!(read_snapshot("x"), Err(BadFeed::Text { line: 1 }));
    }
}
