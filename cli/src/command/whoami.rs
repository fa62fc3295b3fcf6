//! `sublet whoami` and `sublet prove`: an agent's own identity, and a proof of it for another.

use std::path::PathBuf;

use serde_json::json;

use crate::actor::{Actor, write_line};
use crate::cli_error::CliError;
use crate::command::call::CallArgs;
use crate::context::Context;
use crate::print;

/// Show whose identity a directory holds; nobody is asked.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The identity's directory
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let identity = Actor::load(&args.as_, context)?.identity()?;
    let (token, about) = (identity.token(), identity.directory().about()?);
    let agent = identity.id().to_string();
    let key = token.holder_key().thumbprint().to_string();
    let until = print::utc(identity.expires());
    let value = json!({
        "agent": agent,
        "key": key,
        "identity": token.id().to_string(),
        "identity_expires": until,
        "broker": about.broker,
    });
    let pairs = [
        ("agent", agent),
        ("key", key),
        ("identity", token.id().to_string()),
        ("identity until", until),
        ("broker", about.broker),
    ];
    print::pairs(context, &pairs, &value);
    Ok(())
}

/// Prove an agent's identity to another agent or a service; it gives no authority.
#[derive(clap::Args)]
pub(crate) struct ProveArgs {
    /// The identity's directory
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    #[command(flatten)]
    call: CallArgs,
    /// The file to write; beside it the other one needs the directory's identity.token
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn prove(args: &ProveArgs, context: &Context) -> Result<(), CliError> {
    args.call.check_audience()?;
    let identity = Actor::load(&args.as_, context)?.identity()?;
    let proof = identity.prove(&args.call.audience, &args.call.action, &args.call.json()?)?;
    write_line(&args.out, &proof.to_text())?;
    let (agent, file) = (identity.id().to_string(), args.out.display().to_string());
    let value = json!({"agent": agent, "audience": args.call.audience, "file": file});
    let pairs = [
        ("agent", agent),
        ("to", args.call.audience.clone()),
        ("good for", "30 seconds, once".to_owned()),
        ("file", file),
    ];
    print::pairs(context, &pairs, &value);
    Ok(())
}
