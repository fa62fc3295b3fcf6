//! `sublet audit …`: replay what happened.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use sublet_client::audit::{self, Report};
use sublet_client::failure::Failure;
use sublet_client::files;
use sublet_client::mirror::{Mirror, Mirrored, head_keys, verify_copy};
use sublet_core::id::DelegationId;
use sublet_core::no::Malformed;
use sublet_core::text::base64url;
use sublet_ledger::checkpoint::Checkpoint;
use sublet_proto::v1;

use crate::actor::{Actor, caller};
use crate::context::Context;
use crate::print;
use crate::trouble::Trouble;

/// Exit codes of what is found wrong with a ledger. docs/FORMATS.
const INCOMPLETE: u8 = 20;
const FORKED: u8 = 30;
const INVALID: u8 = 40;

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
    /// Print the signed head of the ledger; keep it, and nobody rewrites what it covers
    Checkpoint {
        /// Who asks: an identity; else the admin
        #[arg(long = "as", value_name = "DIR")]
        as_: Option<PathBuf>,
    },
    /// Keep a copy of the ledger that verifies without the broker (admin)
    Mirror {
        /// The copy; made when it is not there
        directory: PathBuf,
    },
    /// Check a copy of the ledger, offline: 0 verified, 20 incomplete, 30 forked, 40 invalid
    Verify {
        /// The copy
        directory: PathBuf,
        /// A signed head that was kept elsewhere; may be given again
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, Trouble> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Replay { delegation, as_ } => replay(&delegation, as_, context).await.map(done),
        Command::Checkpoint { as_ } => checkpoint(as_, context).await.map(done),
        Command::Mirror { directory } => mirror(&directory, context).await,
        Command::Verify { directory, checkpoints } => verify(&directory, &checkpoints, context),
    }
}

async fn checkpoint(as_: Option<PathBuf>, context: &Context) -> Result<(), Trouble> {
    let (broker, who) = caller(context, as_.as_ref(), None).await?;
    let trust = match &as_ {
        Some(directory) => Actor::load(directory)?.identity()?.trust().clone(),
        None => context.trust()?,
    };
    let note = broker.checkpoint(&who, v1::GetCheckpointRequest {}).await?.checkpoint;
    let head = Checkpoint::open(&note, &head_keys(&trust.current()))
        .map_err(|bad| Trouble::local(format!("the ledger's head: {bad}")))?;
    let text = String::from_utf8_lossy(&note);
    if context.json() {
        print::json(&json!({
            "origin": head.origin,
            "size": head.size,
            "root": base64url(head.root),
            "checkpoint": text,
        }));
    } else {
        crate::print::line!("{}", text.trim_end());
    }
    Ok(())
}

async fn mirror(directory: &Path, context: &Context) -> Result<ExitCode, Trouble> {
    let (broker, admin, trust) = (context.broker().await?, context.admin()?, context.trust()?);
    let mut mirror = match Mirror::open(directory, &trust) {
        Ok(mirror) => mirror,
        Err(failure) => return found(failure),
    };
    match mirror.pull(&broker, &admin).await {
        Ok(copy) => {
            show_copy(context, directory, &copy);
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => found(failure),
    }
}

fn verify(
    directory: &Path,
    checkpoints: &[PathBuf],
    context: &Context,
) -> Result<ExitCode, Trouble> {
    let keys = head_keys(&context.trust()?.current());
    let kept = checkpoints.iter().map(|path| {
        let head = Checkpoint::open(&files::read(path)?, &keys);
        head.map_err(|bad| Trouble::local(format!("{}: {bad}", path.display())))
    });
    let kept = kept.collect::<Result<Vec<_>, Trouble>>()?;
    match verify_copy(directory, &keys, &kept) {
        Ok(copy) => {
            show_copy(context, directory, &copy);
            Ok(ExitCode::from(if copy.pruned > 0 { INCOMPLETE } else { 0 }))
        }
        Err(failure) => found(failure),
    }
}

/// What was found wrong with a ledger, by its exit code; anything else is trouble.
fn found(failure: Failure) -> Result<ExitCode, Trouble> {
    let code = match failure.code().as_str() {
        "ledger_incomplete" => INCOMPLETE,
        "ledger_forked" => FORKED,
        "ledger_invalid" => INVALID,
        _ => return Err(failure.into()),
    };
    eprintln!("{} [{}]", failure.message(), failure.code());
    Ok(ExitCode::from(code))
}

fn show_copy(context: &Context, directory: &Path, copy: &Mirrored) {
    let mut pairs = vec![
        ("copy", directory.display().to_string()),
        ("ledger", copy.head.origin.clone()),
        ("records", copy.head.size.to_string()),
        ("root", base64url(copy.head.root)),
    ];
    if copy.new > 0 {
        pairs.push(("new", copy.new.to_string()));
    }
    if copy.pruned > 0 {
        pairs.push(("without their records", copy.pruned.to_string()));
    }
    let value = json!({
        "origin": copy.head.origin,
        "records": copy.head.size,
        "root": base64url(copy.head.root),
        "new": copy.new,
        "pruned": copy.pruned,
    });
    print::pairs(context, &pairs, &value);
}

async fn replay(delegation: &str, as_: Option<PathBuf>, context: &Context) -> Result<(), Trouble> {
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
