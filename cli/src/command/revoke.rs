//! `sublet revoke`: what no longer holds.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use sublet_client::files;
use sublet_core::base::id::HopId;
use sublet_core::base::key::Thumbprint;
use sublet_core::decide::Target;
use sublet_core::refusal::Malformed;
use sublet_core::token::Presentation;

use crate::actor::caller;
use crate::cli_error::{CliError, NOT_RECORDED};
use crate::command::agent::{agent_id, principal_name};
use crate::context::Context;
use crate::print;
use crate::sure::Sure;

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
    /// A user's authority, until `principal restore`; what was issued until then ends for ever
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
    /// What the broker has no record of may be meant: exit 0, and not 4
    #[arg(long)]
    unknown_too: bool,
    #[command(flatten)]
    sure: Sure,
    /// Print help; -h may begin an id
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let text = args.target.as_str();
    let id = || text.parse::<HopId>().map_err(Malformed::from);
    let target = match args.kind {
        Kind::Hop => Target::Hop(id()?),
        Kind::Delegation => Target::Delegation(id()?),
        Kind::Agent => Target::Agent(agent_id(context, text)?),
        Kind::Key => Target::Key(text.parse::<Thumbprint>().map_err(Malformed::from)?),
        Kind::Principal => Target::Principal(principal_name(context, text)?),
    };
    match &target {
        Target::Key(key) => args.sure.check(&format!("key {key} is revoked for ever"))?,
        Target::Principal(principal) => args.sure.check(&format!(
            "what was issued for {principal} ends for ever; `sublet principal restore` lets new be issued"
        ))?,
        // Whoever gave these can give them again.
        Target::Hop(_) | Target::Delegation(_) | Target::Agent(_) => {}
    }
    let chain = match &args.token {
        None => Vec::new(),
        Some(path) => {
            Presentation::from_text(&files::read_text(path)?).map_err(Malformed::from)?.token
        }
    };
    let (broker, who) = caller(context, args.as_.as_ref(), args.token.as_ref()).await?;
    let answer = broker.revoke_target(&who, &target, &args.reason, chain).await?;
    let (epoch, sequence, recorded) = (answer.epoch, answer.sequence, answer.recorded);
    let name = target.to_string();
    let value =
        json!({"revoked": name, "epoch": epoch, "sequence": sequence, "recorded": recorded});
    print::pairs(context, &[("revoked", name), ("feed", format!("{epoch}/{sequence}"))], &value);
    if recorded {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("note: {}", unknown(&target));
    Ok(ExitCode::from(if args.unknown_too { 0 } else { NOT_RECORDED }))
}

/// That the broker has no record of what it has revoked, and what that may come from.
fn unknown(target: &Target) -> &'static str {
    match target {
        Target::Hop(_) | Target::Delegation(_) => {
            "no record of this hop: it is over, or was not recorded here, or the id is another's"
        }
        Target::Key(_) => "no record of this key: no agent and no recorded hop has it",
        Target::Principal(_) => "no record of this principal: nothing was issued for it",
        Target::Agent(_) => "no record of this agent",
    }
}
