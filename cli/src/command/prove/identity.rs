//! `sublet prove identity`: a proof of an agent's identity for another agent or a service.

use std::path::PathBuf;

use serde_json::json;

use crate::actor::{Actor, write_line};
use crate::call_args::CallArgs;
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Sign a proof of this agent's identity for another agent or a service
///
/// The proof gives no authority. The other side verifies the proof together with identity.token of the agent's
/// directory: sublet verify identity. The proof is valid once, for 30 seconds.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the identity
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    #[command(flatten)]
    call: CallArgs,
    /// File for the proof
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    args.call.check_audience()?;
    let identity = Actor::load(&args.as_, context)?.identity()?;
    let proof = identity.prove(&args.call.audience, &args.call.action, &args.call.json()?)?;
    write_line(&args.out, &proof.to_text())?;
    let (agent, file) = (identity.id().to_string(), args.out.display().to_string());
    let value = json!({"agent": agent, "audience": args.call.audience, "file": file});
    let pairs = [
        ("agent", agent),
        ("audience", args.call.audience.clone()),
        ("valid", "once, for 30 seconds".to_owned()),
        ("file", file),
    ];
    print::pairs(context, &pairs, &value);
    Ok(())
}
