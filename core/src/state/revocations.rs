//! Revocations in the state: what is in force, and what it ends.
//!
//! Owns: the rows of revocations, and reading them. Does not own: the content of a revocation
//! (`feed`), who may revoke (`decide`).
//!
//! Invariants: of two revocations of one subject the one that lasts longer counts; only one
//! function tells whether a principal's authority is revoked, and verifiers use the same (`feed`).

use super::{Delegation, State};
use crate::base::id::{HopId, Principal, UnixMillis};
use crate::base::key::Thumbprint;
use crate::revocation::feed::{Delta, Revocation};

impl Delegation {
    /// Returns when it was issued, as its block 0 states it: in whole seconds.
    pub fn block_time(&self) -> UnixMillis {
        UnixMillis::from_seconds(self.issued_at.seconds())
    }
}

impl State {
    /// Returns the number of the last revocation.
    pub fn revocation_sequence(&self) -> u64 {
        self.revocation_sequence
    }

    /// Returns the delta that revoked this subject; `None` when it is not revoked.
    pub fn revoked(&self, revocation: &Revocation) -> Option<&Delta> {
        self.revoked.get(revocation)
    }

    /// Returns whether a delegation that is issued for a principal at this time is revoked.
    pub fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool {
        let at = |known: &Revocation| self.revoked(known).map(|delta| delta.at);
        Revocation::ends(principal, issued_at, at)
    }

    /// Returns whether nothing of the chain up to a recorded hop is revoked: hops, agents, keys,
    /// principal.
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

    /// Sets the number of the last revocation when a store is opened.
    pub fn resume_revocations(&mut self, sequence: u64) {
        self.revocation_sequence = self.revocation_sequence.max(sequence);
    }

    /// Of two revocations of one subject the one that lasts longer counts, as it does for
    /// verifiers.
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

    /// Returns whether a delta of the feed is still in force: its subject is revoked by it, and
    /// something that it could end has not expired by `before`.
    pub fn is_in_force(&self, delta: &Delta, before: UnixMillis) -> bool {
        let held = self.revoked(&delta.revocation);
        held.is_some_and(|held| held.sequence == delta.sequence) && !delta.is_over(before)
    }

    /// Removes a delta that the feed's floor has passed. One that got a new number since stays.
    pub(super) fn forget_revocation(&mut self, sequence: u64, revocation: &Revocation) {
        if self.revoked(revocation).is_some_and(|held| held.sequence == sequence) {
            self.revoked.remove(revocation);
        }
    }

    /// Returns whether an agent has shown this key, or a kept hop goes to it. Searches all hops.
    pub fn knows_key(&self, key: &Thumbprint) -> bool {
        self.key_owners.contains_key(key) || self.hops.values().any(|row| row.key == *key)
    }

    /// Returns when something was last issued for a principal, as the token states it; `None` when
    /// nothing was. Searches all delegations.
    pub fn last_issued_for(&self, principal: &Principal) -> Option<UnixMillis> {
        let issued = self.delegations.values().filter(|row| row.principal == *principal);
        issued.map(Delegation::block_time).max()
    }

    /// Returns whether something was issued for this principal, or a session names it. Searches all
    /// delegations and sessions.
    pub fn names_principal(&self, principal: &Principal) -> bool {
        let mut sessions = self.sessions.values().filter_map(|row| row.principal.as_ref());
        self.last_issued_for(principal).is_some() || sessions.any(|named| named == principal)
    }
}
