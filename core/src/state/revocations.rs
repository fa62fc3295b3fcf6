//! What of the state is about revocations: what is in force, what it ends, and what of it nobody knows.
//!
//! Owns: the rows of revocations, and the questions about them. Does not own: what a revocation says
//! (`feed`), who may revoke (`decide`).
//!
//! Invariants: of two revocations of one thing the one that lasts longer counts; whether a principal's
//! authority is gone is asked of one function, the one that verifiers ask (`feed`).

use super::{Delegation, State};
use crate::base::id::{HopId, Principal, UnixMillis};
use crate::base::key::Thumbprint;
use crate::revocation::feed::{Delta, Revocation};

impl Delegation {
    /// When it was issued, as its block 0 says it: in whole seconds.
    pub fn block_time(&self) -> UnixMillis {
        UnixMillis::from_seconds(self.issued_at.seconds())
    }
}

impl State {
    /// The number of the last revocation.
    pub fn revocation_sequence(&self) -> u64 {
        self.revocation_sequence
    }

    /// The delta that revoked this, if it is revoked.
    pub fn revoked(&self, revocation: &Revocation) -> Option<&Delta> {
        self.revoked.get(revocation)
    }

    /// Whether what is issued for a principal at this time is revoked.
    pub fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool {
        let at = |known: &Revocation| self.revoked(known).map(|delta| delta.at);
        Revocation::ends(principal, issued_at, at)
    }

    /// Whether nothing of the chain up to a recorded hop is revoked: hops, agents, keys, principal.
    pub fn is_alive(&self, hop: &HopId) -> bool {
        let revoked = |revocation| self.revoked.contains_key(&revocation);
        let mut next = Some(*hop);
        while let Some(id) = next {
            let Some(row) = self.hops.get(&id) else { return false };
            let dead = revoked(Revocation::Hop(id))
                || revoked(Revocation::AgentSuspended(row.agent.clone()))
                || revoked(Revocation::AgentKey(row.key));
            if dead {
                return false;
            }
            next = row.parent;
        }
        let delegation = self.hops.get(hop).and_then(|row| self.delegations.get(&row.delegation));
        delegation.is_some_and(|row| !self.ends(&row.principal, row.block_time()))
    }

    /// The number of the last revocation of a store that is opened: what it counts on from.
    pub fn resume_revocations(&mut self, sequence: u64) {
        self.revocation_sequence = self.revocation_sequence.max(sequence);
    }

    /// Of two revocations of one thing the one that lasts longer counts, as it does for verifiers.
    pub(super) fn put_revocation(&mut self, delta: Delta) {
        self.revocation_sequence = self.revocation_sequence.max(delta.sequence);
        if let Revocation::AgentResumed(agent) = &delta.revocation {
            self.revoked.remove(&Revocation::AgentSuspended(agent.clone()));
            return;
        }
        if let Some(lifted) = delta.lifts()
            && self.revoked(&lifted).is_some_and(|held| held.at < delta.at)
        {
            self.revoked.remove(&lifted);
        }
        let longer =
            self.revoked(&delta.revocation).is_some_and(|held| held.expires > delta.expires);
        if !longer {
            self.revoked.insert(delta.revocation.clone(), delta);
        }
    }

    /// Whether a delta of the feed still says something that holds: it is the one by which its subject is
    /// revoked, and what it could kill is not over by `before`.
    pub fn is_in_force(&self, delta: &Delta, before: UnixMillis) -> bool {
        let held = self.revoked(&delta.revocation);
        held.is_some_and(|held| held.sequence == delta.sequence) && !delta.is_over(before)
    }

    /// Forgets a delta that the feed's floor has passed; one that was stated again since stays.
    pub(super) fn forget_revocation(&mut self, sequence: u64, revocation: &Revocation) {
        if self.revoked(revocation).is_some_and(|held| held.sequence == sequence) {
            self.revoked.remove(revocation);
        }
    }

    /// Whether anybody has shown this key, or a hop that is kept goes to it: looks through all of them.
    pub fn knows_key(&self, key: &Thumbprint) -> bool {
        self.key_owners.contains_key(key) || self.hops.values().any(|row| row.key == *key)
    }

    /// When something was issued for a principal last, as the token says it: looks through all delegations.
    pub fn last_issued_for(&self, principal: &Principal) -> Option<UnixMillis> {
        let issued = self.delegations.values().filter(|row| row.principal == *principal);
        issued.map(Delegation::block_time).max()
    }

    /// Whether anything was issued for this principal, or somebody may act for it: looks through all
    /// delegations and sessions.
    pub fn names_principal(&self, principal: &Principal) -> bool {
        let mut sessions = self.sessions.values().filter_map(|row| row.principal.as_ref());
        self.last_issued_for(principal).is_some() || sessions.any(|named| named == principal)
    }
}
