//! `sublet prove call`: a call proof for one call to a tool.

use std::path::PathBuf;

use serde_json::json;

use crate::actor::{Actor, write_line};
use crate::call_args::CallArgs;
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Sign a call proof, as the holder of a token, for one call to a tool
///
/// The proof covers the token's last hop, the audience, the action and the arguments. It is valid once, for 30
/// seconds. A tool decides from the token and the proof together.
///
/// Example: sublet prove call --as reader --token t --audience tool://files --action fs.read --arg path=/data/a --out p
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the holder's identity or helper key
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// File with the token that is held
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    #[command(flatten)]
    call: CallArgs,
    /// File for the proof
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    args.call.check_audience()?;
    let held = Actor::load(&args.as_, context)?.open(&args.token, context, false).await?;
    let json = args.call.json()?;
    let proof = held.prove(&args.call.audience, &args.call.action, &json)?;
    write_line(&args.out, &proof.to_text())?;
    let file = args.out.display().to_string();
    let value = json!({"hop": held.id().to_string(), "arguments": json, "file": file});
    let pairs = [
        ("holder", held.holder().to_string()),
        ("call", format!("{} at {}", args.call.action, args.call.audience)),
        ("arguments", json),
        ("valid", "once, for 30 seconds".to_owned()),
        ("file", file),
    ];
    print::pairs(context, &pairs, &value);
    Ok(())
}
