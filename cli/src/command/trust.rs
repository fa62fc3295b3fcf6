//! `sublet trust …`: the trust bundle and the revocation feed, for tools that go offline.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sublet_client::broker::credential::Caller;
use sublet_client::files;
use sublet_client::tool::follow;
use sublet_core::base::text::base64url;
use sublet_core::revocation::feed::FeedPosition;
use sublet_proto::v1;
use sublet_proto::v1::rotate_broker_key_request::Step;

use crate::actor::watcher;
use crate::cli_error::CliError;
use crate::context::{Context, duration};
use crate::print;
use crate::sure::Sure;

/// Trust.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show the trust bundle
    Show,
    /// Fetch the broker's trust bundle, if the one held vouches for it, and keep it
    Update,
    /// Make a key of the broker and publish it, to sign later (admin)
    Prepare {
        /// delegation, identity, receipt, ledger, feed or bundle
        #[arg(value_name = "USE")]
        use_: String,
        /// How long it is published before it may sign; else what the broker is set up with
        #[arg(long, value_parser = duration)]
        lead: Option<Duration>,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Have a prepared key sign from now on; the one before it retires (admin)
    Activate {
        /// Its number
        key: u32,
        /// Also before the announced time: verifiers that have not heard of it refuse until they do
        #[arg(long)]
        now: bool,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Have a key sign no more; what it signed holds to its end (admin)
    Retire {
        /// Its number
        key: u32,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Nothing that a key signed holds any more; the next takes over at once (admin)
    Taint {
        /// Its number
        key: u32,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Keep a verified snapshot of the revocation feed, for `verify --revocations`
    Snapshot {
        /// Who asks: an identity's directory; else the admin
        #[arg(long = "as", value_name = "DIR")]
        as_: Option<PathBuf>,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Show => show(context),
        Command::Update => update(context).await,
        Command::Prepare { use_, lead, reason } => {
            let lead_seconds = lead.map(|lead| i64::try_from(lead.as_secs()).unwrap_or(i64::MAX));
            let prepare = v1::PrepareKey { r#use: use_, lead_seconds };
            change(context, Step::Prepare(prepare), reason).await
        }
        Command::Activate { key, now, reason } => {
            let activate = v1::ActivateKey { key, at_once: now };
            change(context, Step::Activate(activate), reason).await
        }
        Command::Retire { key, reason } => change(context, Step::Retire(key), reason).await,
        Command::Taint { key, reason, sure } => {
            sure.check(&format!("nothing that key {key} of the broker signed holds any more"))?;
            change(context, Step::Taint(key), reason).await
        }
        Command::Snapshot { as_, out } => {
            let trust = context.trust()?;
            let broker = context.broker().await?;
            let who = watcher(context, as_.as_ref())?;
            let who = who.as_ref().map(|who| who as &dyn Caller);
            let (view, text) = follow::snapshot(&broker, who, &trust).await?;
            files::replace(&out, text.as_bytes())?;
            let FeedPosition { epoch, sequence } = view.position();
            let value =
                json!({"epoch": epoch, "sequence": sequence, "file": out.display().to_string()});
            let pairs =
                [("feed", format!("{epoch}/{sequence}")), ("file", out.display().to_string())];
            print::pairs(context, &pairs, &value);
            Ok(())
        }
    }
}

async fn change(context: &Context, step: Step, reason: String) -> Result<(), CliError> {
    let request = v1::RotateBrokerKeyRequest { step: Some(step), reason, ..Default::default() };
    let answer = context.broker().await?.rotate_broker_key(&context.admin()?, request).await?;
    let (rows, value) = key_rows(&answer.keys);
    print::rows(context, &KEY_HEADS, &rows, &value);
    Ok(())
}

async fn update(context: &Context) -> Result<(), CliError> {
    let (trust, path) = (context.trust()?, context.trust_path()?);
    if let Some(text) = trust.refresh(&context.broker().await?).await? {
        files::replace(path, &text)?;
    }
    show(context)
}

/// The heads of the rows of [`key_rows`].
pub(super) const KEY_HEADS: [&str; 5] = ["ID", "USE", "STATE", "FROM", "UNTIL"];

/// The broker's keys as a table and as a value.
pub(super) fn key_rows(keys: &[v1::BrokerKeyRow]) -> (Vec<Vec<String>>, Value) {
    let row = |key: &v1::BrokerKeyRow| {
        let (from, until) = (print::utc_ms(key.not_before_ms), print::utc_ms(key.not_after_ms));
        vec![key.id.to_string(), key.r#use.clone(), key.state.clone(), from, until]
    };
    let value = |key: &v1::BrokerKeyRow| {
        json!({
            "id": key.id,
            "use": key.r#use,
            "state": key.state,
            "not_before": print::utc_ms(key.not_before_ms),
            "not_after": print::utc_ms(key.not_after_ms),
            "thumbprint": base64url(&key.thumbprint),
        })
    };
    (keys.iter().map(row).collect(), json!(keys.iter().map(value).collect::<Vec<_>>()))
}

fn show(context: &Context) -> Result<(), CliError> {
    let bundle = context.trust()?.current();
    let known = bundle.keys().iter().map(|key| {
        let (until, public) = (print::utc_ms(key.not_after.0), key.public.to_string());
        vec![key.id.to_string(), word(&key.use_), word(&key.state), until, public]
    });
    let skipped = bundle.skipped().iter().map(|key| {
        let until = print::utc_ms(key.not_after.0);
        // Texts of a later version, which may hold anything.
        let use_ = format!("{} (not understood)", key.use_.escape_debug());
        let public = key.public.escape_debug().to_string();
        vec![key.id.to_string(), use_, word(&key.state), until, public]
    });
    let rows: Vec<_> = known.chain(skipped).collect();
    if !context.json() {
        crate::print::line!(
            "trust domain {}, version {}, until {}\n",
            bundle.trust_domain(),
            bundle.version(),
            print::utc_ms(bundle.expires().0)
        );
    }
    let keys: Vec<_> = bundle
        .keys()
        .iter()
        .map(|key| json!({"id": key.id.0, "use": key.use_, "state": key.state, "alg": key.alg, "public": key.public.to_string(), "not_after": print::utc_ms(key.not_after.0)}))
        .collect();
    let skipped: Vec<_> = bundle
        .skipped()
        .iter()
        .map(|key| json!({"id": key.id.0, "use": key.use_, "state": key.state, "alg": key.alg, "public": key.public, "not_after": print::utc_ms(key.not_after.0)}))
        .collect();
    let value = json!({"trust_domain": bundle.trust_domain().to_string(), "version": bundle.version(), "keys": keys, "not_understood": skipped});
    print::rows(context, &["ID", "USE", "STATE", "UNTIL", "KEY"], &rows, &value);
    Ok(())
}

/// An enum's word, as the file writes it.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
