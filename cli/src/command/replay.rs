//! `sublet audit replay`: one delegation, or the whole ledger with every decision made again.

use std::path::PathBuf;

use serde::Serializer;
use serde_json::{Value, json};
use sublet_client::audit::bundle::Bundle;
use sublet_client::audit::consents::RecordedConsent;
use sublet_client::audit::doubt::{Completeness, WithoutAuthority};
use sublet_client::audit::history::History;
use sublet_client::audit::published::head_keys;
use sublet_client::audit::questions::{
    BlastRadius, Query, RevocationAnswer, Source, Unused, UseAnswer, WhatIf,
};
use sublet_client::audit::records;
use sublet_client::audit::replay::{self, Report};
use sublet_core::base::id::{
    AgentId, BadId, DelegationId, HopId, Principal, TrustDomain, UnixMillis,
};
use sublet_core::base::text::base64url;
use sublet_core::refusal::Malformed;
use sublet_ledger::tree::Checked;

use crate::actor::{Actor, caller};
use crate::cli_error::CliError;
use crate::command::against::kept_heads;
use crate::context::Context;
use crate::{print, report};

/// What to replay. With a delegation alone: its hops, verified again, for whoever may see it. With
/// anything else: the whole ledger, by the admin, every use decided again.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// One delegation, by its id: who handed what to whom; with --as alone of all flags
    #[arg(allow_hyphen_values = true, conflicts_with_all = ["all", "of_delegation", "agent",
        "principal", "resource", "action", "table", "as_of", "what_if", "unused", "blast_radius",
        "checkpoints"])]
    delegation: Option<String>,
    /// Who asks for one delegation: the identity that it was issued to; else the admin
    #[arg(long = "as", value_name = "DIR", requires = "delegation", conflicts_with_all = ["all",
        "of_delegation", "agent", "principal", "resource", "action", "table", "as_of", "what_if",
        "unused", "blast_radius", "checkpoints"])]
    as_: Option<PathBuf>,
    /// Every use in the ledger
    #[arg(long, conflicts_with_all = ["of_delegation", "agent", "principal", "resource", "action"])]
    all: bool,
    /// Uses of one delegation
    #[arg(long = "delegation", value_name = "ID", allow_hyphen_values = true)]
    of_delegation: Option<String>,
    /// Uses by a chain in which this agent is a holder: a SPIFFE id, or a path behind the trust domain
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// Uses on behalf of this principal: user:alice@acme.example, or user:alice of the trust domain
    #[arg(long)]
    principal: Option<String>,
    /// Uses of this tool, or of a thing that an argument names, and what lies below
    #[arg(long)]
    resource: Option<String>,
    /// Uses of this action
    #[arg(long)]
    action: Option<String>,
    /// One line a use, instead of its tree
    #[arg(long)]
    table: bool,
    /// As of then: 2026-11-24T10:02:00Z, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<i64>,
    /// What would have been refused, had this hop been revoked then
    #[arg(long = "what-if-revoked", value_name = "HOP@TIME", value_parser = hop_at, allow_hyphen_values = true)]
    what_if: Option<(HopId, i64)>,
    /// What was granted and never needed
    #[arg(long)]
    unused: bool,
    /// What a hop, an agent or a principal reaches, and what was done with it; by id or by name, as with
    /// --agent and --principal
    #[arg(long, value_name = "WHAT", allow_hyphen_values = true)]
    blast_radius: Option<String>,
    /// Over an evidence bundle instead of the broker, offline
    #[arg(long, value_name = "FILE", conflicts_with_all = ["delegation", "as_"])]
    bundle: Option<PathBuf>,
    /// A signed head that was kept elsewhere: was the ledger rewritten since? May be given again
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Print help; -h may begin an id
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    match &args.delegation {
        Some(delegation) => one(delegation, args.as_.as_ref(), context).await,
        None => whole(args, context).await,
    }
}

async fn one(delegation: &str, as_: Option<&PathBuf>, context: &Context) -> Result<(), CliError> {
    let delegation: DelegationId = delegation.parse().map_err(Malformed::from)?;
    let (broker, who) = caller(context, as_, None).await?;
    let trust = match as_ {
        Some(directory) => Actor::load(directory, context)?.identity()?.trust().clone(),
        None => context.trust()?,
    };
    let report = replay::replay(&broker, &who, &trust, &delegation).await?;
    if context.json() {
        print::json(&value(&report));
    } else {
        lines(&report).iter().for_each(|line| crate::print::line!("{line}"));
    }
    if report.holds() {
        Ok(())
    } else {
        Err(CliError::local("the replay found problems; see above"))
    }
}

