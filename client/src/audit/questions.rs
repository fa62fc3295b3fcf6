//! What an auditor asks of a history, and the answers with their evidence. docs/DESIGN, "Replay".
//!
//! Owns: which records answer which question. Does not own: what a record shows (`history`).
//!
//! Invariants: every answer names the records that it rests on; what could not be shown is listed
//! and not left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sublet_core::base::id::{AgentId, DelegationId, HopId, Principal, UnixMillis};
use sublet_core::base::json::Json;
use sublet_core::base::text::base64url;
use sublet_core::capability::effective::effective;
use sublet_core::evidence::call::Call;
use sublet_core::evidence::record::UseVerdict;
use sublet_core::revocation::feed::Revocation;
use sublet_core::token::verify::VerifiedToken;

use crate::audit::chain::{HopReport, narrowing};
use crate::audit::history::{History, RecordedRevocation, RecordedUse};

/// Which uses are asked for; what is `None` asks for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Of one delegation.
    pub delegation: Option<DelegationId>,
    /// By a chain in which this agent is a holder.
    pub agent: Option<AgentId>,
    /// On behalf of this principal.
    pub principal: Option<Principal>,
    /// Of this tool or a thing that an argument names: itself, and what lies below.
    pub resource: Option<String>,
    /// Of this action.
    pub action: Option<String>,
}

impl Query {
    fn matches(&self, used: &RecordedUse) -> bool {
        let token = used.token.as_ref().ok();
        let held_by =
            |agent: &AgentId| token.is_some_and(|token| agents(token).any(|a| a == agent));
        let principal = token.and_then(VerifiedToken::principal);
        self.delegation.is_none_or(|id| id == used.delegation)
            && self.agent.as_ref().is_none_or(held_by)
            && self.principal.as_ref().is_none_or(|asked| principal == Some(asked))
            && self.action.as_ref().is_none_or(|action| used.used.action == *action)
            && self.resource.as_ref().is_none_or(|resource| touches(used, resource))
    }
}

fn agents(token: &VerifiedToken) -> impl Iterator<Item = &AgentId> {
    token.signed_blocks().iter().map(|signed| &signed.block().agent)
}

fn touches(used: &RecordedUse, resource: &str) -> bool {
    let at_or_below = |text: &str| {
        text.strip_prefix(resource)
            .is_some_and(|rest| rest.is_empty() || resource.ends_with('/') || rest.starts_with('/'))
    };
    let named = |call: &Call| {
        call.arguments
            .leaves()
            .any(|(_, value)| matches!(value, Json::Str(text) if at_or_below(text)))
    };
    at_or_below(&used.used.audience) || used.call.as_ref().is_ok_and(named)
}

/// Questions 1 to 6: one use, by whom, for whom, through which hops, whether it was valid then.
#[derive(Clone, Debug, Serialize)]
pub struct UseAnswer {
    /// The record.
    pub record: u64,
    /// When the tool decided it (its clock) and when the broker recorded it, in milliseconds: it
    /// happened before the second.
    pub decided_at_ms: i64,
    /// See above.
    pub recorded_at_ms: i64,
    /// The tool that reported it.
    pub reported_by: String,
    /// The tool, as it was called.
    pub audience: String,
    /// What was called.
    pub action: String,
    /// The arguments, as JSON text; `None` when they are not known.
    pub arguments: Option<String>,
    /// "allowed", or the code of the refusal.
    pub verdict: String,
    /// Who called.
    pub by: Option<String>,
    /// The key that it called with, by its thumbprint.
    pub by_key: Option<String>,
    /// The last holder of the chain that was recorded, where the caller's own hop was not: what stands behind
    /// it in the chain is the word of whoever appended it.
    pub recorded_holder: Option<String>,
    /// On whose behalf.
    pub on_behalf_of: Option<String>,
    /// The delegation.
    pub delegation: String,
    /// Through which hops; empty when the chain could not be put together.
    pub hops: Vec<UsedHop>,
    /// What became of the call, by the tool's word; `None` when it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// For each block, the root first, which capability of its scope admitted the call, by the tool's word;
    /// empty when it does not say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<u32>,
    /// SHA-256 of the answer in base64url, by the tool's word; `None` when it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// "reproduced", "diverged", "not_shown".
    pub decided_again: &'static str,
    /// What is behind that.
    pub detail: String,
    /// What had been revoked of the chain when it was decided, and was not known to the tool.
    pub stale: Vec<Stale>,
    /// Records of revocations that concern its chain, before or after.
    pub revoked_by: Vec<u64>,
}

