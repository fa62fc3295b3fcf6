//! What can be revoked, and the hash chain that its deltas form. SPEC 7.4.
//!
//! Invariants: a delta has one encoding; the hash at a number depends on the feed, the epoch and
//! every delta up to it, so two lists that end in one hash are one list. A delta of a kind below
//! [`SKIPPED_FROM`] is understood or refused; one of a kind from there on is never written here, has
//! its number and its place in the hash chain, and revokes and lifts nothing.

use super::BadFeed;
use crate::base::bytes::{BadLayout, Label, Reader, Writer, domain, sha256};
use crate::base::id::{AgentId, HopId, Principal, TrustDomain, UnixMillis};
use crate::base::key::Thumbprint;
use crate::base::limits;

/// The first kind of delta that a reader skips where it does not know it (SPEC 7.4.2). Whatever a
/// reader must not miss has a kind below.
pub(super) const SKIPPED_FROM: u8 = 128;

/// Bytes of the subject of a delta that is skipped, at most: more than any name has.
pub(super) const SKIPPED_SUBJECT_MAX: usize = 512;

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
    /// A user's authority, until it is restored.
    Principal(Principal),
    /// A user's authority is back: for what is issued after this, and for nothing from before.
    PrincipalRestored(Principal),
    /// A root key.
    RootKey(Thumbprint),
}

impl Revocation {
    /// Whether what was issued for a principal at this time is revoked. The one place where revocations of
    /// principals are read: all of it is while the principal is revoked, and after its return what was
    /// issued up to then. `at` gives the time of the delta by which something is in force, if it is.
    pub(crate) fn ends(
        principal: &Principal,
        issued_at: UnixMillis,
        at: impl Fn(&Revocation) -> Option<UnixMillis>,
    ) -> bool {
        at(&Revocation::Principal(principal.clone())).is_some()
            || at(&Revocation::PrincipalRestored(principal.clone()))
                .is_some_and(|restored| issued_at <= restored)
    }
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
    /// Whether all that it could kill had expired by `now`, skew included.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires.plus_ms(limits::CLOCK_SKEW_MS) <= now
    }

    /// The revocation of a principal that this lifts where it is from before it. By time and not by number:
    /// a return that is stated again behind a later revocation lifts nothing.
    pub(crate) fn lifts(&self) -> Option<Revocation> {
        match &self.revocation {
            Revocation::PrincipalRestored(principal) => {
                Some(Revocation::Principal(principal.clone()))
            }
            _ => None,
        }
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, subject): (u8, &[u8]) = match &self.revocation {
            Revocation::Hop(id) => (1, &id.0),
            Revocation::AgentSuspended(agent) => (2, agent.as_str().as_bytes()),
            Revocation::AgentResumed(agent) => (3, agent.as_str().as_bytes()),
            Revocation::AgentKey(key) => (4, &key.0),
            Revocation::Principal(principal) => (5, principal.as_str().as_bytes()),
            Revocation::RootKey(key) => (6, &key.0),
            Revocation::PrincipalRestored(principal) => (7, principal.as_str().as_bytes()),
        };
        let head =
            Writer::labelled(Label::FeedDelta).u64(self.sequence).time(self.at).time(self.expires);
        head.u8(kind).fixed(subject).finish()
    }

    /// Reads the bytes, exactly. Refuses every kind that it does not know: whoever goes on from its own
    /// deltas, as a broker does, has to understand each.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFeed> {
        match Received::decode(bytes)? {
            Received::Understood(delta) => Ok(delta),
            Received::Skipped { .. } => Err(BadFeed::Layout(BadLayout)),
        }
    }
}

/// A delta as a reader of the feed meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Of a kind that is known here.
    Understood(Delta),
    /// Of a kind that may be unknown: only its number counts, and its bytes in the hash chain.
    Skipped { sequence: u64 },
}

impl Received {
    pub(super) fn sequence(&self) -> u64 {
        match self {
            Received::Understood(delta) => delta.sequence,
            Received::Skipped { sequence } => *sequence,
        }
    }

    /// Reads the bytes, exactly.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadFeed> {
        let mut reader = Reader::labelled(bytes, Label::FeedDelta)?;
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
            7 => Revocation::PrincipalRestored(text()?.parse().map_err(name)?),
            SKIPPED_FROM.. if subject.len() <= SKIPPED_SUBJECT_MAX => {
                return Ok(Received::Skipped { sequence });
            }
            _ => return Err(BadFeed::Layout(BadLayout)),
        };
        Ok(Received::Understood(Delta { sequence, at, expires, revocation }))
    }
}

/// Where the hash chain of a feed begins.
pub(super) fn genesis(feed: &TrustDomain, epoch: u64) -> [u8; 32] {
    let bytes = Writer::labelled(Label::Feed).text(feed.as_str()).u64(epoch).finish();
    sha256(&bytes)
}

pub(super) fn link(previous: &[u8; 32], delta: &[u8]) -> [u8; 32] {
    sha256(&[domain(Label::FeedLink).as_slice(), previous, delta].concat())
}
