//! `sublet verify identity`: which agent calls, from its identity token and proof.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use sublet_client::files;
use sublet_client::tool::checker::Options;
use sublet_client::tool::peer::PeerChecker;
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::CallProof;
use sublet_core::refusal::Malformed;
use sublet_core::token::Presentation;
use sublet_proto::credentials::Credentials;

use crate::call_args::CallArgs;
use crate::cli_error::CliError;
use crate::context::{Context, duration};
use crate::{print, verdict, view};

/// Verify which agent is calling, from its identity token and proof
///
/// Prints the agent and its key. Verifying gives no permission: use `sublet authorize` for a call with a
/// delegation.
///
/// Exit codes: 0 verified; 2 refused, with the reason; 1, 3, 64 nothing was verified.
///
/// Example: sublet verify identity --token identity.token --proof p --audience agent://reader --action hello
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File with the identity token that the caller shows (identity.token in its directory)
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// File with the proof that the caller shows (sublet prove identity)
    #[arg(long, value_name = "FILE")]
    proof: PathBuf,
    #[command(flatten)]
    call: CallArgs,
    /// Revocation snapshot (sublet trust snapshot); without it, the broker's feed
    #[arg(long, value_name = "FILE")]
    revocations: Option<PathBuf>,
    /// Directory of the identity that reads the feed; without it, the admin reads it
    #[arg(long = "as", value_name = "DIR")]
    as_: Option<PathBuf>,
    /// Maximum age of the revocation view
    #[arg(long, default_value = "10s", value_parser = duration)]
    max_staleness: Duration,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let trust = context.trust()?;
    let presentation =
        Presentation::from_text(&files::read_text(&args.token)?).map_err(Malformed::from)?;
    let proof = CallProof::from_text(&files::read_text(&args.proof)?).map_err(Malformed::Proof)?;
    let arguments = Arguments::from_json(args.call.json()?.as_bytes()).map_err(Malformed::from)?;
    let view = view::of(args.revocations.as_deref(), args.as_.as_ref(), context, &trust).await?;
    let options = Options {
        staleness_ms_max: i64::try_from(args.max_staleness.as_millis()).unwrap_or(i64::MAX),
        // The replay cache of this run is empty, so proofs made before it started are accepted.
        start_margin_ms: -120_000,
        ..Options::default()
    };
    let checker = PeerChecker::new(args.call.audience.clone(), trust, view, options);
    let (token, proof) = (Some(presentation.token), proof.encode());
    let shown = Credentials { token, proof, ..Credentials::default() };
    match checker.check(&shown, &args.call.action, arguments) {
        Ok(peer) => {
            let (agent, key) = (peer.agent.to_string(), peer.key.to_string());
            let value = json!({"verdict": "verified", "agent": agent, "key": key});
            let pairs = [("verdict", "verified".to_owned()), ("agent", agent), ("key", key)];
            print::pairs(context, &pairs, &value);
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => verdict::denied(refusal, context),
    }
}
