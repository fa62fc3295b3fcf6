//! The deltas of the revocation feed, and the hash chain that they form. SPEC 7.4.
//!
//! Invariants: a delta has one encoding; the hash at a number depends on the feed, the epoch and
//! every delta up to it, so two lists with one hash are the same list. A delta of a kind below
//! [`SKIPPED_FROM`] is understood or refused. A delta of a kind from there on is never written
//! here; it has its number and its place in the hash chain, and revokes and lifts nothing.

use super::BadFeed;
use crate::base::bytes::{BadLayout, Label, Reader, Writer, domain, sha256};
use crate::base::id::{AgentId, HopId, Principal, TrustDomain, UnixMillis};
use crate::base::key::Thumbprint;
use crate::base::limits;

/// The first kind of delta that a reader skips if it does not know it (SPEC 7.4.2). A delta that no
/// reader may miss has a lower kind.
pub(super) const SKIPPED_FROM: u8 = 128;

/// The longest subject of a skipped delta, in bytes. It is longer than any name.
pub(super) const SKIPPED_SUBJECT_MAX: usize = 512;

/// The subject of a delta: what is revoked or suspended, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// A hop and everything below it is revoked.
    Hop(HopId),
    /// An agent is suspended, until it is resumed.
    AgentSuspended(AgentId),
    /// An agent is resumed.
    AgentResumed(AgentId),
    /// An agent's key is revoked for ever.
    AgentKey(Thumbprint),
    /// A principal is revoked, until it is restored.
    Principal(Principal),
    /// A principal is restored: for delegations that are issued from now on, and for no earlier
    /// one.
    PrincipalRestored(Principal),
    /// A root key is revoked.
    RootKey(Thumbprint),
}

impl Revocation {
    /// Returns whether a delegation that was issued for a principal at this time is revoked. Only
    /// this function reads revocations of principals: while the principal is revoked, all are;
    /// after it was restored, those that were issued before. `at` returns the time of the delta
    /// that revoked or restored a subject, if that is in force.
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
    /// The delta's number. The first is 1, and there is no gap.
    pub sequence: u64,
    /// When the delta was committed.
    pub at: UnixMillis,
    /// When everything that the delta can end has expired.
    pub expires: UnixMillis,
    /// The subject.
    pub revocation: Revocation,
}

impl Delta {
    /// Returns whether everything that the delta can end had expired by `now`, including the clock
    /// skew.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires.plus_ms(limits::CLOCK_SKEW_MS) <= now
    }

    /// Returns the revocation that this delta lifts if that one is earlier; `None` for a delta that
    /// lifts none. The times are compared and not the numbers, because a restoration that is
    /// repeated after a later revocation lifts nothing.
    pub(crate) fn lifts(&self) -> Option<Revocation> {
        match &self.revocation {
            Revocation::PrincipalRestored(principal) => {
                Some(Revocation::Principal(principal.clone()))
            }
            _ => None,
        }
    }

    /// Returns the delta's bytes.
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

    /// Decodes a delta, exactly. Every unknown kind is refused, because a broker that continues its
    /// own feed must understand each delta.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFeed> {
        match Received::decode(bytes)? {
            Received::Understood(delta) => Ok(delta),
            Received::Skipped { .. } => Err(BadFeed::Layout(BadLayout)),
        }
    }
}

/// A delta as a reader of the feed receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A delta of a known kind.
    Understood(Delta),
    /// A delta of an unknown kind. Only its number and its bytes in the hash chain count.
    Skipped { sequence: u64 },
}

impl Received {
    pub(super) fn sequence(&self) -> u64 {
        match self {
            Received::Understood(delta) => delta.sequence,
            Received::Skipped { sequence } => *sequence,
        }
    }

    /// Decodes a delta, exactly.
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

/// Returns the hash before the first delta of a feed.
pub(super) fn genesis(feed: &TrustDomain, epoch: u64) -> [u8; 32] {
    let bytes = Writer::labelled(Label::Feed).text(feed.as_str()).u64(epoch).finish();
    sha256(&bytes)
}

pub(super) fn link(previous: &[u8; 32], delta: &[u8]) -> [u8; 32] {
    sha256(&[domain(Label::FeedLink).as_slice(), previous, delta].concat())
}