async fn whole(args: Args, context: &Context) -> Result<(), CliError> {
    if args.table && context.json() {
        return Err(CliError::usage("--table is for people: it does not go with --output json"));
    }
    let trust = context.trust()?;
    let questions = Questions::read(&args, &trust.domain())?;
    let kept = kept_heads(&args.checkpoints, &head_keys(&trust.current()))?;
    let records = match &args.bundle {
        Some(path) => Bundle::open(path, &head_keys(&trust.current()))?.records(&trust)?,
        None => records::read(&context.broker().await?, &context.admin()?, &trust).await?,
    };
    let kept: Vec<_> = kept.into_iter().map(|signed| signed.head).collect();
    let checked = records.each_begins_with(&kept);
    let history = History::of(records, &trust, args.as_of.map(UnixMillis));
    let kept = kept.iter().zip(checked).map(|(kept, checked)| Head {
        records: Some(kept.size),
        shown_to: None,
        consistent: word(checked),
    });
    let shown = history.shown.iter().map(|shown| Head {
        records: shown.size,
        shown_to: Some(shown.verifier.clone()),
        consistent: word(shown.consistent),
    });
    let asked = Asked {
        uses: history.uses_of(&questions.query),
        uses_in_all: history.uses.len(),
        asked: questions.asked(),
        no_record_names: questions.unnamed(&history),
        consents: history.consents.clone(),
        revocations: history.revoked(),
        without_authority: history.without_authority(),
        completeness: history.completeness(),
        what_if: args.what_if.map(|(hop, at)| history.what_if_revoked(hop, UnixMillis(at))),
        unused: args.unused.then(|| history.unused()),
        blast_radius: questions.radius.as_ref().map(|source| history.blast_radius(source)),
        heads: kept.chain(shown).collect(),
    };
    let head = &history.head;
    if context.json() {
        let mut answer =
            serde_json::to_value(&asked).map_err(|error| CliError::local(error.to_string()))?;
        let ledger = json!({
            "origin": head.origin,
            "records": head.size,
            "root": base64url(head.root),
            "as_of_ms": args.as_of,
        });
        if let Some(members) = answer.as_object_mut() {
            members.insert("ledger".to_owned(), ledger);
        }
        print::json(&answer);
    } else {
        if args.table {
            table(&asked.uses, context);
        } else {
            asked.uses.iter().flat_map(use_lines).for_each(|line| crate::print::line!("{line}"));
        }
        asked.lines().iter().for_each(|line| crate::print::line!("{line}"));
        let root = base64url(head.root);
        crate::print::line!("{}: {} records, root {root}", head.origin, head.size);
    }
    if asked.heads.iter().any(|head| head.consistent == word(Checked::Contradicted)) {
        return Err(CliError::local(
            "the ledger was rewritten, or two were shown: a signed head contradicts it",
        ));
    }
    Ok(())
}

/// What is asked for by name or by id, as it was understood.
struct Questions {
    query: Query,
    radius: Option<Source>,
}

impl Questions {
    /// Completes the names that were typed with the trust domain of the ledger. An error is of what is no
    /// name.
    fn read(args: &Args, domain: &TrustDomain) -> Result<Self, CliError> {
        let radius = args.blast_radius.as_deref().map(|text| source(domain, text)).transpose();
        Ok(Questions { query: query(args, domain).map_err(Malformed::from)?, radius: radius? })
    }

    /// What was asked for, in words: what kind it is, and the full name.
    fn asked(&self) -> Vec<(&'static str, String)> {
        let Query { delegation, agent, principal, resource, action } = &self.query;
        let asked = [
            ("delegation", delegation.as_ref().map(ToString::to_string)),
            ("agent", agent.as_ref().map(ToString::to_string)),
            ("principal", principal.as_ref().map(ToString::to_string)),
            ("resource", resource.clone()),
            ("action", action.clone()),
        ];
        asked.into_iter().filter_map(|(kind, name)| Some((kind, name?))).collect()
    }

