//! Which keys an agent has had, and how many recorded hops each of them holds: what ends when one is revoked.
//! SPEC 3.7.4.
//!
//! Owns: the two indices. Does not own: whose a key is and what a hop is (rows of the `state`).
//!
//! Invariants: counted are hops that go to an agent itself, as a helper's key is nobody else's and dies with
//! its hop; a key that holds none takes no room.

use std::collections::HashMap;

use crate::base::id::AgentId;
use crate::base::key::Thumbprint;

/// Keys by agent, and hops by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldKeys {
    keys: HashMap<AgentId, Vec<Thumbprint>>,
    hops: HashMap<Thumbprint, u32>,
}

impl HeldKeys {
    /// Every key that was ever this agent's, oldest first but after a restart, when they are in no order.
    pub fn keys_of(&self, agent: &AgentId) -> &[Thumbprint] {
        self.keys.get(agent).map_or(&[], Vec::as_slice)
    }

    /// How many recorded hops go to this key of an agent. One that has ended counts until it is forgotten, about
    /// a minute later.
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
