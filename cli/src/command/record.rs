//! `sublet record`: hops that were made offline are recorded.

use std::path::PathBuf;

use sublet_client::files;

use crate::actor::{Actor, write_line};
use crate::cli_error::CliError;
use crate::command::delegate::wrote;
use crate::context::Context;

/// Record the offline hops of a token, and refresh its receipt
///
/// The token file is rewritten with the new receipt. Without a receipt, a tool accepts at most as many hops as
/// `sublet issue --offline-hops` allowed, and no hop to another enrolled agent.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the holder's identity or helper key
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// File with the token that is held; it is rewritten with the receipt
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// File for a proof that every hop is in the ledger, for tools that require it
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
