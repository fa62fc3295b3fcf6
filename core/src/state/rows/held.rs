//! The keys that each agent has had, and how many recorded hops each key holds. They tell what ends
//! when a key is revoked. SPEC 3.7.4.
//!
//! Owns: the two indices. Does not own: the owner of a key and the content of a hop (rows of the
//! `state`).
//!
//! Invariants: only hops to an agent itself are counted, because a helper's key belongs to nobody
//! else and ends with its hop; a key without hops takes no space.

use std::collections::HashMap;

use crate::base::id::AgentId;
use crate::base::key::Thumbprint;

/// The keys of each agent, and the number of hops of each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldKeys {
    keys: HashMap<AgentId, Vec<Thumbprint>>,
    hops: HashMap<Thumbprint, u32>,
}

impl HeldKeys {
    /// Returns every current and former key of this agent, the oldest first. After a restart they
    /// are in no order.
    pub fn keys_of(&self, agent: &AgentId) -> &[Thumbprint] {
        self.keys.get(agent).map_or(&[], Vec::as_slice)
    }

    /// Returns how many recorded hops go to this key of an agent. A hop that has ended counts until
    /// it is removed, about a minute later.
    pub fn hops_of(&self, key: &Thumbprint) -> u32 {
        self.hops.get(key).copied().unwrap_or(0)
    }

    pub(crate) fn add_key(&mut self, agent: AgentId, key: Thumbprint) {
        self.keys.entry(agent).or_default().push(key);
    }

    pub(crate) fn add_hop(&mut self, key: Thumbprint) {
        *self.hops.entry(key).or_default() += 1;
    }

    pub(crate) fn forget_hop(&mut self, key: &Thumbprint) {
        match self.hops_of(key).saturating_sub(1) {
            0 => drop(self.hops.remove(key)),
            left => drop(self.hops.insert(*key, left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_the_hops_that_are_not_forgotten() {
        let (mut held, key) = (HeldKeys::default(), Thumbprint([1; 32]));
        held.add_hop(key);
        held.add_hop(key);
        held.forget_hop(&key);
        assert_eq!(held.hops_of(&key), 1);
        held.forget_hop(&key);
        held.forget_hop(&key);
        assert_eq!(held.hops_of(&key), 0);
        assert!(held.hops.is_empty());
    }
}
