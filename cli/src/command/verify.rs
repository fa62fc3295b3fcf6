//! `sublet verify`: decide one call, offline, as a tool would.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sublet_client::agent::identity::Identity;
use sublet_client::broker::credential::Caller;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::follow::{self, SharedView};
use sublet_client::tool::peer::PeerChecker;
use sublet_client::tool::spool::{Reporter, SPOOL_BYTES_DEFAULT};
use sublet_client::trust::Trust;
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::CallProof;
use sublet_core::refusal::{Malformed, Refusal};
use sublet_core::token::Presentation;
use sublet_core::token::verify::Holder;
use sublet_proto::credentials::Credentials;

use crate::actor::{Actor, watcher};
use crate::cli_error::CliError;
use crate::command::call::CallArgs;
use crate::context::{Context, duration};
use crate::print;

/// How long the command waits for the broker to have the evidence.
const REPORT_WITHIN: Duration = Duration::from_secs(10);

/// Decide one call, offline. Exit 0: allowed; 2: refused, with the reason.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The token that the caller shows
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// The call proof that the caller shows
    #[arg(long, value_name = "FILE")]
    proof: PathBuf,
    #[command(flatten)]
    call: CallArgs,
    /// A revocation snapshot (sublet trust snapshot); else one is asked of SUBLET_BROKER, else the
    /// token's receipt must be fresh
    #[arg(long, value_name = "FILE")]
    revocations: Option<PathBuf>,
    /// Which tool this is: an identity's directory. It asks for the feed and reports the decision;
    /// without it the admin asks, and nothing is reported
    #[arg(long = "as", value_name = "DIR")]
    as_: Option<PathBuf>,
    /// How old the revocation view may be
    #[arg(long, default_value = "10s", value_parser = duration)]
    max_staleness: Duration,
    /// Decide who calls, by its identity token alone (sublet prove); nothing is allowed by it
    #[arg(long, conflicts_with_all = ["require_inclusion", "inclusion"])]
    peer: bool,
    /// Do not report the decision; by default it is, when --as and a broker are given
    #[arg(long)]
    no_report: bool,
    /// Refuse unless every hop is shown to be in the ledger
    #[arg(long)]
    require_inclusion: bool,
    /// The proof of it, as `sublet record --inclusion` keeps it
    #[arg(long, value_name = "FILE")]
    inclusion: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let trust = context.trust()?;
    let presentation =
        Presentation::from_text(&files::read_text(&args.token)?).map_err(Malformed::from)?;
    let proof = CallProof::from_text(&files::read_text(&args.proof)?).map_err(Malformed::Proof)?;
    let arguments = Arguments::from_json(args.call.json()?.as_bytes()).map_err(Malformed::from)?;
    let view = view(&args, context, &trust).await?;
    if args.peer {
        return peer(&args, context, (trust, view), presentation.token, (&proof, arguments));
    }
    let reporting = reporting(&args, context)?;
    let options = Options {
        evidence: reporting.as_ref().map(|(reporter, _)| reporter.clone()),
        staleness_ms_max: i64::try_from(args.max_staleness.as_millis()).unwrap_or(i64::MAX),
        // No nonces are kept between runs, so proofs from before this one are let through.
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
            "note: no nonces are kept between runs, so a proof shown twice is not noticed here"
        );
    }
    let verdict = checker.check(&credentials, &call);
    if let Some((reporter, identity)) = reporting {
        let _sender = reporter.start(context.broker().await?, Arc::new(identity), view);
        if !reporter.flushed(REPORT_WITHIN).await {
            eprintln!(
                "note: the broker does not have the evidence yet; it is kept and sent next time"
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
        Err(refusal) => denied(refusal, context),
    }
}

/// A refusal: as JSON where that was asked for, else as every other error.
fn denied(refusal: Refusal, context: &Context) -> Result<ExitCode, CliError> {
    match refusal {
        Refusal::Deny(_) | Refusal::Unauthenticated(_) if context.json() => {
            print::json(
                &json!({"verdict": "denied", "code": refusal.code(), "says": refusal.to_string()}),
            );
            Ok(ExitCode::from(2))
        }
        refusal => Err(refusal.into()),
    }
}

/// Who it is, by its identity alone.
fn peer(
    args: &Args,
    context: &Context,
    (trust, view): (Trust, SharedView),
    token: Vec<u8>,
    (proof, arguments): (&CallProof, Arguments),
) -> Result<ExitCode, CliError> {
    let options = Options {
        staleness_ms_max: i64::try_from(args.max_staleness.as_millis()).unwrap_or(i64::MAX),
        start_margin_ms: -120_000,
        ..Options::default()
    };
    let checker = PeerChecker::new(args.call.audience.clone(), trust, view, options);
    let shown = Credentials { token: Some(token), proof: proof.encode(), ..Credentials::default() };
    match checker.check(&shown, &args.call.action, arguments) {
        Ok(peer) => {
            let (agent, key) = (peer.agent.to_string(), peer.key.to_string());
            let value = json!({"verdict": "recognised", "agent": agent, "key": key});
            let pairs = [("verdict", "recognised".to_owned()), ("agent", agent), ("key", key)];
            print::pairs(context, &pairs, &value);
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => denied(refusal, context),
    }
}

/// Whoever reports the decision, as the tool that it is; `None` when nobody does.
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

async fn view(args: &Args, context: &Context, trust: &Trust) -> Result<SharedView, CliError> {
    if let Some(path) = &args.revocations {
        return Ok(SharedView::from_snapshot(&files::read_text(path)?, trust, &Ports::system())?);
    }
    if context.broker.is_none() {
        return Ok(SharedView::empty(trust.domain()));
    }
    let broker = context.broker().await?;
    let who = watcher(context, args.as_.as_ref())?;
    let who = who.as_ref().map(|who| who as &dyn Caller);
    let (view, _) = follow::snapshot(&broker, who, trust).await?;
    Ok(view)
}
