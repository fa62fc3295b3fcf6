//! What the state says and what the model says, compared; and a restart, which changes nothing that was written.

use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::revocation::feed::Revocation;
use sublet_core::state::{AgentState, State};

use crate::cast::{AGENT_COUNT, PRINCIPALS, PROFILES, agent_id, principal};
use crate::property::{Check, Property};
use crate::world::World;

const AGREES: Property = Property::Agreement;

impl World {
    /// The state is what the model says, row by row.
    pub(crate) fn check_agreement(&self) -> Check {
        let (state, reference) = (self.broker.state(), &self.reference);
        for (id, facts) in &reference.agents {
            let row = state.agent(id).ok_or_else(|| AGREES.broken(format!("{id} is gone")))?;
            let expected = match (facts.suspended, facts.key) {
                (true, _) => AgentState::Suspended,
                (false, Some(_)) => AgentState::Active,
                (false, None) => AgentState::Invited,
            };
            let key = row.key.as_ref().map(|key| key.thumbprint());
            AGREES.holds((row.state, key) == (expected, facts.key), || {
                format!("{id} is {row:?}, the model has {facts:?}")
            })?;
        }
        for (key, agent) in &reference.owners {
            let owner = state.key_owner(key).map(|owner| &owner.agent);
            AGREES
                .holds(owner == Some(agent), || format!("{key} is of {owner:?}, not of {agent}"))?;
        }
        for (id, invitation) in &reference.invitations {
            let open = state.join_token(id).is_some_and(|row| row.state.name() == "open");
            // One that is over may be forgotten.
            let over = invitation.expires_at <= self.broker_now();
            AGREES.holds(open == invitation.open || over, || {
                format!("join token {id}: {invitation:?}")
            })?;
        }
        let retention = state.retention();
        let holds = retention.holds().map(|hold| (hold.name.as_str(), hold.from, hold.to));
        let expected = reference.holds.iter().map(|(name, (from, to))| (name.as_str(), *from, *to));
        AGREES.holds(holds.eq(expected) && retention.floor() == reference.floor, || {
            format!("{retention:?}, the model has {} and {:?}", reference.floor, reference.holds)
        })?;
        self.check_ended()?;
        let hops = reference.recorded.keys();
        hops.into_iter().try_for_each(|id| self.check_row(id))
    }

    /// What is revoked in the state is what was revoked; of what is over it may be forgotten.
    fn check_ended(&self) -> Check {
        let (state, ended) = (self.broker.state(), &self.reference.ended);
        let now = self.broker_now();
        let revoked = |subject: Revocation| state.revoked(&subject).is_some();
        let p2 = Property::NeverOutlive;
        for id in self.reference.hops.keys() {
            let (known, held) = (ended.hops.contains_key(id), revoked(Revocation::Hop(*id)));
            let over = now.seconds() >= self.reference.expires(id);
            p2.holds(known == held || (known && over), || {
                format!("hop {id}: revoked in the model {known}, in the state {held}")
            })?;
        }
        for agent in (0..AGENT_COUNT).map(agent_id) {
            let held = revoked(Revocation::AgentSuspended(agent.clone()));
            p2.holds(held == ended.agents.contains_key(&agent), || {
                format!("{agent} suspended: {held}")
            })?;
        }
        for key in self.reference.owners.keys() {
            let (known, held) = (ended.keys.contains_key(key), revoked(Revocation::AgentKey(*key)));
            let kept = state.key_owner(key).is_some_and(|owner| owner.revoked);
            p2.holds(if known { kept } else { !held && !kept }, || {
                format!("key {key}: {known}, {held}")
            })?;
        }
        for name in (0..PRINCIPALS.len()).map(principal) {
            let held = revoked(Revocation::Principal(name.clone()));
            p2.holds(held == ended.principals.contains_key(&name), || format!("{name}: {held}"))?;
        }
        Ok(())
    }

