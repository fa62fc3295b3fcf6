//! `sublet verify …`: authenticity alone, without a decision.

mod identity;

use std::process::ExitCode;

use crate::cli_error::CliError;
use crate::context::Context;

/// What to verify.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Identity(identity::Args),
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, CliError> {
    let Command::Identity(args) = command;
    identity::run(args, context).await
}
