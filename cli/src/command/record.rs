//! `sublet record`: have a chain recorded.

use std::path::PathBuf;

use sublet_client::files;

use crate::actor::{Actor, write_line};
use crate::cli_error::CliError;
use crate::command::delegate::wrote;
use crate::context::Context;

/// Have what is not recorded of a chain recorded, and keep the receipt with the token.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The holder's directory
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// The token held; rewritten with its receipt
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// Keep the proof that every hop is in the ledger, for tools that demand it
    #[arg(long, value_name = "FILE")]
    inclusion: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let mut held = Actor::load(&args.as_, context)?.open(&args.token, context, true).await?;
    held.record().await?;
    if let Some(path) = &args.inclusion {
        held.get_inclusion_proof().await?;
        files::replace(path, held.inclusion().unwrap_or_default())?;
    }
    write_line(&args.token, &held.presentation().to_text())?;
    wrote(context, held.token(), held.receipt(), &args.token)
}