/// A hop of a use.
#[derive(Clone, Debug, Serialize)]
pub struct UsedHop {
    /// Its id.
    pub hop: String,
    /// Who held it.
    pub holder: String,
    /// The index of its record; `None` when no record has it.
    pub record: Option<u64>,
    /// What it took away.
    pub narrowing: Vec<String>,
}

/// A decision that did not know of a revocation.
#[derive(Clone, Debug, Serialize)]
pub struct Stale {
    /// The record of the revocation.
    pub revocation: u64,
    /// For how long it had been in force by the broker's clock.
    pub for_ms: i64,
}

impl History {
    /// Whether any record that was read names this: an agent, a principal, a hop.
    pub fn is_named(&self, source: &Source) -> bool {
        match source {
            Source::Hop(id) => {
                let in_chain = |used: &RecordedUse| {
                    let token = used.token.as_ref();
                    token.is_ok_and(|token| token.hops().any(|(hop, _)| hop == *id))
                };
                self.hop(id).is_some() || self.uses.iter().any(in_chain)
            }
            Source::Agent(agent) => self.names.has_agent(agent.as_str()),
            Source::Principal(principal) => self.names.has_principal(principal.as_str()),
        }
    }
}

impl History {
    /// Who touched what, on whose behalf, through which hops, and was it valid then.
    pub fn uses_of(&self, query: &Query) -> Vec<UseAnswer> {
        self.uses.iter().filter(|used| query.matches(used)).map(|used| self.answer(used)).collect()
    }

    fn answer(&self, used: &RecordedUse) -> UseAnswer {
        let token = used.token.as_ref().ok();
        let evidence = used.evidence.as_ref();
        let arguments = evidence.map(|evidence| evidence.arguments.as_slice());
        let arguments = arguments.filter(|bytes| !bytes.is_empty());
        let answer = evidence.map(|evidence| &evidence.answer).filter(|bytes| !bytes.is_empty());
        UseAnswer {
            record: used.index,
            decided_at_ms: used.used.decided_at_ms,
            recorded_at_ms: used.recorded_at.0,
            reported_by: used.verifier.clone(),
            audience: used.used.audience.clone(),
            action: used.used.action.clone(),
            arguments: arguments.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            verdict: used.verdict().to_string(),
            by: token.map(|token| token.holder().to_string()),
            by_key: token.map(|token| token.holder_key().thumbprint().to_string()),
            recorded_holder: token.and_then(|token| self.recorded_holder(token)),
            on_behalf_of: token.and_then(VerifiedToken::principal).map(ToString::to_string),
            delegation: used.delegation.to_string(),
            hops: token.map(|token| self.hops(token)).unwrap_or_default(),
            outcome: Some(used.used.outcome.clone()).filter(|outcome| !outcome.is_empty()),
            capabilities: evidence.map(|known| known.capabilities.clone()).unwrap_or_default(),
            answer: answer.map(base64url),
            decided_again: used.again.name(),
            detail: used.again.detail().to_owned(),
            stale: self.stale(used),
            revoked_by: self.concerning(used).map(|revocation| revocation.index).collect(),
        }
    }

    fn recorded_holder(&self, token: &VerifiedToken) -> Option<String> {
        let last = token.hops().enumerate().filter(|(_, (id, _))| self.hop(id).is_some()).last();
        let (position, (id, _)) = last?;
        let holder = token.prefix(position)?.holder().to_string();
        (id != token.id()).then_some(holder)
    }

