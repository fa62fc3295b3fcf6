//! The commands, one file each.

mod against;
pub(crate) mod agent;
mod audit;
mod bench;
mod call;
mod can_i;
mod delegate;
pub(crate) mod evidence;
mod exchange;
pub(crate) mod fleet;
mod inspect;
mod issue;
mod keep;
mod key;
mod principal;
pub(crate) mod profile;
mod record;
mod replay;
mod retention;
mod revoke;
mod serve;
pub(crate) mod session;
mod status;
mod trust;
mod verify;
mod whoami;
mod witness;

use std::process::ExitCode;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::demo;

pub(crate) use replay::lines as audit_lines;

/// What `sublet` can do.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Watch a real fleet: broker, agents and a tool as processes, attacks that fail
    Demo(demo::Args),
    /// Run the broker
    Serve(serve::Args),
    /// Agents: create, enroll, renew, suspend …
    #[command(subcommand)]
    Agent(agent::Command),
    /// Profiles: the ceiling of what may be issued
    #[command(subcommand)]
    Profile(profile::Command),
    /// Make the broker have the agents and profiles that a file declares (admin)
    Apply(fleet::ApplyArgs),
    /// Say what apply would do (admin)
    Diff(fleet::FileArgs),
    /// Say what of such a file is wider than it has to be; asks nobody
    Lint(fleet::FileArgs),
    /// Say which agents may ask for an action at a tool (admin)
    WhoCan(fleet::WhoArgs),
    /// Keys for helpers
    #[command(subcommand)]
    Key(key::Command),
    /// Get authority on someone's behalf
    Issue(issue::Args),
    /// Hand a part of it on
    Delegate(delegate::Args),
    /// Have a chain recorded, or its receipt refreshed
    Record(record::Args),
    /// Say whether a token is good for a call, before it is made
    CanI(can_i::Args),
    /// Prove one call
    Call(call::Args),
    /// Decide one call, offline
    Verify(verify::Args),
    /// Show whose identity a directory holds
    Whoami(whoami::Args),
    /// Prove an agent's identity to another; verify --peer takes it
    Prove(whoami::ProveArgs),
    /// Make the token exchange of OAuth (RFC 8693) for the broker's /token
    Exchange(exchange::Args),
    /// Show a token: who, for whom, until when, what each hop took away
    Inspect(inspect::Args),
    /// Revoke a hop, a delegation, an agent, a key, a principal
    Revoke(revoke::Args),
    /// Principals whose authority was revoked
    #[command(subcommand)]
    Principal(principal::Command),
    /// By whose word agents act for users: grant, list, end
    #[command(subcommand)]
    Session(session::Command),
    /// Replay what happened
    #[command(subcommand)]
    Audit(audit::Command),
    /// The trust bundle and the revocation feed
    #[command(subcommand)]
    Trust(trust::Command),
    /// How the broker is
    Status,
    /// Cosign heads of ledgers, so that no one can show two
    Witness(witness::Args),
    /// Measure durable delegations a second
    Bench(bench::Args),
    /// A process of the demo
    #[command(hide = true, subcommand)]
    DemoActor(demo::actor::Command),
}

/// Runs one.
pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, CliError> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Demo(args) => demo::run(args, context).await,
        Command::Serve(args) => serve::run(args, context).await.map(done),
        Command::Agent(command) => agent::run(command, context).await.map(done),
        Command::Profile(command) => profile::run(command, context).await.map(done),
        Command::Apply(args) => fleet::apply(args, context).await,
        Command::Diff(args) => fleet::diff(args, context).await,
        Command::Lint(args) => fleet::lint(&args, context),
        Command::WhoCan(args) => fleet::who_can(args, context).await.map(done),
        Command::Key(command) => key::run(command, context).map(done),
        Command::Issue(args) => issue::run(args, context).await.map(done),
        Command::Delegate(args) => delegate::run(args, context).await.map(done),
        Command::Record(args) => record::run(args, context).await.map(done),
        Command::CanI(args) => can_i::run(args, context),
        Command::Call(args) => call::run(args, context).await.map(done),
        Command::Verify(args) => verify::run(args, context).await,
        Command::Whoami(args) => whoami::run(&args, context).map(done),
        Command::Prove(args) => whoami::prove(&args, context).map(done),
        Command::Exchange(args) => exchange::run(&args, context).map(done),
        Command::Inspect(args) => inspect::run(args, context).map(done),
        Command::Revoke(args) => revoke::run(args, context).await,
        Command::Principal(command) => principal::run(command, context).await.map(done),
        Command::Session(command) => session::run(command, context).await.map(done),
        Command::Audit(command) => audit::run(command, context).await,
        Command::Trust(command) => trust::run(command, context).await.map(done),
        Command::Status => status::run(context).await.map(done),
        Command::Witness(args) => witness::run(args, context).await.map(done),
        Command::Bench(args) => bench::run(args, context).await.map(done),
        Command::DemoActor(command) => demo::actor::run(command).await.map(done),
    }
}
