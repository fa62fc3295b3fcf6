//! The commands, one file each: flags, help, and the calls that they make.

mod agent;
mod audit;
mod authorize;
mod bench;
mod can_i;
mod delegate;
mod fleet;
mod inspect;
mod issue;
mod key;
mod oauth;
mod principal;
pub(crate) mod profile;
mod prove;
mod record;
mod revoke;
mod serve;
mod session;
mod status;
mod trust;
mod verify;
mod whoami;
mod witness;

use std::process::ExitCode;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::demo;

/// The commands of `sublet`. A command without a text here has its help at its `Args`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Demo(demo::Args),
    Serve(serve::Args),
    /// Create, enroll, renew, rotate, suspend and list agents
    #[command(subcommand)]
    Agent(agent::Command),
    /// Publish and list profiles, the upper bound of what agents are issued (admin)
    #[command(subcommand)]
    Profile(profile::Command),
    Apply(fleet::ApplyArgs),
    Diff(fleet::DiffArgs),
    Lint(fleet::LintArgs),
    WhoCan(fleet::WhoArgs),
    /// Make keys for helpers and admins
    #[command(subcommand)]
    Key(key::Command),
    Issue(issue::Args),
    Delegate(delegate::Args),
    Record(record::Args),
    CanI(can_i::Args),
    /// Sign a proof of possession: for one call, or of an identity
    #[command(subcommand)]
    Prove(prove::Command),
    Authorize(authorize::Args),
    /// Verify the identity of a calling agent, without a decision
    #[command(subcommand)]
    Verify(verify::Command),
    Whoami(whoami::Args),
    /// Prepare requests to the broker's OAuth endpoint
    #[command(subcommand)]
    Oauth(oauth::Command),
    Inspect(inspect::Args),
    Revoke(revoke::Args),
    /// Restore principals whose authority was revoked (admin)
    #[command(subcommand)]
    Principal(principal::Command),
    /// Grant, list and end sessions of authority, in which agents act for users
    #[command(subcommand)]
    Session(session::Command),
    /// Replay, verify, copy and export the ledger; retention and legal holds
    #[command(subcommand)]
    Audit(audit::Command),
    /// Show and update the trust bundle, rotate the broker's keys, snapshot revocations
    #[command(subcommand)]
    Trust(trust::Command),
    /// Show the state of the broker: counters, ledger, revocation feed and keys (admin)
    Status,
    Witness(witness::Args),
    Bench(bench::Args),
    /// Process of the demo
    #[command(hide = true, subcommand)]
    DemoActor(demo::actor::Command),
}

/// Runs a command and returns its exit code.
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
        Command::Prove(command) => prove::run(command, context).await.map(done),
        Command::Authorize(args) => authorize::run(args, context).await,
        Command::Verify(command) => verify::run(command, context).await,
        Command::Whoami(args) => whoami::run(&args, context).map(done),
        Command::Oauth(command) => oauth::run(command, context).map(done),
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
