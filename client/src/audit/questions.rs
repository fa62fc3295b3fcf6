//! The questions of an auditor to a history, and the answers with their evidence. docs/DESIGN,
//! "Replay".
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

/// A filter of uses. A field that is `None` matches every use.
///
/// ```no_run
/// use std::path::Path;
/// use sublet_client::audit::{bundle::Bundle, history::History, published::checkpoint_keys};
/// use sublet_client::audit::questions::Query;
/// use sublet_client::{Clock as _, Error, SystemClock, Trust};
///
/// # fn example() -> Result<(), Error> {
/// let trust = Trust::open(Path::new("trust.json"), SystemClock.now())?;
/// let bundle = Bundle::open(Path::new("evidence.tar"), &checkpoint_keys(&trust.current()))?;
/// let history = History::of(bundle.records(&trust)?, &trust, None);
///
/// let principal = Some("user:alice@acme.example".parse()?);
/// for used in history.uses_of(&Query { principal, ..Query::default() }) {
///     println!("record {}: {} by {:?}: {}", used.record, used.action, used.by, used.verdict);
/// }
/// assert!(history.completeness().delegations.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The delegation.
    pub delegation: Option<DelegationId>,
    /// An agent that is a holder in the chain of the use.
    pub agent: Option<AgentId>,
    /// The principal.
    pub principal: Option<Principal>,
    /// The tool's audience, or a text that an argument has; what lies below it by path matches too.
    pub resource: Option<String>,
    /// The action.
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

/// Questions 1 to 6: one use, by whom, for whom, through which hops, and whether it was valid at
/// that time.
#[derive(Clone, Debug, Serialize)]
pub struct UseAnswer {
    /// The index of the record.
    pub record: u64,
    /// The tool's time of the decision, in milliseconds since 1970. The broker records a use after
    /// it happened.
    pub decided_at_ms: i64,
    /// The broker's time of the record, in milliseconds since 1970.
    pub recorded_at_ms: i64,
    /// The tool that reported the use.
    pub reported_by: String,
    /// The audience that was called.
    pub audience: String,
    /// The action that was called.
    pub action: String,
    /// The arguments, as JSON text; `None` when they are not known.
    pub arguments: Option<String>,
    /// `allowed`, or the code of the refusal.
    pub verdict: String,
    /// The holder that called; `None` when the chain could not be assembled.
    pub by: Option<String>,
    /// The thumbprint of the key that proved the call; `None` when the chain could not be
    /// assembled.
    pub by_key: Option<String>,
    /// The last recorded holder of the chain, if the caller's own hop is not recorded. The names
    /// after it are only claims of the parties that made those hops.
    pub recorded_holder: Option<String>,
    /// The principal; `None` when the chain could not be assembled.
    pub on_behalf_of: Option<String>,
    /// The id of the delegation.
    pub delegation: String,
    /// The hops of the chain, the root first; empty when the chain could not be assembled.
    pub hops: Vec<UsedHop>,
    /// The tool's claim of the outcome of the call; `None` when it made none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The tool's claim, for each block from the root on, of the index of the capability that
    /// admitted the call; empty when it made none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<u32>,
    /// The tool's claim of the SHA-256 of the answer, in base64url; `None` when it made none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// `reproduced`, `diverged` or `not_shown`.
    pub decided_again: &'static str,
    /// The reason of a result other than `reproduced`; empty otherwise.
    pub detail: String,
    /// The revocations of the chain that were in force at the decision and that the tool had not
    /// applied.
    pub stale: Vec<Stale>,
    /// The records of revocations that concern the chain, before or after the use.
    pub revoked_by: Vec<u64>,
}

/// One hop in the chain of a use.
#[derive(Clone, Debug, Serialize)]
pub struct UsedHop {
    /// The id of the hop.
    pub hop: String,
    /// The holder of the hop.
    pub holder: String,
    /// The index of its record; `None` when no record has it.
    pub record: Option<u64>,
    /// What the hop took away, as text.
    pub narrowing: Vec<String>,
}

/// A revocation that a decision did not know of.
#[derive(Clone, Debug, Serialize)]
pub struct Stale {
    /// The index of the revocation's record.
    pub revocation: u64,
    /// For how long the revocation had been in force at the decision, in milliseconds.
    pub for_ms: i64,
}

