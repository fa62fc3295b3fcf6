//! `sublet delegate`: hand a part of a token on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use sublet_client::files;
use sublet_client::holder::Terms;
use sublet_core::capability::Scope;
use sublet_core::key::{BadKey, PublicKey};
use sublet_core::mint::Delegate;
use sublet_core::no::Malformed;
use sublet_core::verify::VerifiedToken;
use sublet_proto::convert::field;

use crate::actor::{Actor, write_line};
use crate::command::agent::agent_id;
use crate::context::{Context, duration};
use crate::print;
use crate::trouble::Trouble;

/// Hand a part of a token on, to an enrolled agent or to a helper of one's own.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who delegates: an identity's or a helper's directory
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// The token held
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// To an enrolled agent
    #[arg(long, value_name = "ID", required_unless_present = "helper", conflicts_with = "helper")]
    to: Option<String>,
    /// To a helper under this label
    #[arg(long, value_name = "LABEL", requires = "to_key")]
    helper: Option<String>,
    /// The helper's public key, or the agent's for --offline
    #[arg(long, value_name = "FILE")]
    to_key: Option<PathBuf>,
    /// What for, all of it; repeat for more
    #[arg(long, value_name = "SCOPE", required = true)]
    allow: Vec<String>,
    /// How long
    #[arg(long, default_value = "5m", value_parser = duration)]
    ttl: Duration,
    /// How many hops in all, counted from the root; the parent's unless given
    #[arg(long)]
    hops: Option<u32>,
    /// Ask nobody: the hop is recorded later
    #[arg(long)]
    offline: bool,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Trouble> {
    let actor = Actor::load(&args.as_)?;
    let held = actor.open(&args.token, context, !args.offline).await?;
    let scope = Scope::from_texts(&args.allow).map_err(Malformed::from)?;
    let mut terms = Terms::new(scope, args.ttl);
    if let Some(hops) = args.hops {
        terms = terms.hops_max(hops);
    }
    let key = args.to_key.as_deref().map(read_public).transpose()?;
    let presentation = match (args.to, args.helper, key) {
        (None, Some(label), Some(key)) => {
            let to = Delegate::Helper { label, key };
            if args.offline {
                held.delegate_offline(to, &terms)?
            } else {
                held.delegate_online(to, &terms).await?
            }
        }
        (Some(id), None, None) if !args.offline => {
            held.delegate_to_agent(&agent_id(context, &id)?, &terms).await?
        }
        (Some(id), None, Some(key)) if args.offline => {
            held.delegate_offline(Delegate::Agent { id: agent_id(context, &id)?, key }, &terms)?
        }
        (Some(_), None, None) => {
            return Err(Trouble::usage("offline, an agent's key has to be given: --to-key FILE"));
        }
        _ => return Err(Trouble::usage("--to ID, or --helper LABEL with --to-key FILE")),
    };
    write_line(&args.out, &presentation.to_text())?;
    let token = held.token();
    let (child, receipt) = match &actor {
        Actor::Agent(identity) => identity.trust().verify_text(&presentation.to_text())?,
        Actor::Helper(_) => context.trust()?.verify_text(&presentation.to_text())?,
    };
    debug_assert_eq!(child.delegation(), token.delegation());
    wrote(context, &child, &receipt, &args.out)
}

/// A public key in its text form, `ed25519:…`, or of an `agent show`.
fn read_public(path: &Path) -> Result<PublicKey, Trouble> {
    let text = files::read_text(path)?;
    let key = text.trim_end().parse::<PublicKey>();
    Ok(key.map_err(|bad: BadKey| field("to-key", format!("{}: {bad}", path.display())))?)
}

/// Says what was written.
pub(crate) fn wrote(
    context: &Context,
    token: &VerifiedToken,
    receipt: &[u8],
    out: &Path,
) -> Result<(), Trouble> {
    let scope: Vec<String> = token
        .last()
        .block()
        .scope
        .iter()
        .flat_map(|s| s.capabilities())
        .map(ToString::to_string)
        .collect();
    let covered =
        sublet_core::receipt::Receipt::decode(receipt).map_or(0, |receipt| receipt.claims.position);
    let unrecorded = token.depth().saturating_sub(covered);
    let principal = token.principal().map(ToString::to_string).unwrap_or_default();
    let value = json!({
        "delegation": token.delegation().to_string(),
        "hop": token.id().to_string(),
        "position": token.depth(),
        "holder": token.holder().to_string(),
        "on_behalf_of": principal,
        "allow": scope,
        "expires": print::utc(token.expires()),
        "unrecorded": unrecorded,
        "file": out.display().to_string(),
    });
    let mut pairs = vec![
        ("delegation", token.delegation().to_string()),
        ("hop", format!("{} ({} of the chain)", token.id(), token.depth())),
        ("holder", token.holder().to_string()),
        ("on behalf of", principal),
        ("until", print::utc(token.expires())),
        ("unrecorded", unrecorded.to_string()),
    ];
    pairs.extend(scope.into_iter().map(|text| ("allow", text)));
    pairs.push(("file", out.display().to_string()));
    print::pairs(context, &pairs, &value);
    Ok(())
}
