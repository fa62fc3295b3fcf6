//! `sublet authorize`: the decision of a tool about one call, offline.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sublet_client::agent::identity::Identity;
use sublet_client::files;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::spool::{Reporter, SPOOL_BYTES_DEFAULT};
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::CallProof;
use sublet_core::refusal::Malformed;
use sublet_core::token::Presentation;
use sublet_core::token::verify::Holder;
use sublet_proto::credentials::Credentials;

use crate::actor::Actor;
use crate::call_args::CallArgs;
use crate::cli_error::CliError;
use crate::context::{Context, duration};
use crate::view;
use crate::{print, verdict};

/// How long the command waits until the broker has the report.
const REPORT_WITHIN: Duration = Duration::from_secs(10);

/// Decide whether a call is permitted, offline, as a tool does
///
/// Verifies the token, the call proof and the receipt, checks the revocation view, and checks that every hop
/// admits the call. The broker is asked only for the revocation feed, or not at all with
/// --revocations. With --as, the decision is then reported to the ledger as evidence of use.
///
/// Proofs of earlier runs are not remembered, so a replayed proof is not detected here; a tool detects it.
///
/// Exit codes: 0 permitted; 2 refused, with the reason; 1, 3, 64 no decision was made.
///
/// Example: sublet authorize --token t --proof p --audience tool://files --action fs.read --arg path=/data/a
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File with the token that the caller shows
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// File with the call proof that the caller shows (sublet prove call)
    #[arg(long, value_name = "FILE")]
    proof: PathBuf,
    #[command(flatten)]
    call: CallArgs,
    /// Revocation snapshot (sublet trust snapshot); without it, the broker's feed; without a broker, the
    /// receipt must be fresh
    #[arg(long, value_name = "FILE")]
    revocations: Option<PathBuf>,
    /// Directory of the tool's identity: it reads the feed and reports the decision; without it, the admin
    /// reads the feed and nothing is reported
    #[arg(long = "as", value_name = "DIR")]
    as_: Option<PathBuf>,
    /// Maximum age of the revocation view
    #[arg(long, default_value = "10s", value_parser = duration)]
    max_staleness: Duration,
    /// Do not report the decision (with --as and a broker it is reported)
    #[arg(long)]
    no_report: bool,
    /// Refuse unless --inclusion proves that every hop is in the ledger
    #[arg(long)]
    require_inclusion: bool,
    /// File with the inclusion proof (sublet record --inclusion)
    #[arg(long, value_name = "FILE")]
    inclusion: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let trust = context.trust()?;
    let presentation =
        Presentation::from_text(&files::read_text(&args.token)?).map_err(Malformed::from)?;
    let proof = CallProof::from_text(&files::read_text(&args.proof)?).map_err(Malformed::Proof)?;
    let arguments = Arguments::from_json(args.call.json()?.as_bytes()).map_err(Malformed::from)?;
    let view = view::of(args.revocations.as_deref(), args.as_.as_ref(), context, &trust).await?;
    let reporting = reporting(&args, context)?;
    let options = Options {
        evidence: reporting.as_ref().map(|(reporter, _)| reporter.clone()),
        staleness_ms_max: i64::try_from(args.max_staleness.as_millis()).unwrap_or(i64::MAX),
        // The replay cache of this run is empty, so proofs made before it started are accepted.
        start_margin_ms: -120_000,
        require_inclusion: args.require_inclusion,
        ..Options::default()
    };
    let checker = Checker::new(args.call.audience.clone(), trust, view.clone(), options);
    let call = checker.call(args.call.action.clone(), arguments);
    let Presentation { token, receipt } = presentation;
    let inclusion = args.inclusion.as_ref().map(|path| files::read(path)).transpose()?;
    let (token, proof) = (Some(token), proof.encode());
    let credentials = Credentials { token, receipt, proof, inclusion };
    if !context.json() {
        eprintln!(
            "note: this command keeps no replay cache between runs, so it does not detect a replayed proof"
        );
    }
    let verdict = checker.check(&credentials, &call);
    if let Some((reporter, identity)) = reporting {
        let _sender = reporter.start(context.broker().await?, Arc::new(identity), view);
        if !reporter.flushed(REPORT_WITHIN).await {
            eprintln!(
                "note: the broker could not be reached; the report is stored in DIR/evidence and sent by the next run"
            );
        }
    }
    match verdict {
        Ok(permit) => {
            let (holder, principal): (Holder, _) = (permit.holder, permit.principal.to_string());
            let value = json!({
                "verdict": "allowed",
                "holder": holder.to_string(),
                "on_behalf_of": principal,
                "hop": permit.hop.to_string(),
            });
            let pairs = [
                ("verdict", "allowed".to_owned()),
                ("holder", holder.to_string()),
                ("on behalf of", principal),
                ("hop", permit.hop.to_string()),
            ];
            print::pairs(context, &pairs, &value);
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => verdict::denied(refusal, context),
    }
}

/// Returns the reporter and the tool's identity; `None` when the decision is not reported.
fn reporting(
    args: &Args,
    context: &Context,
) -> Result<Option<(Arc<Reporter>, Identity)>, CliError> {
    let (Some(directory), Some(_), false) = (&args.as_, &context.broker, args.no_report) else {
        return Ok(None);
    };
    let identity = Actor::load(directory, context)?.identity()?;
    let reporter = Reporter::open(&directory.join("evidence"), SPOOL_BYTES_DEFAULT)?;
    Ok(Some((reporter, identity)))
}
