//! The answers of a replay of the whole ledger: as JSON, as a table, and as lines for a person.

use serde::Serializer;
use serde_json::Value;
use sublet_client::audit::consents::RecordedConsent;
use sublet_client::audit::doubt::{Completeness, WithoutAuthority};
use sublet_client::audit::questions::{BlastRadius, RevocationAnswer, Unused, UseAnswer, WhatIf};
use sublet_ledger::tree::Checked;

use super::delegation::because;
use super::report::{self, tool_lines};
use crate::context::Context;
use crate::print;

/// Everything that was asked, and the answers. The names of the fields are those of the JSON output.
#[derive(serde::Serialize)]
pub(crate) struct Answers {
    /// The uses that match the filters.
    pub(crate) uses: Vec<UseAnswer>,
    /// The number of uses in the ledger, whatever the filters.
    pub(crate) uses_in_all: usize,
    /// The filters: kind and full name.
    #[serde(serialize_with = "by_kind", skip_serializing_if = "Vec::is_empty")]
    pub(crate) asked: Vec<(&'static str, String)>,
    /// Names and ids that were asked for and that no record holds.
    pub(crate) no_record_names: Vec<String>,
    pub(crate) consents: Vec<RecordedConsent>,
    pub(crate) revocations: Vec<RevocationAnswer>,
    pub(crate) without_authority: WithoutAuthority,
    pub(crate) completeness: Completeness,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) what_if: Option<WhatIf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unused: Option<Vec<Unused>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blast_radius: Option<BlastRadius>,
    /// The checkpoints that the ledger was compared with: those given with `--checkpoint`, and those that
    /// tools reported.
    pub(crate) heads: Vec<Head>,
}

/// A signed checkpoint that the ledger was compared with.
#[derive(serde::Serialize)]
pub(crate) struct Head {
    /// The number of records that it covers; `None` when no trusted key signed it.
    pub(crate) records: Option<u64>,
    /// The tool that reported it; `None` for a checkpoint given with `--checkpoint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shown_to: Option<String>,
    /// `holds`, `contradicted` or `not_shown`.
    pub(crate) consistent: &'static str,
}

impl Answers {
    /// Prints the answers for a person: the uses as one line each where `table` is true, else as trees.
    pub(crate) fn show(&self, table: bool, context: &Context) {
        if table {
            let rows: Vec<_> = self.uses.iter().map(|used| report::cells(used).to_vec()).collect();
            let head =
                ["RECORD", "AT", "WHO", "ON BEHALF OF", "TOOL", "ACTION", "VERDICT", "REPLAYED"];
            print::rows(context, &head, &rows, &Value::Null);
        } else {
            self.uses.iter().flat_map(use_lines).for_each(|line| print::text(&line));
        }
        self.lines().iter().for_each(|line| print::text(line));
    }

    /// Whether a checkpoint contradicts the ledger: it was rewritten or forked.
    pub(crate) fn is_contradicted(&self) -> bool {
        self.heads.iter().any(|head| head.consistent == word(Checked::Contradicted))
    }

    /// All but the uses.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.consents.iter().map(ToString::to_string).collect();
        lines.extend(self.revocations.iter().flat_map(revocation_lines));
        if !self.asked.is_empty() {
            let asked = self.asked.iter().map(|(kind, name)| format!("{kind} {name}"));
            let asked = asked.collect::<Vec<_>>().join(", ");
            lines.push(format!("{} of {} uses match: {asked}", self.uses.len(), self.uses_in_all));
        }
        lines.extend(self.no_record_names.iter().map(|name| format!("no record names {name}")));
        lines.extend(self.refusal_lines());
        lines.extend(self.completeness_lines());
        lines.extend(self.what_if.iter().flat_map(what_if_lines));
        lines.extend(self.unused.iter().flatten().map(|unused| {
            format!(
                "never used: {}, held by {} (record {})",
                unused.capability, unused.holder, unused.record
            )
        }));
        lines.extend(self.blast_radius.iter().flat_map(radius_lines));
        lines.extend(self.heads.iter().map(head_line));
        lines
    }

    fn refusal_lines(&self) -> Vec<String> {
        let refusals = self.without_authority.refusals.iter().map(|refusal| {
            let at = print::utc_ms(refusal.at_ms);
            format!(
                "refused at {at}, record {}: {} [{}]: {}",
                refusal.record, refusal.actor, refusal.code, refusal.detail
            )
        });
        let counted = self.without_authority.refusals_counted.iter().map(|counted| {
            let total: u64 = counted.counts.iter().map(|(_, _, count)| count).sum();
            let codes = counted.counts.iter().map(|(_, code, count)| format!("{count} × {code}"));
            format!(
                "refused {} to {}, record {}: {total} more refusals of {}, only counted: {}",
                print::utc_ms(counted.from_ms),
                print::utc_ms(counted.to_ms),
                counted.record,
                counted.actor,
                codes.collect::<Vec<_>>().join(", ")
            )
        });
        refusals.chain(counted).collect()
    }

    fn completeness_lines(&self) -> Vec<String> {
        let complete = &self.completeness;
        let problems = complete.delegations.iter().map(|detail| format!("PROBLEM: {detail}"));
        let mut lines: Vec<String> = problems.collect();
        lines.extend(complete.verifiers.iter().map(|(tool, gaps)| {
            format!("GAP: {tool} decided uses that are not in the ledger: numbers {gaps:?}")
        }));
        lines.extend(
            complete
                .pruned
                .iter()
                .map(|(from, to)| format!("pruned: records {from} to {to}; their hashes stay")),
        );
        lines.extend(complete.not_shown.iter().map(|(record, why)| {
            format!("not shown: whether the decision in record {record} was correct: {why}")
        }));
        let lists = [
            ("ALLOWED WITHOUT AUTHORITY", &self.without_authority.unfounded_uses),
            ("refused by tools", &self.without_authority.refused_uses),
            ("erased", &complete.erased),
        ];
        let named = lists.iter().filter(|(_, records)| !records.is_empty());
        lines.extend(named.map(|(what, records)| format!("{what}: records {records:?}")));
        lines
    }
}

