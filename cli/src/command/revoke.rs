//! `sublet revoke`: what no longer holds.

use std::path::PathBuf;

use serde_json::json;
use sublet_client::files;
use sublet_core::decide::Target;
use sublet_core::id::{HopId, Principal};
use sublet_core::key::Thumbprint;
use sublet_core::no::Malformed;
use sublet_core::token::Presentation;

use crate::actor::caller;
use crate::command::agent::agent_id;
use crate::context::Context;
use crate::print;
use crate::trouble::Trouble;

/// What kind of thing is revoked.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// A hop, with all below it
    Hop,
    /// A delegation, all of it
    Delegation,
    /// An agent: suspended
    Agent,
    /// A key, for ever
    Key,
    /// A user's authority
    Principal,
}

/// Revoke one thing; in force for minting at once, at tools with the feed.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// What kind
    #[arg(value_enum)]
    kind: Kind,
    /// Its id, thumbprint or name
    #[arg(allow_hyphen_values = true)]
    target: String,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
    /// Who revokes: an identity's or a helper's directory; else the admin
    #[arg(long = "as", value_name = "DIR")]
    as_: Option<PathBuf>,
    /// A token that holds the hop, where the ledger does not know it; a helper's own
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Print help; -h may begin an id
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Trouble> {
    let text = args.target.as_str();
    let id = || text.parse::<HopId>().map_err(Malformed::from);
    let target = match args.kind {
        Kind::Hop => Target::Hop(id()?),
        Kind::Delegation => Target::Delegation(id()?),
        Kind::Agent => Target::Agent(agent_id(context, text)?),
        Kind::Key => Target::Key(text.parse::<Thumbprint>().map_err(Malformed::from)?),
        Kind::Principal => {
            let full = if text.contains('@') {
                text.to_owned()
            } else {
                format!("{text}@{}", context.trust()?.domain())
            };
            Target::Principal(full.parse::<Principal>().map_err(Malformed::from)?)
        }
    };
    let chain = match &args.token {
        None => Vec::new(),
        Some(path) => {
            Presentation::from_text(&files::read_text(path)?).map_err(Malformed::from)?.token
        }
    };
    let (broker, who) = caller(context, args.as_.as_ref(), args.token.as_ref()).await?;
    let (epoch, sequence) = broker.revoke_target(&who, &target, &args.reason, chain).await?;
    let value = json!({"revoked": target.to_string(), "epoch": epoch, "sequence": sequence});
    print::pairs(
        context,
        &[("revoked", target.to_string()), ("feed", format!("{epoch}/{sequence}"))],
        &value,
    );
    Ok(())
}
