//! `sublet prove …`: proofs that a holder or an agent signs for one call.

mod call;
mod identity;

use crate::cli_error::CliError;
use crate::context::Context;

/// What to prove.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Call(call::Args),
    Identity(identity::Args),
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Call(args) => call::run(args, context).await,
        Command::Identity(args) => identity::run(&args, context),
    }
}
