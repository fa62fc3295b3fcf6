//! An auditor's doubts: what was done or tried without authority, and whether the records are
//! complete. SPEC section 9.
//!
//! Owns: which records answer these questions. Does not own: what a record shows (`history`).
//!
//! Invariants: every answer names the records that it rests on; what could not be shown is listed
//! and not left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sublet_core::decide::USES_NOT_TAKEN;

use crate::audit::history::{Again, CountedRefusals, History, RecordedUse};
use crate::audit::records::gaps;

/// Question 8: what was done, or tried, without authority.
#[derive(Clone, Debug, Serialize)]
pub struct WithoutAuthority {
    /// The records of uses whose chain neither records nor evidence show, or whose decision
    /// diverges when it is made again.
    pub unfounded_uses: Vec<u64>,
    /// The records of calls that a tool refused although the holder proved possession.
    pub refused_uses: Vec<u64>,
    /// The refusals of the broker.
    pub refusals: Vec<RefusalAnswer>,
    /// The refusals of the broker that were only counted, because one caller had too many.
    pub refusals_counted: Vec<CountedAnswer>,
}

/// The counted refusals of one caller.
#[derive(Clone, Debug, Serialize)]
pub struct CountedAnswer {
    /// The index of the record.
    pub record: u64,
    /// The time of the first of them, in milliseconds since 1970.
    pub from_ms: i64,
    /// The time of the last of them, in milliseconds since 1970.
    pub to_ms: i64,
    /// The caller.
    pub actor: String,
    /// Method, code, and number of refusals.
    pub counts: Vec<(String, String, u64)>,
}

/// One refusal of the broker.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalAnswer {
    /// The index of the record.
    pub record: u64,
    /// The broker's time of the refusal, in milliseconds since 1970.
    pub at_ms: i64,
    /// The caller, with its key where the name alone proves little.
    pub actor: String,
    /// The stable code.
    pub code: String,
    /// The reason, as text.
    pub detail: String,
    /// The request that was refused, as text.
    pub asked: String,
}

impl History {
    /// Answers question 8: what was done, or tried, without authority.
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

/// Question 9: whether the records are complete.
#[derive(Clone, Debug, Serialize)]
pub struct Completeness {
    /// How many records the checkpoint covers.
    pub records: u64,
    /// What is missing or wrong in the records of a delegation, as text.
    pub delegations: Vec<String>,
    /// The gaps in each tool's counter: first and last missing number.
    pub verifiers: BTreeMap<String, Vec<(u64, u64)>>,
    /// Ranges of pruned records, of which only hashes are left: first and last index.
    pub pruned: Vec<(u64, u64)>,
    /// The records whose payload was erased.
    pub erased: Vec<u64>,
    /// The uses that could not be decided again, with the reason.
    pub not_shown: Vec<(u64, String)>,
}

impl History {
    /// Answers question 9: gaps by delegation and by tool, and what could not be shown.
    pub fn completeness(&self) -> Completeness {
        let problems = self.delegations.iter().flat_map(|(id, report)| {
            report.problems.iter().map(move |problem| format!("delegation {id}: {problem}"))
        });
        let mut counters: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for used in &self.uses {
            counters.entry(used.verifier.clone()).or_default().insert(used.used.counter);
        }
        // A report that was refused because nothing proved it has a counter too.
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
