//! `sublet agent renew`: a new identity token, once or for as long as this runs.

use std::path::PathBuf;
use std::time::Duration;

use sublet_client::agent::identity::Identity;
use sublet_client::agent::renewal::{RenewalPolicy, RenewalStatus};

use crate::actor::Actor;
use crate::cli_error::CliError;
use crate::context::{Context, duration};
use crate::signals::stopped;
use crate::{identity_print, print};

/// Renew an agent's identity token
///
/// Gets a new identity token for the same key and stores it in the directory. With --watch, it stays in the
/// foreground, renews before each identity token ends, and reports each renewal on stderr, until SIGINT or
/// SIGTERM.
///
/// Example: sublet agent renew --as planner --watch --rotate-key-every 30d
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the identity
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// Keep renewing until SIGINT or SIGTERM
    #[arg(long)]
    watch: bool,
    /// Rotate the key when it reaches this age, such as 12h or 30d; without it, the key is not rotated
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "watch")]
    rotate_key_every: Option<Duration>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let identity = Actor::load(&args.as_, context)?.identity()?;
    if args.watch {
        watch(&identity, RenewalPolicy { rotate_key_every: args.rotate_key_every }).await;
        return Ok(());
    }
    identity.renew().await?;
    identity_print::show(context, &identity)
}

/// Renews until a signal asks the process to stop.
async fn watch(identity: &Identity, policy: RenewalPolicy) {
    let renewal = identity.keep(policy);
    eprintln!("watching {}: valid until {}", identity.id(), print::utc(identity.expires()));
    let mut state = renewal.watch();
    let reported = async {
        while state.changed().await.is_ok() {
            report(&state.borrow_and_update());
        }
    };
    tokio::select! {
        () = reported => {}
        () = stopped() => {}
    }
}

fn report(state: &RenewalStatus) {
    let until = print::utc(state.expires);
    match &state.failure {
        None => eprintln!("renewed: valid until {until}"),
        Some(failure) => eprintln!(
            "not renewed, will try again: valid until {until}: {failure} [{}]",
            failure.code()
        ),
    }
}