    /// What of it no record names.
    fn unnamed(&self, history: &History) -> Vec<String> {
        let Query { delegation, agent, principal, .. } = &self.query;
        let asked = [
            delegation.map(Source::Hop),
            agent.clone().map(Source::Agent),
            principal.clone().map(Source::Principal),
            self.radius.clone(),
        ];
        let unnamed = asked.into_iter().flatten().filter(|source| !history.is_named(source));
        let mut unnamed: Vec<String> = unnamed.map(|source| source.to_string()).collect();
        unnamed.dedup();
        unnamed
    }
}

/// Which uses are asked for.
fn query(args: &Args, domain: &TrustDomain) -> Result<Query, BadId> {
    let agent = args.agent.as_deref().map(|text| AgentId::parse_in(domain, text));
    let principal = args.principal.as_deref().map(|text| Principal::parse_in(domain, text));
    Ok(Query {
        delegation: args.of_delegation.as_deref().map(str::parse).transpose()?,
        agent: agent.transpose()?,
        principal: principal.transpose()?,
        resource: args.resource.clone(),
        action: args.action.clone(),
    })
}

/// Everything that was asked, and the answers.
#[derive(serde::Serialize)]
struct Asked {
    uses: Vec<UseAnswer>,
    /// How many uses the ledger has, whatever was asked for.
    uses_in_all: usize,
    /// What the uses are of, by kind; names are full.
    #[serde(serialize_with = "by_kind", skip_serializing_if = "Vec::is_empty")]
    asked: Vec<(&'static str, String)>,
    /// Names and ids that were asked for and that no record holds.
    no_record_names: Vec<String>,
    consents: Vec<RecordedConsent>,
    revocations: Vec<RevocationAnswer>,
    without_authority: WithoutAuthority,
    completeness: Completeness,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_if: Option<WhatIf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unused: Option<Vec<Unused>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blast_radius: Option<BlastRadius>,
    /// Heads that were kept elsewhere, or shown to a tool: does the ledger begin with their records?
    heads: Vec<Head>,
}

/// A signed head that the ledger is held against.
#[derive(serde::Serialize)]
struct Head {
    /// Over how many records it is; absent when no key that is trusted signed it.
    records: Option<u64>,
    /// The tool that reported it; absent when it was kept elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown_to: Option<String>,
    consistent: &'static str,
}

impl Asked {
    /// All but the uses, in words.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.consents.iter().map(ToString::to_string).collect();
        lines.extend(self.revocations.iter().flat_map(revocation_lines));
        if !self.asked.is_empty() {
            let asked = self.asked.iter().map(|(kind, name)| format!("{kind} {name}"));
            let asked = asked.collect::<Vec<_>>().join(", ");
            lines.push(format!("{} of {} uses match: {asked}", self.uses.len(), self.uses_in_all));
        }
        lines.extend(self.no_record_names.iter().map(|name| format!("no record names {name}")));
        for refusal in &self.without_authority.refusals {
            let at = print::utc_ms(refusal.at_ms);
            lines.push(format!(
                "refused at {at}, record {}: {} [{}]: {}",
                refusal.record, refusal.actor, refusal.code, refusal.detail
            ));
        }
        for counted in &self.without_authority.refusals_counted {
            let total: u64 = counted.counts.iter().map(|(_, _, count)| count).sum();
            let codes = counted.counts.iter().map(|(_, code, count)| format!("{count} × {code}"));
            lines.push(format!(
                "refused and counted, {} to {}, record {}: {} had {total} more refusals: {}",
                print::utc_ms(counted.from_ms),
                print::utc_ms(counted.to_ms),
                counted.record,
                counted.actor,
                codes.collect::<Vec<_>>().join(", ")
            ));
        }
        let complete = &self.completeness;
        lines.extend(complete.delegations.iter().map(|detail| format!("PROBLEM: {detail}")));
        for (tool, gaps) in &complete.verifiers {
            lines.push(format!("GAP: {tool} counted uses that are not here: {gaps:?}"));
        }
        lines.extend(complete.pruned.iter().map(|(from, to)| {
            format!("forgotten: records {from} to {to}, of which only hashes are left")
        }));
        lines.extend(complete.not_shown.iter().map(|(record, why)| {
            format!("not shown: whether record {record} was rightly decided: {why}")
        }));
        let lists = [
            ("ALLOWED WITHOUT FOUNDATION", &self.without_authority.unfounded_uses),
            ("refused by tools", &self.without_authority.refused_uses),
            ("erased", &complete.erased),
        ];
        let named = lists.iter().filter(|(_, records)| !records.is_empty());
        lines.extend(named.map(|(what, records)| format!("{what}: records {records:?}")));
        lines.extend(self.what_if.iter().flat_map(what_if_lines));
        lines.extend(self.unused.iter().flatten().map(|unused| {
            format!(
                "never needed: {} of {} (record {})",
                unused.capability, unused.holder, unused.record
            )
        }));
        lines.extend(self.blast_radius.iter().flat_map(radius_lines));
        lines.extend(self.heads.iter().map(|head| {
            let records = head.records.map_or("no known key's".to_owned(), |n| n.to_string());
            let whose = head.shown_to.as_deref().map(|tool| format!(" shown to {tool}"));
            format!(
                "that it begins with the head of {records} records{}: {}",
                whose.unwrap_or_default(),
                head.consistent
            )
        }));
        lines
    }
}

