//! `sublet can-i`: a forecast of a tool's decision, before the call.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use sublet_client::agent::delegation::coverage;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_core::authorize::foresee_call;
use sublet_core::capability::Capability;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::refusal::{Deny, Malformed, Refusal};
use sublet_core::token::verify::VerifiedToken;

use crate::call_args::CallArgs;
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Check whether a token permits a call, before the call is made
///
/// If it does not, the command prints whom to ask for what.
///
/// The broker is not asked, so a revocation is not seen here. No proof is needed and nothing is recorded.
///
/// Exit codes: 0 permitted; 2 refused.
///
/// Example: sublet can-i --token t --audience tool://files --action fs.read --arg path=/data/a
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File with the token
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    #[command(flatten)]
    call: CallArgs,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let trust = context.trust()?;
    let (token, receipt) = trust.verify_text(&files::read_text(&args.token)?)?;
    let covered = receipt.map(|receipt| coverage(&receipt, &token, &trust)).transpose()?;
    let arguments = Arguments::from_json(args.call.json()?.as_bytes()).map_err(Malformed::from)?;
    let call = Call { audience: args.call.audience, action: args.call.action, arguments };
    let now = Ports::system().clock.now();
    let verdict = match foresee_call(&token, &call, covered.as_ref(), now) {
        Ok(()) => Ok(()),
        Err(Refusal::Deny(deny)) => Err(deny),
        Err(refusal) => return Err(refusal.into()),
    };
    say(context, &token, &call, verdict)
}

fn say(
    context: &Context,
    token: &VerifiedToken,
    call: &Call,
    verdict: Result<(), Deny>,
) -> Result<ExitCode, CliError> {
    let holder = token.holder().to_string();
    let Err(refusal) = verdict else {
        let pairs = [
            ("permitted", "yes, unless a hop of the chain is revoked".to_owned()),
            ("holder", holder.clone()),
        ];
        print::pairs(context, &pairs, &json!({"can": true, "holder": holder}));
        return Ok(ExitCode::SUCCESS);
    };
    let advice = advice(token, call, &refusal)?;
    let value = json!({
        "can": false, "holder": holder, "code": refusal.code(), "says": refusal.to_string(), "advice": advice,
    });
    let pairs = [
        ("permitted", format!("no [{}]", refusal.code())),
        ("holder", holder.clone()),
        ("reason", refusal.to_string()),
        ("to do", advice),
    ];
    print::pairs(context, &pairs, &value);
    Ok(ExitCode::from(2))
}

/// Returns whom to ask for what.
fn advice(token: &VerifiedToken, call: &Call, refusal: &Deny) -> Result<String, CliError> {
    let from = |hop: usize| match hop.checked_sub(1).and_then(|before| token.prefix(before)) {
        Some(parent) => format!("ask {}, who made hop {hop}", parent.holder()),
        None => "the root agent can ask the broker with sublet issue".to_owned(),
    };
    Ok(match refusal {
        Deny::NotAllowed { hop, .. } => {
            let needed = Capability::of_call(call).map_err(Malformed::from)?;
            format!("{}, for --allow '{needed}'", from(*hop))
        }
        Deny::Expired { hop, .. } => format!("{}, for a new hop with the same scope", from(*hop)),
        Deny::NotYetValid { .. } => "wait, or check the clock of this machine".to_owned(),
        Deny::TooDeep { hop, .. } => format!("{}, for more --hops", from(*hop)),
        Deny::Unrecorded { .. } | Deny::UnrecordedAgentHop { .. } => {
            "record the chain: sublet record".to_owned()
        }
        _ => "see docs/CODES.md".to_owned(),
    })
}
