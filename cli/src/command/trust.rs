//! `sublet trust …`: the trust bundle and the revocation feed, for tools that go offline.

use std::path::PathBuf;

use serde_json::json;
use sublet_client::ask::Caller;
use sublet_client::{files, follow};

use crate::actor::watcher;
use crate::context::Context;
use crate::print;
use crate::trouble::Trouble;

/// Trust.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show the trust bundle
    Show,
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

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Trouble> {
    match command {
        Command::Show => show(context),
        Command::Snapshot { as_, out } => {
            let trust = context.trust()?;
            let broker = context.broker().await?;
            let who = watcher(context, as_.as_ref())?;
            let who = who.as_ref().map(|who| who as &dyn Caller);
            let (view, text) = follow::snapshot(&broker, who, &trust).await?;
            files::replace(&out, text.as_bytes())?;
            let (epoch, sequence) = view.position();
            let value =
                json!({"epoch": epoch, "sequence": sequence, "file": out.display().to_string()});
            let pairs =
                [("feed", format!("{epoch}/{sequence}")), ("file", out.display().to_string())];
            print::pairs(context, &pairs, &value);
            Ok(())
        }
    }
}

fn show(context: &Context) -> Result<(), Trouble> {
    let bundle = context.trust()?.current();
    let rows: Vec<_> = bundle
        .keys()
        .iter()
        .map(|key| {
            vec![
                key.id.to_string(),
                word(&key.use_),
                word(&key.state),
                print::utc_ms(key.not_after.0),
                key.public.to_string(),
            ]
        })
        .collect();
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
    let value = json!({"trust_domain": bundle.trust_domain().to_string(), "version": bundle.version(), "keys": keys});
    print::rows(context, &["ID", "USE", "STATE", "UNTIL", "KEY"], &rows, &value);
    Ok(())
}

/// An enum's word, as the file writes it.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