/// The reason of a revocation, in brackets; nothing where none was given.
fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
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
    lines.extend(known.map(|known| format!("   {} knew after {} ms", known.tool, known.after_ms)));
    let not_shown = revoked.not_shown.iter();
    lines.extend(not_shown.map(|tool| format!("   {tool} is not shown to have known")));
    if !revoked.stale_uses.is_empty() {
        lines.push(format!("   ALLOWED WITHOUT KNOWING: records {:?}", revoked.stale_uses));
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
        lines.push("   and more that has no form as a single capability".to_owned());
    }
    lines
}

fn word(checked: Checked) -> &'static str {
    match checked {
        Checked::Holds => "holds",
        Checked::Contradicted => "contradicted",
        Checked::NotShown => "not_shown",
    }
}

/// A hop's id, an agent, or, where a colon or an at sign says so, a principal.
fn source(domain: &TrustDomain, text: &str) -> Result<Source, CliError> {
    if let Ok(hop) = text.parse() {
        return Ok(Source::Hop(hop));
    }
    let is_principal = !text.contains("://") && text.contains([':', '@']);
    let source = match is_principal {
        true => Principal::parse_in(domain, text).map(Source::Principal),
        false => AgentId::parse_in(domain, text).map(Source::Agent),
    };
    Ok(source.map_err(Malformed::from)?)
}

/// As an object: a kind is asked for once at most.
fn by_kind<S: Serializer>(asked: &[(&'static str, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(asked.iter().map(|(kind, name)| (kind, name)))
}

/// Every use in one line.
fn table(uses: &[UseAnswer], context: &Context) {
    let rows: Vec<_> = uses.iter().map(|used| report::cells(used).to_vec()).collect();
    let head = ["RECORD", "AT", "WHO", "ON BEHALF OF", "TOOL", "ACTION", "VERDICT", "AGAIN"];
    print::rows(context, &head, &rows, &Value::Null);
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
        lines.extend(hop.narrowing.iter().map(|taken| format!("{indent}   − {taken}")));
    }
    lines.extend(report::word_of_the_tool(used));
    lines.push(format!("   decided again: {} {}", used.decided_again, used.detail));
    let stale = used.stale.iter().map(|stale| {
        let (record, ms) = (stale.revocation, stale.for_ms);
        format!("   STALE: revoked by record {record} for {ms} ms, which the tool did not know")
    });
    lines.extend(stale);
    lines
}

/// `HOP@TIME`.
fn hop_at(text: &str) -> Result<(HopId, i64), String> {
    let (hop, at) = text.split_once('@').ok_or("HOP@TIME is expected")?;
    let hop = hop.parse().map_err(|bad: sublet_core::base::id::BadId| bad.to_string())?;
    Ok((hop, time(at)?))
}

/// RFC 3339 in UTC to the second, or milliseconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    if let Ok(millis) = text.parse() {
        return Ok(millis);
    }
    print::from_utc(text).ok_or_else(|| {
        format!("{text:?} is no time: 2026-11-24T10:02:00Z or milliseconds are expected")
    })
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
        lines.push(format!("{indent}   {signature}, until {}{revoked}", print::utc(hop.expires)));
        lines.extend(hop.narrowing.iter().map(|taken| format!("{indent}   − {taken}")));
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