    /// The row of a recorded hop: what its block says, at the index of its record. It is kept while it lives.
    pub(crate) fn check_row(&self, id: &HopId) -> Check {
        let (state, facts) = (self.broker.state(), &self.reference.hops[id]);
        let p5 = Property::EveryHopStored;
        let Some(row) = state.hop(id) else {
            let over = facts.not_after <= self.broker_now().seconds();
            return p5.holds(over, || format!("hop {id} is alive and has no row"));
        };
        let ends = UnixMillis::from_seconds(facts.not_after);
        Property::NeverOutlive.holds(row.expires_at == ends, || {
            format!("hop {id} ends at {ends:?}, its row says {:?}", row.expires_at)
        })?;
        let source = facts.parent.and_then(|parent| state.hop(&parent));
        Property::NeverOutlive
            .holds(source.is_none_or(|source| row.expires_at <= source.expires_at), || {
                format!("hop {id} outlives its source")
            })?;
        let maker = facts.parent.map_or(&facts.agent, |parent| &self.reference.hops[&parent].agent);
        Property::Isolation.holds(row.maker.as_ref() == Some(maker), || {
            format!("hop {id} is counted for {:?}, {maker} made it", row.maker)
        })?;
        let named = (&row.agent, &row.helper, row.key, row.parent, row.delegation, row.position);
        let said = (
            &facts.agent,
            &facts.helper,
            facts.key,
            facts.parent,
            facts.delegation,
            facts.position,
        );
        Property::EveryHopProven
            .holds(named == said, || format!("{row:?}, the block says {facts:?}"))?;
        p5.holds(Some(row.index) == self.index_of(id), || {
            format!("hop {id} is at index {}, its record at {:?}", row.index, self.index_of(id))
        })?;
        let delegation = state.delegation(&facts.delegation);
        let delegation = delegation.ok_or_else(|| p5.broken("a hop without its delegation"))?;
        let counted = (delegation.records, delegation.last_leaf);
        p5.holds(counted == self.records_of(&facts.delegation), || format!("{delegation:?}"))?;
        let alive = self.reference.ended_since(id).is_none();
        let root = self.reference.ended.roots.contains_key(&facts.root);
        let over = self.broker_now().seconds() >= self.reference.expires(id);
        Property::NeverOutlive.holds(state.is_alive(id) == alive || root || over, || {
            format!("hop {id} is alive in the model {alive}, in the state {}", !alive)
        })
    }

    /// Dies and starts again; what a decision may read is what was written before.
    pub(crate) fn crash(&mut self) -> Check {
        let before = self.broker.state().clone();
        self.broker.restart();
        let after = self.broker.state();
        let same = [
            ("agents", before.agents().eq(after.agents())),
            ("profiles", before.profiles().eq(after.profiles())),
            ("join tokens", before.join_tokens().eq(after.join_tokens())),
            ("delegations", before.delegations_after(None).eq(after.delegations_after(None))),
            ("sessions", before.sessions().eq(after.sessions())),
            ("answers", before.answers() == after.answers()),
            ("retention", before.retention() == after.retention()),
            ("the trust bundle", before.trust() == after.trust()),
            ("the end of the log", before.ledger() == after.ledger()),
            ("revocations", self.same_revocations(&before, after)),
            ("hops", self.same_hops(&before, after)),
            ("bounds of agents", self.same_agents(&before, after)),
        ];
        let other = same.iter().find(|(_, same)| !same);
        Property::Restart.holds(other.is_none(), || {
            format!("{} are not what they were before the restart", other.unwrap().0)
        })
    }

    fn same_revocations(&self, before: &State, after: &State) -> bool {
        let reference = &self.reference;
        let hops = reference.hops.keys().map(|id| Revocation::Hop(*id));
        let keys = reference.owners.keys().map(|key| Revocation::AgentKey(*key));
        let roots = reference.ended.roots.keys().map(|key| Revocation::RootKey(*key));
        let agents = (0..AGENT_COUNT).map(|agent| Revocation::AgentSuspended(agent_id(agent)));
        let names = || (0..PRINCIPALS.len()).map(principal);
        let principals = names().map(Revocation::Principal);
        let restored = names().map(Revocation::PrincipalRestored);
        let mut all = hops.chain(keys).chain(roots).chain(agents).chain(principals).chain(restored);
        before.revocation_sequence() == after.revocation_sequence()
            && all.all(|subject| before.revoked(&subject) == after.revoked(&subject))
    }

    fn same_hops(&self, before: &State, after: &State) -> bool {
        let mut all = self.reference.recorded.keys();
        all.all(|id| before.hop(id) == after.hop(id) && before.followers(id) == after.followers(id))
            && before.counts() == after.counts()
    }

    fn same_agents(&self, before: &State, after: &State) -> bool {
        let now = self.broker_now();
        let sessions = before.sessions().all(|session| {
            let issued = |state: &State| {
                let mut ids: Vec<HopId> =
                    state.in_session(&session.id, now).map(|row| row.id).collect();
                ids.sort_by_key(|id| id.0);
                ids
            };
            issued(before) == issued(after)
        });
        let agents = (0..AGENT_COUNT).map(agent_id).all(|agent| {
            let keys = |state: &State| {
                let mut keys = state.held().keys_of(&agent).to_vec();
                keys.sort_by_key(|key| key.0);
                let hops: Vec<u32> = keys.iter().map(|key| state.held().hops_of(key)).collect();
                (keys, hops, state.hops_of(&agent), state.verifier(&agent).cloned())
            };
            keys(before) == keys(after)
        });
        sessions
            && agents
            && PROFILES.iter().all(|name| before.profile(name) == after.profile(name))
    }
}