    fn hops(&self, token: &VerifiedToken) -> Vec<UsedHop> {
        let blocks = token.signed_blocks();
        let hop = |(at, (id, signed)): (usize, (HopId, &sublet_core::token::SignedBlock))| {
            let parent = at.checked_sub(1).and_then(|before| blocks.get(before));
            let block = signed.block();
            UsedHop {
                hop: id.to_string(),
                holder: token.prefix(at).map(|to| to.holder().to_string()).unwrap_or_default(),
                record: self.hop(&id).map(|report| report.index),
                narrowing: parent.map(|p| narrowing(p.block(), block)).unwrap_or_default(),
            }
        };
        token.hops().enumerate().map(hop).collect()
    }

    fn hop_reports(&self) -> impl Iterator<Item = &HopReport> {
        self.delegations.values().flat_map(|report| &report.hops)
    }

    /// Revocations that concern the chain of a use; not those of agents that were resumed since.
    fn concerning<'a>(
        &'a self,
        used: &'a RecordedUse,
    ) -> impl Iterator<Item = &'a RecordedRevocation> {
        let token = used.token.as_ref().ok();
        self.revocations
            .iter()
            .filter(move |recorded| token.is_some_and(|token| concerns(recorded, token)))
    }

    /// What was in force when the tool decided and was not known to it.
    fn stale(&self, used: &RecordedUse) -> Vec<Stale> {
        let decided_at = used.decided_at();
        let known = used.position().sequence;
        let unknown = self.concerning(used).filter(|revocation| {
            revocation.time <= decided_at && revocation.sequence > known && used.allowed()
        });
        let stale = unknown.filter(|revocation| !self.resumed(revocation, decided_at));
        stale
            .map(|revocation| Stale {
                revocation: revocation.index,
                for_ms: decided_at.since(revocation.time),
            })
            .collect()
    }

    /// Whether a suspension was over by then.
    fn resumed(&self, suspended: &RecordedRevocation, by: UnixMillis) -> bool {
        let Some(Revocation::AgentSuspended(agent)) = &suspended.revocation else { return false };
        let resumed = Revocation::AgentResumed(agent.clone());
        let later = self
            .revocations
            .iter()
            .filter(|other| other.sequence > suspended.sequence && other.time <= by);
        later.into_iter().any(|other| other.revocation.as_ref() == Some(&resumed))
    }
}

/// Whether a revocation ends this chain.
fn concerns(recorded: &RecordedRevocation, token: &VerifiedToken) -> bool {
    let Some(revocation) = &recorded.revocation else { return false };
    match revocation {
        Revocation::Hop(hop) => token.hops().any(|(id, _)| id == *hop),
        Revocation::AgentSuspended(agent) => agents(token).any(|held| held == agent),
        Revocation::AgentKey(key) => token.thumbprints().contains(key),
        // What was issued after it is of a principal that came back.
        Revocation::Principal(principal) => {
            token.principal() == Some(principal) && token.issued_at() <= recorded.time
        }
        Revocation::RootKey(key) => token.root_key().thumbprint() == *key,
        Revocation::AgentResumed(_) | Revocation::PrincipalRestored(_) => false,
    }
}

/// Questions 5 and 6: what was revoked, by whom, why, and when did each tool know.
#[derive(Clone, Debug, Serialize)]
pub struct RevocationAnswer {
    /// The record.
    pub record: u64,
    /// When, in milliseconds.
    pub at_ms: i64,
    /// By whom.
    pub by: String,
    /// What, in words.
    pub what: String,
    /// Why.
    pub reason: String,
    /// When each tool is first shown to have known: by what it said, or by what it decided on.
    pub known: Vec<Known>,
    /// Tools that are not shown to have known.
    pub not_shown: Vec<String>,
    /// Uses that were allowed without knowing of it.
    pub stale_uses: Vec<u64>,
}

/// A tool knew.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// The tool.
    pub tool: String,
    /// At the latest then, in milliseconds.
    pub at_ms: i64,
    /// So long after the revocation.
    pub after_ms: i64,
}

