//! `sublet agent keep`: an identity that is renewed for as long as this runs.

use std::path::PathBuf;
use std::time::Duration;

use sublet_client::agent::renewal::{RenewalPolicy, RenewalStatus};

use super::serve::stopped;
use crate::actor::Actor;
use crate::cli_error::CliError;
use crate::context::{Context, duration};
use crate::print;

/// Whose identity, and what else is kept up.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The identity's directory
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// How old its key may become before another takes its place: 12h, 30d; never unless it is said
    #[arg(long, value_name = "TIME", value_parser = duration)]
    rotate_key_every: Option<Duration>,
}

/// Renews until it is told to stop (SIGINT, SIGTERM), and says how it goes.
pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let identity = Actor::load(&args.as_, context)?.identity()?;
    let renewal = identity.keep(RenewalPolicy { rotate_key_every: args.rotate_key_every });
    eprintln!("{} until {}", identity.id(), print::utc(identity.expires()));
    let mut standing = renewal.watch();
    let told = async {
        while standing.changed().await.is_ok() {
            say(&standing.borrow_and_update());
        }
    };
    tokio::select! {
        () = told => {}
        () = stopped() => {}
    }
    Ok(())
}

fn say(standing: &RenewalStatus) {
    let until = print::utc(standing.expires);
    match &standing.failure {
        None => eprintln!("renewed until {until}"),
        Some(failure) => {
            eprintln!("not renewed, good until {until}: {failure} [{}]", failure.code())
        }
    }
}
