//! `sublet delegate`: a narrowed part of a token for another agent or a helper.

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
use crate::context::{Context, duration, seconds};
use crate::names::agent_id;
use crate::print;

/// Delegate a narrowed part of a token to another agent, or to a helper
///
/// The new hop states its whole scope with --allow; it can only narrow what is held (attenuation). Online, the
/// broker records the hop and gives a receipt. With --offline the broker is not asked; the hop can be recorded
/// later with `sublet record`.
///
/// With --stock, the result is a sealed token for verifiers that know only Biscuit. It is a bearer token:
/// whoever has it can use it.
///
/// Example: sublet delegate --as planner --token t --to agent/reader --allow 'fs.read@tool://files path=under:/data/q3' --out r
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the delegator's identity or helper key
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// File with the token that is held
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// Enrolled agent to delegate to: full SPIFFE id, or a path such as agent/reader
    #[arg(long, value_name = "ID", required_unless_present_any = ["helper", "stock"], conflicts_with = "helper")]
    to: Option<String>,
    /// Label of the helper to delegate to; needs --to-key
    #[arg(long, value_name = "LABEL", requires = "to_key")]
    helper: Option<String>,
    /// File with the public key of the helper, or of the agent with --offline
    #[arg(long, value_name = "FILE")]
    to_key: Option<PathBuf>,
    /// Capability of the new hop; together they are its whole scope; may be given more than once
    #[arg(long, value_name = "SCOPE", required = true)]
    allow: Vec<String>,
    /// Lifetime of the hop, such as 30s or 5m [default: 5m, or the rest of the parent's lifetime]
    #[arg(long, value_parser = duration)]
    ttl: Option<Duration>,
    /// Maximum hops of the whole chain, counted from the root [default: the parent's]
    #[arg(long)]
    hops: Option<u32>,
    /// Make the hop without the broker; record it later with sublet record
    #[arg(long)]
    offline: bool,
    /// If more is asked than is held, delegate what is held, and print what was cut
    #[arg(long)]
    clamp: bool,
    /// Print what the hop would hold and what it would narrow; make nothing
    #[arg(long)]
    dry_run: bool,
    /// Make a sealed bearer token for verifiers that know only Biscuit: one exact audience and action, --ttl of
    /// 1 to 60 seconds [default: 60s]
    #[arg(long, conflicts_with_all = ["to", "helper", "to_key", "hops", "offline", "clamp", "dry_run"])]
    stock: bool,
    /// File for the token
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
}

/// The lifetime of a stock token: the maximum and the default. SPEC 2.12.
const STOCK_TTL: Duration = Duration::from_secs(60);

/// The default lifetime of a hop.
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
        // A parent with less time left than the default can still delegate.
        None => Attenuation::new(scope, USUAL_TTL).no_later_than(held.token().expires()),
    };
    if let Some(hops) = args.hops {
        terms = terms.hops_max(hops);
    }
    let to = recipient(&args, &held, context).await?;
    if args.clamp {
        let (clamped, cut) = held.clamp(to.clone(), &terms)?;
        cut.iter().for_each(|cut| eprintln!("note: cut to what is held: {cut}"));
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

/// Writes the stock form and warns that it is a bearer token.
fn stock(args: &Args, held: &Delegation, scope: &Scope, context: &Context) -> Result<(), CliError> {
    let out = args
        .out
        .as_deref()
        .ok_or_else(|| CliError::usage("--stock needs a file for the token: --out FILE"))?;
    let now = Ports::system().clock.now().seconds();
    // A parent that ends sooner is sealed for its remaining lifetime.
    let left = u64::try_from(held.token().expires().saturating_sub(now)).unwrap_or(0).max(1);
    let ttl = args.ttl.unwrap_or(STOCK_TTL.min(Duration::from_secs(left)));
    // Biscuit libraries write base64url with padding.
    let mut text = base64url(held.stock(scope, ttl)?);
    text.push_str(["", "", "==", "="].get(text.len() % 4).unwrap_or(&""));
    write_line(out, &text)?;
    let until = print::utc(now.saturating_add(seconds(ttl)));
    let allow: Vec<String> = scope.capabilities().iter().map(ToString::to_string).collect();
    let (allow, file) = (allow.join(" | "), out.display().to_string());
    eprintln!(
        "warning: {file} is a bearer token: whoever reads it can use it any number of times until {until}. A \
         stock Biscuit library checks no possession, no receipt, no revocation and no replay (docs/SPEC, \
         2.12.1)"
    );
    let value = json!({"stock": true, "allow": allow, "expires": until, "file": file});
    let pairs = [
        ("stock form", "sealed bearer token".to_owned()),
        ("allow", allow),
        ("valid until", until),
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
            Err(CliError::usage("--offline needs the public key of the agent: --to-key FILE"))
        }
        _ => Err(CliError::usage(
            "the recipient is missing: --to ID, or --helper LABEL with --to-key FILE",
        )),
    }
}

/// Prints what the hop would hold, beside what is held.
fn preview(
    context: &Context,
    held: &Delegation,
    to: Recipient,
    terms: &Attenuation,
) -> Result<(), CliError> {
    let narrowing = held.preview(to, terms)?;
    let texts = |scope: &Scope| -> Vec<String> {
        scope.capabilities().iter().map(ToString::to_string).collect()
    };
    let ttl_seconds = terms.ttl_seconds(Ports::system().clock.now());
    let had = held.token().last().block().scope.as_ref().map(texts).unwrap_or_default();
    let has = texts(&terms.scope);
    let value = json!({
        "made": false, "held": had, "allow": has, "takes_away": narrowing,
        "ttl_seconds": ttl_seconds,
    });
    let mut pairs = vec![("dry run", "nothing was made; this would be the hop".to_owned())];
    pairs.extend(had.into_iter().map(|text| ("held", text)));
    pairs.extend(has.into_iter().map(|text| ("allow", text)));
    pairs.push(("lifetime", format!("{ttl_seconds} s")));
    pairs.extend(narrowing.iter().map(|line| match line.split_once(": ") {
        Some((kind, change)) => (kind, change.to_owned()),
        None => ("narrowed", line.clone()),
    }));
    print::pairs(context, &pairs, &value);
    Ok(())
}

/// Reads a public key in its text form, `ed25519:…`.
fn read_public(path: &Path) -> Result<PublicKey, CliError> {
    let text = files::read_text(path)?;
    let key = text.trim_end().parse::<PublicKey>();
    Ok(key.map_err(|bad: BadKey| field("to-key", format!("{}: {bad}", path.display())))?)
}

/// Prints the last hop of a token that was written.
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
        ("hop", format!("{} (position {} in the chain)", token.id(), token.depth())),
        ("holder", token.holder().to_string()),
        ("on behalf of", principal),
        ("valid until", print::utc(token.expires())),
        ("hops without receipt", unrecorded.to_string()),
    ];
    pairs.extend(scope.into_iter().map(|text| ("allow", text)));
    pairs.push(("file", out.display().to_string()));
    print::pairs(context, &pairs, &value);
    Ok(())
}