impl History {
    /// What was revoked, and when each tool knew.
    pub fn revoked(&self) -> Vec<RevocationAnswer> {
        let said = self.syncs.iter().map(|sync| sync.verifier.as_str());
        let tools: BTreeSet<&str> =
            said.chain(self.uses.iter().map(|used| used.verifier.as_str())).collect();
        let answer = |revocation: &RecordedRevocation| {
            let known = tools.iter().filter_map(|tool| self.knew(tool, revocation));
            let known: Vec<Known> = known.collect();
            let knew = |tool: &str| known.iter().any(|known| known.tool == tool);
            let stale = self.uses.iter().filter(|used| {
                self.stale(used).iter().any(|stale| stale.revocation == revocation.index)
            });
            RevocationAnswer {
                record: revocation.index,
                at_ms: revocation.time.0,
                by: revocation.actor.to_string(),
                what: what(revocation),
                reason: revocation.reason.clone(),
                not_shown: tools.iter().filter(|t| !knew(t)).map(|t| (*t).to_owned()).collect(),
                stale_uses: stale.map(|used| used.index).collect(),
                known,
            }
        };
        self.revocations.iter().map(answer).collect()
    }

    fn knew(&self, tool: &str, revocation: &RecordedRevocation) -> Option<Known> {
        let said = self.syncs.iter().filter(|sync| sync.verifier == tool);
        let said =
            said.filter(|sync| sync.position.sequence >= revocation.sequence).map(|sync| sync.time);
        let used = self.uses.iter().filter(|used| used.verifier == tool);
        let used = used.filter(|used| used.position().sequence >= revocation.sequence);
        let at = said.chain(used.map(RecordedUse::decided_at)).min()?;
        Some(Known { tool: tool.to_owned(), at_ms: at.0, after_ms: at.since(revocation.time) })
    }
}

fn what(recorded: &RecordedRevocation) -> String {
    match &recorded.revocation {
        None => "something whose name was erased".to_owned(),
        Some(Revocation::Hop(hop)) => format!("hop {hop}"),
        Some(Revocation::AgentSuspended(agent)) => format!("agent {agent} suspended"),
        Some(Revocation::AgentResumed(agent)) => format!("agent {agent} resumed"),
        Some(Revocation::AgentKey(key)) => format!("key {key}"),
        Some(Revocation::Principal(principal)) => format!("principal {principal}"),
        Some(Revocation::PrincipalRestored(principal)) => format!("principal {principal} restored"),
        Some(Revocation::RootKey(key)) => format!("root key {key}"),
    }
}

/// Question 7: what a hop, an agent or a principal reaches, and what was done with it.
#[derive(Clone, Debug, Serialize)]
pub struct BlastRadius {
    /// Of what: the id of a hop, or the full name.
    pub of: String,
    /// The hops that hang on it, itself among them.
    pub hops: Vec<String>,
    /// Who holds them.
    pub holders: Vec<String>,
    /// What they may do, in single capabilities.
    pub may: Vec<String>,
    /// Whether that is all of it; else some of it has no form as a single capability.
    pub may_is_all: bool,
    /// The records of what was done with them.
    pub uses: Vec<u64>,
}

/// What is asked of a blast radius.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A hop.
    Hop(HopId),
    /// An agent, and its helpers.
    Agent(AgentId),
    /// A principal.
    Principal(Principal),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Hop(id) => write!(f, "{id}"),
            Source::Agent(agent) => write!(f, "{agent}"),
            Source::Principal(principal) => write!(f, "{principal}"),
        }
    }
}

impl History {
    /// What else could it do, and what did it do?
    pub fn blast_radius(&self, source: &Source) -> BlastRadius {
        let mut reached: BTreeSet<HopId> = BTreeSet::new();
        let (mut holders, mut may, mut may_is_all) = (BTreeSet::new(), BTreeSet::new(), true);
        for report in self.delegations.values() {
            let whole = matches!(source, Source::Principal(principal)
                if report.on_behalf_of.as_deref() == Some(principal.as_str()));
            for hop in &report.hops {
                let below = hop.parent.is_some_and(|parent| reached.contains(&parent));
                let itself = match source {
                    Source::Hop(id) => hop.hop == *id,
                    Source::Agent(agent) => {
                        hop.block.as_ref().is_some_and(|block| block.agent == *agent)
                    }
                    Source::Principal(_) => whole,
                };
                if !below && !itself {
                    continue;
                }
                reached.insert(hop.hop);
                holders.insert(hop.holder.clone());
                let chain = chain(report.hops.as_slice(), hop);
                let authority = effective(chain.iter().filter_map(|hop| hop.block.as_ref()));
                may_is_all &= !authority.incomplete;
                let all = authority.may.iter().chain(&authority.may_hand_out);
                may.extend(all.map(ToString::to_string));
            }
        }
        let by = |used: &&RecordedUse| {
            used.token.as_ref().is_ok_and(|token| token.hops().any(|(id, _)| reached.contains(&id)))
        };
        BlastRadius {
            of: source.to_string(),
            uses: self.uses.iter().filter(by).map(|used| used.index).collect(),
            hops: reached.iter().map(ToString::to_string).collect(),
            holders: holders.into_iter().collect(),
            may: may.into_iter().collect(),
            may_is_all,
        }
    }
}

