//! `sublet trust …`: the trust bundle, the broker's keys, and snapshots of the revocation feed.

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
    /// Show the trust bundle: the broker's public keys, each with use, state and validity
    ///
    /// Reads the file of SUBLET_TRUST or --trust; the broker is not asked.
    Show,
    /// Replace the trust bundle with the broker's newer one
    ///
    /// The file is replaced only if a key of the present bundle signed the new one.
    Update,
    /// Make a new key of the broker and publish it, so that it can sign later (admin)
    ///
    /// Verifiers learn the key before it signs. Activate it with `sublet trust activate` after the lead time.
    ///
    /// Example: sublet trust prepare delegation --lead 2d
    Prepare {
        /// Use of the key: delegation, identity, receipt, ledger, feed or bundle
        #[arg(value_name = "USE")]
        use_: String,
        /// Time between publication and first signature, such as 12h or 2d [default: the broker's
        /// configuration]
        #[arg(long, value_parser = duration)]
        lead: Option<Duration>,
        /// Reason, for the record
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Sign with a prepared key from now on; the active key of the same use retires (admin)
    Activate {
        /// Number of the key, as sublet trust show prints it
        key: u32,
        /// Activate before the announced time: verifiers without the new bundle refuse until they fetch it
        #[arg(long)]
        now: bool,
        /// Reason, for the record
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Stop signing with a key; what it signed stays valid until it expires (admin)
    Retire {
        /// Number of the key, as sublet trust show prints it
        key: u32,
        /// Reason, for the record
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Declare a key compromised: nothing that it signed is accepted any more (admin)
    ///
    /// The next key of the same use becomes active in the same step. The bundle lists the tainted key for ever.
    /// Agents with an identity under the key renew it; delegations under the key must be issued again.
    Taint {
        /// Number of the key, as sublet trust show prints it
        key: u32,
        /// Reason, for the record
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Write a verified snapshot of the revocation feed to a file, for offline use
    ///
    /// Use it with --revocations of `sublet authorize` and `sublet verify identity`. They refuse a snapshot
    /// that is older than --max-staleness.
    Snapshot {
        /// Directory of the identity that reads the feed; without it, the admin reads it
        #[arg(long = "as", value_name = "DIR")]
        as_: Option<PathBuf>,
        /// File for the snapshot
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
            sure.check(&format!(
                "nothing that the broker's key {key} signed is accepted any more"
            ))?;
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
            let pairs = [
                ("revocation feed", format!("{epoch}/{sequence}")),
                ("file", out.display().to_string()),
            ];
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

/// The column heads of the rows of [`key_rows`].
pub(super) const KEY_HEADS: [&str; 5] = ["KEY", "USE", "STATE", "VALID FROM", "VALID UNTIL"];

/// Returns the broker's keys as rows of a table and as JSON.
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
        // Texts of a later version of the format, which may hold anything.
        let use_ = format!("{} (not understood)", key.use_.escape_debug());
        let public = key.public.escape_debug().to_string();
        vec![key.id.to_string(), use_, word(&key.state), until, public]
    });
    let rows: Vec<_> = known.chain(skipped).collect();
    if !context.json() {
        crate::print::line!(
            "trust domain {}, version {}, valid until {}\n",
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
    print::rows(context, &["KEY", "USE", "STATE", "VALID UNTIL", "PUBLIC KEY"], &rows, &value);
    Ok(())
}

/// Returns the name of an enum value as the bundle writes it.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
