//! `sublet issue`: authority on someone's behalf.

use std::path::PathBuf;
use std::time::Duration;

use sublet_client::{Consent, Grant};
use sublet_core::base::id::Principal;
use sublet_core::capability::Scope;
use sublet_core::refusal::Malformed;

use crate::actor::{Actor, write_line};
use crate::cli_error::CliError;
use crate::command::delegate::wrote;
use crate::command::session::session_id;
use crate::context::{Context, duration, read_secret};

/// Ask the broker for authority on someone's behalf, within the agent's profile.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The identity's directory
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// On whose behalf: user:alice@DOMAIN, or user:alice
    #[arg(long, value_name = "PRINCIPAL")]
    on_behalf_of: String,
    /// What for, one capability; repeat for more: 'fs.read@tool://files path=under:/data'
    #[arg(long, value_name = "SCOPE", required = true)]
    allow: Vec<String>,
    /// How long
    #[arg(long, default_value = "15m", value_parser = duration)]
    ttl: Duration,
    /// How many hops may follow
    #[arg(long, default_value_t = 3)]
    hops: u32,
    /// How many of them may be without a receipt at a tool
    #[arg(long, default_value_t = 0)]
    offline_hops: u32,
    /// The file of the user's own signed token, of an issuer that the broker takes logins from
    #[arg(long, value_name = "FILE|-", conflicts_with = "session")]
    user_token: Option<PathBuf>,
    /// The session that an operator made for this agent
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    session: Option<String>,
    /// The file to write
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
