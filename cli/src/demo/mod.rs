//! `sublet demo`: a real fleet in one command. Broker, tool, agents and a helper are processes of
//! their own, each agent with a key of its own; the files behind the tool are real.
//!
//! Owns: starting and stopping the processes, and the count of outcomes. The story itself is in
//! `story`; what an agent does in `actor`; the tool in `tool`.

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

/// Watch a fleet: authority that narrows at each hop, attacks that fail, a revocation that bites.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep everything in this directory instead of a temporary one
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// How many times as long everything may take
    #[arg(long, hide = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    patience: u32,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let temporary = tempfile::tempdir()
        .map_err(|error| CliError::local(format!("no temporary directory: {error}")))?;
    let home = match &args.keep {
        Some(directory) => {
            let fresh =
                std::fs::create_dir_all(directory).and_then(|()| std::fs::read_dir(directory));
            let mut entries = fresh
                .map_err(|error| CliError::local(format!("{}: {error}", directory.display())))?;
            if entries.next().is_some() {
                return Err(CliError::usage(format!("{} is not empty", directory.display())));
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
