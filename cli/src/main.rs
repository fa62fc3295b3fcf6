//! The `sublet` binary: broker, command line and demo. Each command has a file under `command`.

mod actor;
mod audit;
mod call_args;
mod cli_error;
mod command;
mod context;
mod declared;
mod demo;
mod identity_print;
mod join_token;
mod memory;
mod names;
mod pkcs11;
mod print;
mod signals;
mod sure;
mod verdict;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli_error::CliError;
use crate::command::Command;
use crate::context::Context;

/// mimalloc serves many small allocations of several threads, and returns memory to the system after a burst:
/// docs/BENCHMARKS has the figures.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Delegation broker for fleets of AI agents
///
/// Exit codes: 0 done or allowed; 1 failed, nothing was decided; 2 refused; 3 malformed; 4 revoked, but the
/// broker has no record of it; 64 wrong usage. `sublet audit verify` has codes of its own.
///
/// Commands that are marked (admin) need the admin key: SUBLET_ADMIN_KEY or --admin-key.
#[derive(clap::Parser)]
#[command(name = "sublet", version, max_term_width = 100)]
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
    let runtime = runtime
        .map_err(|error| CliError::local(format!("the async runtime did not start: {error}")))?;
    let work = command::run(cli.command, &cli.context);
    // The environment variable that OpenTelemetry defines for a parent trace.
    match std::env::var("TRACEPARENT") {
        Ok(traceparent) => {
            runtime.block_on(sublet_client::broker::trace::within(&traceparent, work))
        }
        Err(_) => runtime.block_on(work),
    }
}

/// Logs to stderr, filtered by `SUBLET_LOG` (the syntax of tracing-subscriber's `EnvFilter`).
fn trace() {
    // The broker warns when a bound is reached. cryptoki logs an error for each mechanism that it does not
    // know.
    let filter = std::env::var("SUBLET_LOG")
        .unwrap_or_else(|_| "error,sublet_broker=warn,cryptoki=off".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(filter);
    // A closed stderr must not end a task that logs.
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    subscriber.with_writer(std::io::stderr).init();
}
