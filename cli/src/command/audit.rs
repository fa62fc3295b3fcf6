//! `sublet audit …`: replay what happened.

use std::path::PathBuf;

use serde_json::{Value, json};
use sublet_client::audit::{self, Report};
use sublet_core::id::DelegationId;
use sublet_core::no::Malformed;

use crate::actor::{Actor, caller};
use crate::context::Context;
use crate::print;
use crate::trouble::Trouble;

/// Audit.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Replay one delegation: who handed what to whom, verified again from the records
    Replay {
        /// The delegation's id
        delegation: String,
        /// Who asks: the identity that it was issued to; else the admin
        #[arg(long = "as", value_name = "DIR")]
        as_: Option<PathBuf>,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Trouble> {
    let Command::Replay { delegation, as_ } = command;
    let delegation: DelegationId = delegation.parse().map_err(Malformed::from)?;
    let (broker, who) = caller(context, as_.as_ref(), None).await?;
    let trust = match &as_ {
        Some(directory) => Actor::load(directory)?.identity()?.trust().clone(),
        None => context.trust()?,
    };
    let report = audit::replay(&broker, &who, &trust, &delegation).await?;
    if context.json() {
        print::json(&value(&report));
    } else {
        lines(&report).iter().for_each(|line| crate::print::line!("{line}"));
    }
    if report.holds() {
        Ok(())
    } else {
        Err(Trouble::local("the replay found problems; see above"))
    }
}

/// The report in words.
pub(crate) fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![format!(
        "delegation {} on behalf of {}",
        report.delegation,
        report.on_behalf_of.as_deref().unwrap_or("(not known)")
    )];
    for hop in &report.hops {
        let indent = "   ".repeat(usize::try_from(hop.position).unwrap_or(0));
        let signature = match &hop.verified {
            Ok(()) => "signature holds".to_owned(),
            Err(says) => format!("NOT VERIFIED: {says}"),
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
        lines.push(format!("{indent}   {signature}, until {}{revoked}", print::utc(hop.expires)));
        lines.extend(hop.narrowing.iter().map(|taken| format!("{indent}   − {taken}")));
    }
    for revoked in &report.revocations {
        let at = print::utc_ms(revoked.time.0);
        lines.push(format!(
            "revoked at {at}, record {}: {} {} by {} ({})",
            revoked.index, revoked.kind, revoked.target, revoked.actor, revoked.reason
        ));
    }
    for refusal in &report.refusals {
        let at = print::utc_ms(refusal.time.0);
        lines.push(format!(
            "refused at {at}, record {}: {} [{}]: {}",
            refusal.index, refusal.actor, refusal.code, refusal.says
        ));
    }
    lines.extend(report.problems.iter().map(|problem| format!("PROBLEM: {problem}")));
    lines.push(format!(
        "{} records, {}",
        report.entries.len(),
        if report.holds() {
            "each bound to the one before, every hop verified again"
        } else {
            "with problems"
        }
    ));
    lines
}

fn value(report: &Report) -> Value {
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
        .map(|r| json!({"record": r.index, "at": print::utc_ms(r.time.0), "kind": r.kind, "target": r.target, "by": r.actor, "reason": r.reason}))
        .collect();
    let refusals: Vec<Value> = report
        .refusals
        .iter()
        .map(|r| json!({"record": r.index, "at": print::utc_ms(r.time.0), "actor": r.actor, "code": r.code, "says": r.says, "asked": r.asked}))
        .collect();
    json!({
        "delegation": report.delegation.to_string(),
        "on_behalf_of": report.on_behalf_of,
        "holds": report.holds(),
        "problems": report.problems,
        "hops": hops,
        "revocations": revocations,
        "refusals": refusals,
        "records": report.entries.len(),
    })
}
