//! `sublet delegate`: hand a part of a token on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_core::base::key::{BadKey, PublicKey};
use sublet_core::base::text::base64url;
use sublet_core::capability::Scope;
use sublet_core::evidence::receipt::Receipt;
use sublet_core::refusal::Malformed;
use sublet_core::token::mint::Recipient;
use sublet_core::token::verify::VerifiedToken;
use sublet_proto::convert::field;

use crate::actor::{Actor, write_line};
use crate::cli_error::CliError;
use crate::command::agent::{agent_id, seconds};
use crate::context::{Context, duration};
use crate::print;

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
    #[arg(long, value_name = "ID", required_unless_present_any = ["helper", "stock"], conflicts_with = "helper")]
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
    /// How long; unless given 5m, or what the token held has left if that is less
    #[arg(long, value_parser = duration)]
    ttl: Option<Duration>,
    /// How many hops in all, counted from the root; the parent's unless given
    #[arg(long)]
    hops: Option<u32>,
    /// Ask nobody: the hop is recorded later
    #[arg(long)]
    offline: bool,
    /// Where more is asked than is held, take what is held, and say what was cut
    #[arg(long)]
    clamp: bool,
    /// Say what the hop would be, and what it takes away; make nothing
    #[arg(long)]
    dry_run: bool,
    /// For a verifier that knows only Biscuit: a sealed token, which whoever has it can use, for one exact
    /// audience and action and 1 to 60 seconds; 60 unless --ttl says less
    #[arg(long, conflicts_with_all = ["to", "helper", "to_key", "hops", "offline", "clamp", "dry_run"])]
    stock: bool,
    /// The file to write
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
}

/// How long a stock token lives, at most and unless less is said. SPEC 2.12.
const STOCK_TTL: Duration = Duration::from_secs(60);

/// Unless another is said.
const USUAL_TTL: Duration = Duration::from_secs(300);

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let actor = Actor::load(&args.as_, context)?;
    let held = actor.open(&args.token, context, !args.offline && !args.stock).await?;
    let scope = Scope::from_texts(&args.allow).map_err(Malformed::from)?;
    if args.stock {
        return stock(&args, &held, &scope, context);
    }
    let mut terms = match args.ttl {
        Some(ttl) => Attenuation::new(scope, ttl),
        // So that who has five minutes can hand on at once.
        None => Attenuation::new(scope, USUAL_TTL).no_later_than(held.token().expires()),
    };
    if let Some(hops) = args.hops {
        terms = terms.hops_max(hops);
    }
    let to = recipient(&args, &held, context).await?;
    if args.clamp {
        let (clamped, cut) = held.clamp(to.clone(), &terms)?;
        cut.iter().for_each(|cut| eprintln!("cut: {cut}"));
        terms = clamped;
    }
    let Some(out) = args.out.as_deref().filter(|_| !args.dry_run) else {
        return preview(context, &held, to, &terms);
    };
    let presentation = match args.offline {
        true => held.delegate_offline(to, &terms)?,
        false => held.delegate_online(to, &terms).await?,
    };
    write_line(out, &presentation.to_text())?;
    let token = held.token();
    let (child, receipt) = match &actor {
        Actor::Agent(identity) => identity.trust().verify_text(&presentation.to_text())?,
        Actor::Helper(_) => context.trust()?.verify_text(&presentation.to_text())?,
    };
    debug_assert_eq!(child.delegation(), token.delegation());
    wrote(context, &child, receipt.as_deref(), out)
}