impl History {
    /// Returns whether any record names this agent, principal or hop.
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
    /// Answers questions 1 to 6 for the uses that match: who touched what, on whose behalf, through
    /// which hops, and whether it was valid at that time.
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

    /// Returns the revocations that concern the chain of a use, also suspensions that have ended.
    fn concerning<'a>(
        &'a self,
        used: &'a RecordedUse,
    ) -> impl Iterator<Item = &'a RecordedRevocation> {
        let token = used.token.as_ref().ok();
        self.revocations
            .iter()
            .filter(move |recorded| token.is_some_and(|token| concerns(recorded, token)))
    }

    /// Returns the revocations that were in force when the tool decided and that it had not
    /// applied.
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

    /// Returns whether a suspension had ended by this time.
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
        // A delegation that was issued later is of a principal that was restored.
        Revocation::Principal(principal) => {
            token.principal() == Some(principal) && token.issued_at() <= recorded.time
        }
        Revocation::RootKey(key) => token.root_key().thumbprint() == *key,
        Revocation::AgentResumed(_) | Revocation::PrincipalRestored(_) => false,
    }
}

/// Questions 5 and 6: what was revoked, by whom, why, and when each tool knew.
#[derive(Clone, Debug, Serialize)]
pub struct RevocationAnswer {
    /// The index of the record.
    pub record: u64,
    /// The broker's time of the revocation, in milliseconds since 1970.
    pub at_ms: i64,
    /// The party that requested it.
    pub by: String,
    /// The subject, as text.
    pub what: String,
    /// The reason; empty when there was none or it was erased.
    pub reason: String,
    /// When each tool is first shown to have known, by its reports or by the position that it
    /// decided on.
    pub known: Vec<Known>,
    /// The tools that are not shown to have known.
    pub not_shown: Vec<String>,
    /// The records of uses that a tool allowed without knowing of the revocation.
    pub stale_uses: Vec<u64>,
}

/// The time by which a tool knew of a revocation.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// The tool.
    pub tool: String,
    /// The latest time at which it learnt of the revocation, in milliseconds since 1970.
    pub at_ms: i64,
    /// The time since the revocation, in milliseconds.
    pub after_ms: i64,
}

impl History {
    /// Answers questions 5 and 6: what was revoked, and when each tool knew.
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
    /// The subject: the id of a hop, or a full name.
    pub of: String,
    /// The ids of the subject's hops and of all hops below them.
    pub hops: Vec<String>,
    /// The holders of these hops.
    pub holders: Vec<String>,
    /// What the holders may do, each as one capability.
    pub may: Vec<String>,
    /// Whether `may` is complete. Some authority cannot be written as one capability.
    pub may_is_all: bool,
    /// The records of the uses of these hops.
    pub uses: Vec<u64>,
}

/// The subject of a blast radius.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A hop.
    Hop(HopId),
    /// An agent, with its helpers.
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
    /// Answers question 7: what else the subject can do, and what it did.
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

/// Returns the hops from the root to this one. Parents are recorded first, so this ends.
fn chain<'a>(hops: &'a [HopReport], last: &'a HopReport) -> Vec<&'a HopReport> {
    let (mut chain, mut at) = (vec![last], last);
    while let Some(parent) = at.parent.and_then(|id| hops.iter().find(|hop| hop.hop == id)) {
        chain.push(parent);
        at = parent;
    }
    chain.reverse();
    chain
}

/// Question 12: what another revocation would have changed.
#[derive(Clone, Debug, Serialize)]
pub struct WhatIf {
    /// The allowed uses that would have been refused, with the code.
    pub refused: Vec<(u64, String)>,
    /// The records of hops below the revoked one that would not have been recorded.
    pub hops: Vec<u64>,
    /// The uses for which it cannot be decided, with the reason.
    pub not_shown: Vec<(u64, String)>,
}

impl History {
    /// Answers question 12 as if this hop had been revoked at this time, and every tool had known
    /// at once.
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
    /// The id of the hop that states it.
    pub hop: String,
    /// The index of the hop's record.
    pub record: u64,
    /// The holder of the hop.
    pub holder: String,
    /// The capability.
    pub capability: String,
}

impl History {
    /// Answers question 13: the capabilities that no allowed call under their hop needed.
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
                    .any(|(token, call)| capability.admits(call, token.chain_position(block)));
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
