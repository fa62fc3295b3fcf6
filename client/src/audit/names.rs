//! The names in a ledger. They tell why an answer is empty: nothing was done under a name, or the
//! name is unknown.
//!
//! Owns: the names of agents and principals in records. Does not own: what was done under them
//! (`history`), the form of a name (`sublet_core::base::id`).
//!
//! Invariants: a name counts as recorded if any record contains it, whether or not it did anything;
//! an erased payload names nobody.

use std::collections::BTreeSet;

use sublet_core::token::verify::VerifiedToken;
use sublet_proto::record::record::Body;

use crate::audit::entry::Entry;
use crate::audit::replay::Report;

/// The names of agents and principals in records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    agents: BTreeSet<String>,
    principals: BTreeSet<String>,
}

impl Names {
    /// Returns the names in these records: actors, subjects and principals.
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut names = Names::default();
        for entry in entries {
            let about = match &entry.record.body {
                Some(
                    Body::AgentCreated(change)
                    | Body::AgentEnrolled(change)
                    | Body::AgentRenewed(change)
                    | Body::KeyRotated(change)
                    | Body::AgentSuspended(change)
                    | Body::AgentResumed(change)
                    | Body::KeyRevoked(change),
                ) => &change.agent_id,
                Some(Body::JoinTokenCreated(change)) => &change.agent_id,
                Some(Body::Consented(consent)) => &consent.agent_id,
                Some(Body::Issued(hop) | Body::HopRecorded(hop)) => &hop.agent_id,
                Some(Body::Revoked(revoked)) if revoked.kind == "agent" => &revoked.target,
                _ => "",
            };
            for name in [about, &entry.record.actor, &entry.record.recorded_holder] {
                names.agent(name);
            }
            names.principal(&entry.words().principal);
        }
        names
    }

    /// Adds the names in the chains of delegations and uses.
    pub(crate) fn with<'a>(
        mut self,
        delegations: impl IntoIterator<Item = &'a Report>,
        used: impl IntoIterator<Item = &'a VerifiedToken>,
    ) -> Self {
        for report in delegations {
            self.principal(report.on_behalf_of.as_deref().unwrap_or_default());
        }
        for token in used {
            let blocks = token.signed_blocks().iter();
            blocks.for_each(|signed| self.agent(signed.block().agent.as_str()));
            self.principal(token.principal().map_or("", |principal| principal.as_str()));
        }
        self
    }

    /// Returns whether any record names this agent.
    pub(crate) fn has_agent(&self, agent: &str) -> bool {
        self.agents.contains(agent)
    }

    /// Returns whether any record names this principal.
    pub(crate) fn has_principal(&self, principal: &str) -> bool {
        self.principals.contains(principal)
    }

    /// Adds an agent's name, which may also be part of a helper's name.
    fn agent(&mut self, name: &str) {
        let agent = name.split_once('#').map_or(name, |(agent, _)| agent);
        if agent.starts_with("spiffe://") && !self.agents.contains(agent) {
            self.agents.insert(agent.to_owned());
        }
    }

    fn principal(&mut self, name: &str) {
        if !name.is_empty() && !self.principals.contains(name) {
            self.principals.insert(name.to_owned());
        }
    }
}
