//! `sublet demo`: a fleet in one command. Broker, tool, agents and a helper are separate processes, each with
//! its own key; the tool serves real files.
//!
//! Owns: starting and stopping the processes, and the count of outcomes. Does not own: the steps (`story`), the
//! acts of an agent (`actor`), the tool (`tool`).

pub(crate) mod actor;
pub(crate) mod fleet;
mod story;
mod teller;
mod tool;

use std::path::PathBuf;
use std::process::ExitCode;

use self::teller::Teller;
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Demonstrate a fleet: broker, tool and six agents as processes, and attacks that fail
///
/// Each step prints the expected and the actual outcome.
///
/// Exit codes: 0 if every outcome is the expected one, else 1.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep all files in this directory instead of a temporary one; it must be empty or new
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Factor for all time limits, 1 to 10
    #[arg(long, hide = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    patience: u32,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let temporary = tempfile::tempdir()
        .map_err(|error| CliError::local(format!("cannot make a temporary directory: {error}")))?;
    let home = match &args.keep {
        Some(directory) => {
            let fresh =
                std::fs::create_dir_all(directory).and_then(|()| std::fs::read_dir(directory));
            let mut entries = fresh
                .map_err(|error| CliError::local(format!("{}: {error}", directory.display())))?;
            if entries.next().is_some() {
                return Err(CliError::usage(format!(
                    "{} is not empty: --keep needs an empty or a new directory",
                    directory.display()
                )));
            }
            directory.clone()
        }
        None => temporary.path().to_owned(),
    };
    let mut teller = Teller { aloud: !context.json(), outcomes: Vec::new() };
    let told = story::tell(&mut teller, &home, args.patience).await;
    if context.json() {
        print::json(&teller.value());
    }
    told?;
    let unexpected =
        teller.outcomes.iter().filter(|outcome| outcome.actual != outcome.expected).count();
    if teller.aloud {
        crate::print::line!("\n{} outcomes, {unexpected} unexpected.", teller.outcomes.len());
        if let Some(directory) = &args.keep {
            crate::print::line!(
                "Kept in {}: evidence.sublet and trust.json (sublet audit verify evidence.sublet --trust trust.json), broker/, agents/, files/.",
                directory.display()
            );
        }
    }
    Ok(if teller.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