fn revocation_lines(revoked: &RevocationAnswer) -> Vec<String> {
    let at = print::utc_ms(revoked.at_ms);
    let mut lines = vec![format!(
        "revoked at {at}, record {}: {} by {}{}",
        revoked.record,
        revoked.what,
        revoked.by,
        because(&revoked.reason)
    )];
    let known = revoked.known.iter();
    lines.extend(
        known.map(|known| format!("   {} received it after {} ms", known.tool, known.after_ms)),
    );
    let not_shown = revoked.not_shown.iter();
    lines.extend(not_shown.map(|tool| format!("   not shown: whether {tool} received it")));
    if !revoked.stale_uses.is_empty() {
        lines.push(format!(
            "   ALLOWED AFTER THE REVOCATION, before the tool received it: records {:?}",
            revoked.stale_uses
        ));
    }
    lines
}

fn what_if_lines(what_if: &WhatIf) -> Vec<String> {
    let mut lines = vec![format!(
        "what if: {} uses would have been refused, {} hops not recorded, {} not shown",
        what_if.refused.len(),
        what_if.hops.len(),
        what_if.not_shown.len()
    )];
    let refused = what_if.refused.iter();
    lines.extend(refused.map(|(record, code)| format!("   record {record} [{code}]")));
    lines
}

fn radius_lines(radius: &BlastRadius) -> Vec<String> {
    let mut lines = vec![format!(
        "blast radius of {}: {} hops, used in records {:?}",
        radius.of,
        radius.hops.len(),
        radius.uses
    )];
    lines.extend(radius.holders.iter().map(|holder| format!("   held by {holder}")));
    lines.extend(radius.may.iter().map(|capability| format!("   may {capability}")));
    if !radius.may_is_all {
        lines.push("   and more that cannot be written as one capability".to_owned());
    }
    lines
}

fn head_line(head: &Head) -> String {
    let checkpoint = match head.records {
        Some(records) => format!("the checkpoint of {records} records"),
        None => "a checkpoint that no trusted key signed".to_owned(),
    };
    let by = head.shown_to.as_deref().map(|tool| format!(" that {tool} reported"));
    let result = match head.consistent {
        "holds" => "yes",
        "contradicted" => "NO, the checkpoint contradicts it",
        _ => "not shown",
    };
    format!("the ledger extends {checkpoint}{}: {result}", by.unwrap_or_default())
}

/// Returns the word of the JSON output for a comparison with a checkpoint.
pub(crate) fn word(checked: Checked) -> &'static str {
    match checked {
        Checked::Holds => "holds",
        Checked::Contradicted => "contradicted",
        Checked::NotShown => "not_shown",
    }
}

/// Serializes the filters as one object. Each kind is there at most once.
fn by_kind<S: Serializer>(asked: &[(&'static str, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(asked.iter().map(|(kind, name)| (kind, name)))
}

/// One use, as a tree of its hops.
fn use_lines(used: &UseAnswer) -> Vec<String> {
    let arguments = used.arguments.as_deref().unwrap_or("(arguments not kept)");
    let mut lines = vec![
        format!(
            "record {} at {}: {} {} {arguments}: {}",
            used.record,
            print::utc_ms(used.decided_at_ms),
            used.audience,
            used.action,
            used.verdict
        ),
        format!(
            "   by {} on behalf of {}",
            used.by.as_deref().unwrap_or("(not shown)"),
            used.on_behalf_of.as_deref().unwrap_or("(not shown)")
        ),
    ];
    for (depth, hop) in used.hops.iter().enumerate() {
        let record =
            hop.record.map_or("not recorded".to_owned(), |index| format!("record {index}"));
        let indent = "   ".repeat(depth + 1);
        lines.push(format!("{indent}→ {} ({record})", hop.holder));
        lines.extend(hop.narrowing.iter().map(|change| format!("{indent}   {change}")));
    }
    lines.extend(tool_lines(used));
    lines.push(format!("   decision replayed: {} {}", used.decided_again, used.detail));
    let stale = used.stale.iter().map(|stale| {
        let (record, ms) = (stale.revocation, stale.for_ms);
        format!(
            "   STALE: revoked {ms} ms before, by record {record}, which the tool had not received"
        )
    });
    lines.extend(stale);
    lines
}
