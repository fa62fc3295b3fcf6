//! The replay of one delegation: its hops, consents, revocations and refusals.

use serde_json::{Value, json};
use sublet_client::audit::consents::RecordedConsent;
use sublet_client::audit::replay::Report;

use crate::print;

/// Returns the reason of a revocation in brackets, or nothing where none was given.
pub(crate) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

/// Returns the replay as lines for a person.
pub(crate) fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![format!(
        "delegation {} on behalf of {}",
        report.delegation,
        report.on_behalf_of.as_deref().unwrap_or("(not shown)")
    )];
    for hop in &report.hops {
        let indent = "   ".repeat(usize::try_from(hop.position).unwrap_or(0));
        let signature = match &hop.verified {
            Ok(()) => "signature valid".to_owned(),
            Err(detail) => format!("NOT VERIFIED: {detail}"),
        };
        let at = print::utc_ms(hop.recorded_at.0);
        lines.push(format!(
            "{indent}hop {} at {at}, record {}: {} → {}",
            hop.position, hop.index, hop.from, hop.holder
        ));
        let revoked = hop
            .revoked
            .map(|(_, index)| format!(", revoked by record {index}"))
            .unwrap_or_default();
        lines.push(format!(
            "{indent}   {signature}, valid until {}{revoked}",
            print::utc(hop.expires)
        ));
        lines.extend(hop.narrowing.iter().map(|change| format!("{indent}   {change}")));
    }
    let consents = report.entries.iter().filter_map(RecordedConsent::of);
    lines.extend(consents.map(|consent| consent.to_string()));
    for revoked in &report.revocations {
        let at = print::utc_ms(revoked.time.0);
        lines.push(format!(
            "revoked at {at}, record {}: {} {} by {}{}",
            revoked.index,
            revoked.kind,
            revoked.target,
            revoked.actor,
            because(&revoked.reason)
        ));
    }
    for refusal in &report.refusals {
        let at = print::utc_ms(refusal.time.0);
        lines.push(format!(
            "refused at {at}, record {}: {} [{}]: {}",
            refusal.index, refusal.actor, refusal.code, refusal.detail
        ));
    }
    lines.extend(report.problems.iter().map(|problem| format!("PROBLEM: {problem}")));
    lines.push(format!(
        "{} records, {}",
        report.entries.len(),
        if report.holds() {
            "each linked to the record before it; every hop verified again"
        } else {
            "with the problems above"
        }
    ));
    lines
}

/// Returns the replay as JSON.
pub(crate) fn value(report: &Report) -> Value {
    let hops: Vec<Value> = report
        .hops
        .iter()
        .map(|hop| {
            json!({
                "hop": hop.hop.to_string(),
                "parent": hop.parent.map(|id| id.to_string()),
                "position": hop.position,
                "record": hop.index,
                "recorded_at": print::utc_ms(hop.recorded_at.0),
                "trace": hop.trace,
                "from": hop.from,
                "holder": hop.holder,
                "expires": print::utc(hop.expires),
                "narrowing": hop.narrowing,
                "verified": hop.verified.is_ok(),
                "revoked_by_record": hop.revoked.map(|(_, index)| index),
            })
        })
        .collect();
    let revocations: Vec<Value> = report
        .revocations
        .iter()
        .map(|r| json!({"record": r.index, "at": print::utc_ms(r.time.0), "kind": r.kind, "target": r.target, "by": r.actor.to_string(), "reason": r.reason}))
        .collect();
    let refusals: Vec<Value> = report
        .refusals
        .iter()
        .map(|r| json!({"record": r.index, "at": print::utc_ms(r.time.0), "actor": r.actor.to_string(), "code": r.code, "says": r.detail, "asked": r.asked, "trace": r.trace}))
        .collect();
    json!({
        "delegation": report.delegation.to_string(),
        "on_behalf_of": report.on_behalf_of,
        "holds": report.holds(),
        "problems": report.problems,
        "hops": hops,
        "consents": report.entries.iter().filter_map(RecordedConsent::of).collect::<Vec<_>>(),
        "revocations": revocations,
        "refusals": refusals,
        "records": report.entries.len(),
    })
}
