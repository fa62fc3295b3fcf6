//! `sublet audit replay`: one delegation, or the whole ledger with every decision made again.

use std::path::PathBuf;

use serde_json::json;
use sublet_client::audit::bundle::Bundle;
use sublet_client::audit::history::History;
use sublet_client::audit::published::checkpoint_keys;
use sublet_client::audit::records;
use sublet_core::base::id::{DelegationId, HopId, UnixMillis};
use sublet_core::base::text::base64url;
use sublet_core::refusal::Malformed;

use crate::actor::{Actor, caller};
use crate::audit::against::kept_checkpoints;
use crate::audit::answers::{Answers, Head, word};
use crate::audit::delegation;
use crate::audit::questions::{Questions, Typed, hop_at, time};
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Replay what happened, from the records of the ledger
///
/// With DELEGATION alone: who delegated what to whom. Every hop is verified again. The admin may ask, and with
/// --as the agent that the delegation was issued to.
///
/// With any other flag: every use in the ledger that matches the filters, for the admin. Each decision is made
/// again from the records: the result is reproduced, diverged or not shown. Revocations, refusals and gaps
/// follow.
///
/// Exit codes: 0 done; 1 a problem was found, or a checkpoint contradicts the ledger.
///
/// Example: sublet audit replay --agent agent/reader --as-of 2026-11-24T10:02:00Z
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Id of one delegation, as `sublet issue` prints it; goes only with --as
    #[arg(allow_hyphen_values = true, conflicts_with_all = ["all", "of_delegation", "agent",
        "principal", "resource", "action", "table", "as_of", "what_if", "unused", "blast_radius",
        "checkpoints"])]
    delegation: Option<String>,
    /// Directory of the identity that the delegation was issued to; without it, the admin asks
    #[arg(long = "as", value_name = "DIR", requires = "delegation", conflicts_with_all = ["all",
        "of_delegation", "agent", "principal", "resource", "action", "table", "as_of", "what_if",
        "unused", "blast_radius", "checkpoints"])]
    as_: Option<PathBuf>,
    /// Show every use in the ledger
    #[arg(long, conflicts_with_all = ["of_delegation", "agent", "principal", "resource", "action"])]
    all: bool,
    /// Show uses of this delegation
    #[arg(long = "delegation", value_name = "ID", allow_hyphen_values = true)]
    of_delegation: Option<String>,
    /// Show uses of chains that this agent holds a hop of: full SPIFFE id, or a path such as agent/planner
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// Show uses on behalf of this principal: user:alice@acme.example, or user:alice
    #[arg(long)]
    principal: Option<String>,
    /// Show uses of this tool, or of this path or URL in an argument, and of everything below it
    #[arg(long)]
    resource: Option<String>,
    /// Show uses of this action
    #[arg(long)]
    action: Option<String>,
    /// Print one line a use instead of its chain
    #[arg(long)]
    table: bool,
    /// Read only what was recorded until this time: 2026-11-24T10:02:00Z, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<i64>,
    /// Show what would have been refused if this hop had been revoked at this time
    #[arg(long = "what-if-revoked", value_name = "HOP@TIME", value_parser = hop_at, allow_hyphen_values = true)]
    what_if: Option<(HopId, i64)>,
    /// List capabilities that were delegated and never used (least privilege)
    #[arg(long)]
    unused: bool,
    /// Show what a hop, an agent or a principal can reach, and what was done with it: a hop's id, or a name as
    /// for --agent or --principal
    #[arg(long, value_name = "WHAT", allow_hyphen_values = true)]
    blast_radius: Option<String>,
    /// Read an evidence bundle instead of the broker, offline
    #[arg(long, value_name = "FILE", conflicts_with_all = ["delegation", "as_"])]
    bundle: Option<PathBuf>,
    /// Compare the ledger with a signed checkpoint that you kept; may be given more than once
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Print help (-h may be the start of an id)
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    match &args.delegation {
        Some(delegation) => one(delegation, args.as_.as_ref(), context).await,
        None => whole(args, context).await,
    }
}

async fn one(id: &str, as_: Option<&PathBuf>, context: &Context) -> Result<(), CliError> {
    let id: DelegationId = id.parse().map_err(Malformed::from)?;
    let (broker, who) = caller(context, as_, None).await?;
    let trust = match as_ {
        Some(directory) => Actor::load(directory, context)?.identity()?.trust().clone(),
        None => context.trust()?,
    };
    let report = sublet_client::audit::replay::replay(&broker, &who, &trust, &id).await?;
    if context.json() {
        print::json(&delegation::value(&report));
    } else {
        delegation::lines(&report).iter().for_each(|line| print::text(line));
    }
    if report.holds() {
        Ok(())
    } else {
        Err(CliError::local("the replay found problems; they are listed above"))
    }
}

async fn whole(args: Args, context: &Context) -> Result<(), CliError> {
    if args.table && context.json() {
        return Err(CliError::usage("--table cannot be combined with --output json"));
    }
    let trust = context.trust()?;
    let typed = Typed {
        delegation: args.of_delegation.as_deref(),
        agent: args.agent.as_deref(),
        principal: args.principal.as_deref(),
        resource: args.resource.as_deref(),
        action: args.action.as_deref(),
        blast_radius: args.blast_radius.as_deref(),
    };
    let questions = Questions::read(&typed, &trust.domain())?;
    let kept = kept_checkpoints(&args.checkpoints, &checkpoint_keys(&trust.current()))?;
    let records = match &args.bundle {
        Some(path) => Bundle::open(path, &checkpoint_keys(&trust.current()))?.records(&trust)?,
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
    let answers = Answers {
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
            serde_json::to_value(&answers).map_err(|error| CliError::local(error.to_string()))?;
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
        answers.show(args.table, context);
        let root = base64url(head.root);
        print::line!("ledger {}: {} records, root {root}", head.origin, head.size);
    }
    if answers.is_contradicted() {
        return Err(CliError::local(
            "the ledger was rewritten or forked: a signed checkpoint contradicts it",
        ));
    }
    Ok(())
}
