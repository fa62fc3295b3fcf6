//! `sublet issue`: a new delegation on behalf of a principal.

use std::path::PathBuf;
use std::time::Duration;

use sublet_client::{Consent, Grant};
use sublet_core::base::id::Principal;
use sublet_core::capability::Scope;
use sublet_core::refusal::Malformed;

use crate::actor::{Actor, write_line};
use crate::cli_error::CliError;
use crate::command::delegate::wrote;
use crate::context::{Context, duration, read_secret};
use crate::names::session_id;

/// Get a delegation from the broker, on behalf of a principal
///
/// Writes a token that this agent holds. The agent's profile limits principal, scope, lifetime and hops.
/// Where it requires consent, add --user-token or --session.
///
/// Example: sublet issue --as planner --on-behalf-of user:alice --allow 'fs.read@tool://files path=under:/data' --out t
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the agent's identity
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// Principal whose authority is used: user:alice@acme.example, or user:alice
    #[arg(long, value_name = "PRINCIPAL")]
    on_behalf_of: String,
    /// Capability to ask for, such as 'fs.read@tool://files path=under:/data'; may be given more than once
    #[arg(long, value_name = "SCOPE", required = true)]
    allow: Vec<String>,
    /// Lifetime of the delegation, such as 5m or 2h
    #[arg(long, default_value = "15m", value_parser = duration)]
    ttl: Duration,
    /// Maximum number of further hops
    #[arg(long, default_value_t = 3)]
    hops: u32,
    /// Maximum number of these hops that may lack a receipt when a tool is called
    #[arg(long, default_value_t = 0)]
    offline_hops: u32,
    /// File with the user's token (a JWT of a configured user_issuer) as consent, or - for stdin
    #[arg(long, value_name = "FILE|-", conflicts_with = "session")]
    user_token: Option<PathBuf>,
    /// Id of a session of authority for this agent as consent (sublet session grant)
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    session: Option<String>,
    /// File for the token
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let identity = Actor::load(&args.as_, context)?.identity()?;
    let scope = Scope::from_texts(&args.allow).map_err(Malformed::from)?;
    let domain = identity.trust().domain();
    let principal = Principal::parse_in(&domain, &args.on_behalf_of).map_err(Malformed::from)?;
    let grant =
        Grant::new(principal, scope, args.ttl).hops(args.hops).offline_hops(args.offline_hops);
    let grant = match (&args.user_token, &args.session) {
        (Some(path), _) => grant.by(Consent::UserToken(read_secret(path)?)),
        (_, Some(id)) => grant.by(Consent::Session(session_id(id)?)),
        _ => grant,
    };
    let held = identity.ask(&grant).await?;
    write_line(&args.out, &held.presentation().to_text())?;
    wrote(context, held.token(), held.receipt(), &args.out)
}
