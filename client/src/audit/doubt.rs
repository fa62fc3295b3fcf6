//! What an auditor has to doubt: what was done or tried without authority, and whether this is all of it.
//! SPEC section 9.
//!
//! Owns: which records answer that. Does not own: what a record shows (`history`).
//!
//! Invariants: every answer names the records that it rests on; what could not be shown is listed and not
//! left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sublet_core::decide::USES_NOT_TAKEN;

use crate::audit::history::{Again, CountedRefusals, History, RecordedUse};
use crate::audit::records::gaps;

/// Question 8: what was done, or tried, without authority.
#[derive(Clone, Debug, Serialize)]
pub struct WithoutAuthority {
    /// Uses whose chain no record and no evidence shows, or that come out otherwise when they are
    /// decided again.
    pub unfounded_uses: Vec<u64>,
    /// Calls that a tool refused to a holder that proved itself.
    pub refused_uses: Vec<u64>,
    /// What the broker refused.
    pub refusals: Vec<RefusalAnswer>,
    /// What the broker refused and only counted, as one caller had too many of them.
    pub refusals_counted: Vec<CountedAnswer>,
}

/// Refusals of one caller that were counted.
#[derive(Clone, Debug, Serialize)]
pub struct CountedAnswer {
    /// The record.
    pub record: u64,
    /// From then, in milliseconds.
    pub from_ms: i64,
    /// Until then, in milliseconds.
    pub to_ms: i64,
    /// Whose they are.
    pub actor: String,
    /// Method, code, and how often.
    pub counts: Vec<(String, String, u64)>,
}

/// A refusal of the broker's.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalAnswer {
    /// The record.
    pub record: u64,
    /// When, in milliseconds.
    pub at_ms: i64,
    /// Who asked.
    pub actor: String,
    /// The stable code.
    pub code: String,
    /// The reason.
    pub detail: String,
    /// What was asked.
    pub asked: String,
}

impl History {
    /// Anything done without authority, or tried.
    pub fn without_authority(&self) -> WithoutAuthority {
        let unfounded = |used: &&RecordedUse| {
            used.allowed() && (used.token.is_err() || matches!(used.again, Again::Diverged(_)))
        };
        let index = |used: &RecordedUse| used.index;
        WithoutAuthority {
            unfounded_uses: self.uses.iter().filter(unfounded).map(index).collect(),
            refused_uses: self.uses.iter().filter(|used| !used.allowed()).map(index).collect(),
            refusals_counted: self.counted.iter().map(counted).collect(),
            refusals: self
                .refusals
                .iter()
                .map(|refusal| RefusalAnswer {
                    record: refusal.index,
                    at_ms: refusal.time.0,
                    actor: refusal.actor.to_string(),
                    code: refusal.code.clone(),
                    detail: refusal.detail.clone(),
                    asked: refusal.asked.clone(),
                })
                .collect(),
        }
    }
}

fn counted(counted: &CountedRefusals) -> CountedAnswer {
    CountedAnswer {
        record: counted.index,
        from_ms: counted.from.0,
        to_ms: counted.to.0,
        actor: counted.actor.clone(),
        counts: counted.counts.clone(),
    }
}

/// Question 9: is this all of it?
#[derive(Clone, Debug, Serialize)]
pub struct Completeness {
    /// The head that every record is under.
    pub records: u64,
    /// What does not fit in a delegation's records.
    pub delegations: Vec<String>,
    /// Uses that a tool counted and that are not here: from, to.
    pub verifiers: BTreeMap<String, Vec<(u64, u64)>>,
    /// Records that were forgotten, of which only hashes are left: from, to.
    pub pruned: Vec<(u64, u64)>,
    /// Records of which something was erased.
    pub erased: Vec<u64>,
    /// Uses that could not be decided again, and why.
    pub not_shown: Vec<(u64, String)>,
}

impl History {
    /// Gaps: by delegation, by tool, and what could not be shown.
    pub fn completeness(&self) -> Completeness {
        let problems = self.delegations.iter().flat_map(|(id, report)| {
            report.problems.iter().map(move |problem| format!("delegation {id}: {problem}"))
        });
        let mut counters: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for used in &self.uses {
            counters.entry(used.verifier.clone()).or_default().insert(used.used.counter);
        }
        // A report that was refused for want of proof had a counter too.
        for refusal in self.refusals.iter().filter(|refusal| refusal.code == "use_not_proven") {
            let said = refusal.asked.strip_prefix(USES_NOT_TAKEN).unwrap_or_default();
            let said = said.split(' ').filter_map(|counter| counter.parse::<u64>().ok());
            counters.entry(refusal.actor.name.clone()).or_default().extend(said);
        }
        let gaps = counters.into_iter().map(|(tool, seen)| {
            let last = seen.last().copied().unwrap_or(0);
            (tool, gaps(&seen, last))
        });
        let not_shown = self.uses.iter().filter_map(|used| match &used.again {
            Again::NotShown(why) => Some((used.index, why.clone())),
            _ => None,
        });
        Completeness {
            records: self.head.size,
            delegations: problems.collect(),
            verifiers: gaps.filter(|(_, gaps)| !gaps.is_empty()).collect(),
            pruned: self.pruned.clone(),
            erased: self.erased.clone(),
            not_shown: not_shown.collect(),
        }
    }
}