/// The hops from the root to this one; parents are recorded first, so this ends.
fn chain<'a>(hops: &'a [HopReport], last: &'a HopReport) -> Vec<&'a HopReport> {
    let (mut chain, mut at) = (vec![last], last);
    while let Some(parent) = at.parent.and_then(|id| hops.iter().find(|hop| hop.hop == id)) {
        chain.push(parent);
        at = parent;
    }
    chain.reverse();
    chain
}

/// Question 12: what would another revocation have changed?
#[derive(Clone, Debug, Serialize)]
pub struct WhatIf {
    /// Uses that were allowed and would have been refused, with the code.
    pub refused: Vec<(u64, String)>,
    /// Hops that were recorded behind it from then on, and would not have been.
    pub hops: Vec<u64>,
    /// Uses of which it cannot be said.
    pub not_shown: Vec<(u64, String)>,
}

impl History {
    /// Had this hop been revoked at that moment, and every tool known at once.
    pub fn what_if_revoked(&self, hop: HopId, at: UnixMillis) -> WhatIf {
        let (mut refused, mut not_shown) = (Vec::new(), Vec::new());
        let later = self.uses.iter().filter(|used| used.decided_at() >= at && used.allowed());
        for used in later {
            match self.decide(used, Some(&Revocation::Hop(hop))) {
                Ok(UseVerdict::Allowed) => {}
                Ok(UseVerdict::Denied(code)) => refused.push((used.index, code)),
                Err(why) => not_shown.push((used.index, why.to_string())),
            }
        }
        let mut hops = Vec::new();
        for report in self.delegations.values() {
            let later = report.hops.iter().filter(|recorded| recorded.recorded_at >= at);
            let behind = later.filter(|last| {
                last.hop != hop && chain(&report.hops, last).iter().any(|at| at.hop == hop)
            });
            hops.extend(behind.map(|recorded| recorded.index));
        }
        WhatIf { refused, hops, not_shown }
    }
}

/// Question 13: a capability that was granted and never needed.
#[derive(Clone, Debug, Serialize)]
pub struct Unused {
    /// The hop that states it.
    pub hop: String,
    /// Its record.
    pub record: u64,
    /// Who held it.
    pub holder: String,
    /// The capability.
    pub capability: String,
}

impl History {
    /// Granted against used: what no allowed call under the hop needed.
    pub fn unused(&self) -> Vec<Unused> {
        let mut by_hop: BTreeMap<HopId, Vec<(&VerifiedToken, &Call)>> = BTreeMap::new();
        for used in self.uses.iter().filter(|used| used.allowed()) {
            let (Ok(token), Ok(call)) = (&used.token, &used.call) else { continue };
            for (id, _) in token.hops() {
                by_hop.entry(id).or_default().push((token, call));
            }
        }
        let mut unused = Vec::new();
        for report in self.hop_reports() {
            let Some(block) = &report.block else { continue };
            let below = by_hop.get(&report.hop).map(Vec::as_slice).unwrap_or_default();
            for capability in block.scope.iter().flat_map(|scope| scope.capabilities()) {
                let needed = below
                    .iter()
                    .any(|(token, call)| capability.admits(call, token.standing(block)));
                if !needed {
                    unused.push(Unused {
                        hop: report.hop.to_string(),
                        record: report.index,
                        holder: report.holder.clone(),
                        capability: capability.to_string(),
                    });
                }
            }
        }
        unused
    }
}
