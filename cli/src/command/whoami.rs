//! `sublet whoami`: an agent's own identity.

use std::path::PathBuf;

use serde_json::json;

use crate::actor::Actor;
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Show the identity in a directory: agent, key, expiry, broker
///
/// The broker is not asked.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the identity
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let identity = Actor::load(&args.as_, context)?.identity()?;
    let (token, about) = (identity.token(), identity.directory().about()?);
    let agent = identity.id().to_string();
    let key = token.holder_key().thumbprint().to_string();
    let until = print::utc(identity.expires());
    let value = json!({
        "agent": agent,
        "key": key,
        "identity": token.id().to_string(),
        "identity_expires": until,
        "broker": about.broker,
    });
    let pairs = [
        ("agent", agent),
        ("key", key),
        ("identity token", token.id().to_string()),
        ("valid until", until),
        ("broker", about.broker),
    ];
    print::pairs(context, &pairs, &value);
    Ok(())
}
