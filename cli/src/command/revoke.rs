//! `sublet revoke`: ends a hop, a delegation, an agent, a key or a principal before its time.

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
use crate::context::Context;
use crate::names::{agent_id, principal_name};
use crate::print;
use crate::sure::Sure;

/// The kind of thing that is revoked.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Hop and every hop below it
    Hop,
    /// Delegation with all its hops
    Delegation,
    /// Agent: it is suspended until sublet agent resume
    Agent,
    /// Key, permanently, with everything that it holds
    Key,
    /// Everything issued on behalf of a principal, permanently; nothing new until sublet principal restore
    Principal,
}

/// Revoke a hop, a delegation, an agent, a key or a principal
///
/// The broker refuses it at once. Tools refuse it as soon as they receive the revocation feed. With --as,
/// an agent or a helper revokes a hop that it made or holds. Without --as, the admin revokes.
///
/// Exit codes: 0 revoked; 4 revoked, but the broker has no record of it (see --unknown-too); 2 refused.
///
/// Example: sublet revoke hop HOP --as planner --reason "task done"
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Kind of the target
    #[arg(value_enum)]
    kind: Kind,
    /// Id of the hop or delegation, thumbprint of the key, or name of the agent or principal
    #[arg(allow_hyphen_values = true)]
    target: String,
    /// Reason, for the record
    #[arg(long, default_value = "")]
    reason: String,
    /// Directory of the identity or helper key that revokes; without it, the admin revokes
    #[arg(long = "as", value_name = "DIR")]
    as_: Option<PathBuf>,
    /// File with a token that contains the hop, if the hop is not recorded; a helper gives its own token
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Exit with 0 instead of 4 if the broker has no record of the target
    #[arg(long)]
    unknown_too: bool,
    #[command(flatten)]
    sure: Sure,
    /// Print help (-h may be the start of an id)
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
        Target::Key(key) => args.sure.check(&format!("key {key} is revoked permanently"))?,
        Target::Principal(principal) => args.sure.check(&format!(
            "everything issued on behalf of {principal} is revoked permanently; `sublet principal restore` allows \
             new delegations"
        ))?,
        // The delegator can delegate again, and the admin can resume an agent.
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
    print::pairs(
        context,
        &[("revoked", name), ("revocation feed", format!("{epoch}/{sequence}"))],
        &value,
    );
    if recorded {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("note: it is revoked, but {}", unknown(&target));
    Ok(ExitCode::from(if args.unknown_too { 0 } else { NOT_RECORDED }))
}

/// Returns that the broker has no record of the target, and the possible causes.
fn unknown(target: &Target) -> &'static str {
    match target {
        Target::Hop(_) | Target::Delegation(_) => {
            "the broker has no record of this hop: it has expired, was never recorded, or the id is wrong"
        }
        Target::Key(_) => {
            "the broker has no record of this key: no agent and no recorded hop has it"
        }
        Target::Principal(_) => {
            "the broker has no record of this principal: nothing was issued on its behalf"
        }
        Target::Agent(_) => "the broker has no record of this agent",
    }
}