/// Writes the stock form, and says once what it is without.
fn stock(args: &Args, held: &Delegation, scope: &Scope, context: &Context) -> Result<(), CliError> {
    let out =
        args.out.as_deref().ok_or_else(|| CliError::usage("--stock is written: --out FILE"))?;
    let now = Ports::system().clock.now().seconds();
    // One that ends sooner is sealed for what it has left.
    let left = u64::try_from(held.token().expires().saturating_sub(now)).unwrap_or(0).max(1);
    let ttl = args.ttl.unwrap_or(STOCK_TTL.min(Duration::from_secs(left)));
    // As Biscuit libraries write it: base64url with padding.
    let mut text = base64url(held.stock(scope, ttl)?);
    text.push_str(["", "", "==", "="].get(text.len() % 4).unwrap_or(&""));
    write_line(out, &text)?;
    let until = print::utc(now.saturating_add(seconds(ttl)));
    let allow: Vec<String> = scope.capabilities().iter().map(ToString::to_string).collect();
    let (allow, file) = (allow.join(" | "), out.display().to_string());
    eprintln!(
        "warning: whoever reads {file} can use it until {until}, as often as they like: a stock library \
         sees no receipt, no possession, no revocation and no replay (docs/SPEC, 2.12.1)"
    );
    let value = json!({"stock": true, "allow": allow, "expires": until, "file": file});
    let pairs = [
        ("stock form", "a bearer token, sealed".to_owned()),
        ("allow", allow),
        ("until", until),
        ("file", file),
    ];
    print::pairs(context, &pairs, &value);
    Ok(())
}

async fn recipient(
    args: &Args,
    held: &Delegation,
    context: &Context,
) -> Result<Recipient, CliError> {
    let key = args.to_key.as_deref().map(read_public).transpose()?;
    match (&args.to, &args.helper, key) {
        (None, Some(label), Some(key)) => Ok(Recipient::Helper { label: label.clone(), key }),
        (Some(id), None, None) if !args.offline => {
            let id = agent_id(context, id)?;
            let key = held.key_of(&id).await?;
            Ok(Recipient::Agent { id, key })
        }
        (Some(id), None, Some(key)) if args.offline => {
            Ok(Recipient::Agent { id: agent_id(context, id)?, key })
        }
        (Some(_), None, None) => {
            Err(CliError::usage("offline, an agent's key has to be given: --to-key FILE"))
        }
        _ => Err(CliError::usage("--to ID, or --helper LABEL with --to-key FILE")),
    }
}

/// What the hop would be, beside what is held.
fn preview(
    context: &Context,
    held: &Delegation,
    to: Recipient,
    terms: &Attenuation,
) -> Result<(), CliError> {
    let takes_away = held.preview(to, terms)?;
    let texts = |scope: &Scope| -> Vec<String> {
        scope.capabilities().iter().map(ToString::to_string).collect()
    };
    let ttl_seconds = terms.ttl_seconds(Ports::system().clock.now());
    let had = held.token().last().block().scope.as_ref().map(texts).unwrap_or_default();
    let has = texts(&terms.scope);
    let value = json!({
        "made": false, "held": had, "allow": has, "takes_away": takes_away,
        "ttl_seconds": ttl_seconds,
    });
    let mut pairs = vec![("dry run", "nothing was made; this would be".to_owned())];
    pairs.extend(had.into_iter().map(|text| ("held", text)));
    pairs.extend(has.into_iter().map(|text| ("allow", text)));
    pairs.push(("for", format!("{ttl_seconds} s")));
    pairs.extend(takes_away.into_iter().map(|text| ("−", text)));
    print::pairs(context, &pairs, &value);
    Ok(())
}

/// A public key in its text form, `ed25519:…`, or of an `agent show`.
fn read_public(path: &Path) -> Result<PublicKey, CliError> {
    let text = files::read_text(path)?;
    let key = text.trim_end().parse::<PublicKey>();
    Ok(key.map_err(|bad: BadKey| field("to-key", format!("{}: {bad}", path.display())))?)
}

/// Says what was written.
pub(crate) fn wrote(
    context: &Context,
    token: &VerifiedToken,
    receipt: Option<&[u8]>,
    out: &Path,
) -> Result<(), CliError> {
    let scope: Vec<String> = token
        .last()
        .block()
        .scope
        .iter()
        .flat_map(|s| s.capabilities())
        .map(ToString::to_string)
        .collect();
    let receipt = receipt.and_then(|receipt| Receipt::decode(receipt).ok());
    let covered = receipt.map_or(0, |receipt| receipt.claims.position);
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
