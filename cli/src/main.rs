//! `sublet`: the one binary. One file a command, under `command`.

mod actor;
mod cli_error;
mod command;
mod context;
mod declared;
mod demo;
mod memory;
mod ocsf;
mod pkcs11;
mod print;
mod report;
mod sure;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli_error::CliError;
use crate::command::Command;
use crate::context::Context;

/// Many small pieces from several threads, and memory that a flood took is given back to the system: the
/// figures are in docs/BENCHMARKS.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Delegation and impersonation prevention for fleets of AI agents.
#[derive(clap::Parser)]
#[command(name = "sublet", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    context: Context,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    memory::keep();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { cli_error::USAGE } else { 0 });
        }
    };
    trace();
    match run(cli) {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::from(trouble.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::local(format!("no runtime: {error}")))?;
    let work = command::run(cli.command, &cli.context);
    // As OpenTelemetry hands it to processes.
    match std::env::var("TRACEPARENT") {
        Ok(traceparent) => {
            runtime.block_on(sublet_client::broker::trace::within(&traceparent, work))
        }
        Err(_) => runtime.block_on(work),
    }
}

/// Words about what happens go to stderr; SUBLET_LOG sets how many.
fn trace() {
    // A broker says when a bound is reached. cryptoki takes each mechanism that it does not know for an
    // error.
    let filter = std::env::var("SUBLET_LOG")
        .unwrap_or_else(|_| "error,sublet_broker=warn,cryptoki=off".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(filter);
    // Somebody who closed stderr shall not end a task that has something to say.
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    subscriber.with_writer(std::io::stderr).init();
}
