//! `sublet serve`: the broker.

use std::net::SocketAddr;
use std::path::PathBuf;

use sublet_broker::config::{Config, DEFAULT_LISTEN};
use sublet_broker::serve::bind;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_core::base::key_file::KeyLock;
use sublet_core::capability::Scope;
use sublet_proto::convert::scope_message;
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::context::Context;

/// Run the broker until it is told to stop (SIGINT, SIGTERM).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration, TOML (docs/FORMATS.md)
    #[arg(long, value_name = "FILE", conflicts_with = "dev", required_unless_present = "dev")]
    config: Option<PathBuf>,
    /// Try things: loopback only; makes an admin key, trust.json and a default profile
    #[arg(long)]
    dev: bool,
    /// The directory of keys and store
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The witnesses that are shown each head of the ledger, and how many are enough (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    witness_policy: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, _: &Context) -> Result<(), CliError> {
    let bad = |error: sublet_broker::config::BadConfig| CliError::usage(error);
    let mut config = match &args.config {
        Some(path) => {
            let mut config = Config::read(path).map_err(bad)?;
            config.data = args.data.unwrap_or(config.data);
            config.listen = args.listen.unwrap_or(config.listen);
            config.checked().map_err(bad)?
        }
        None => {
            let listen = args.listen.or_else(|| DEFAULT_LISTEN.parse().ok());
            let listen = listen.ok_or_else(|| CliError::usage("no address to listen on"))?;
            let data = args.data.unwrap_or_else(|| PathBuf::from("sublet-dev"));
            Config::dev(data, listen).map_err(bad)?
        }
    };
    config.ledger.witness_policy = args.witness_policy.or(config.ledger.witness_policy);
    let (data, dev, tls) = (config.data.clone(), config.dev, config.tls.certificate.is_some());
    let bound = bind(config).await.map_err(|error| CliError::local(error.to_string()))?;
    let scheme = if tls { "https" } else { "http" };
    let endpoint = format!("{scheme}://{}", bound.address);
    let domain = bound.broker.domain().clone();
    let serving = tokio::spawn(bound.serve(stopped()));
    if dev {
        let key = files::read_key(&data.join("admin.pem"), &KeyLock::open())?;
        let admin = Credential::admin(std::sync::Arc::new(key), domain.clone());
        let broker = Broker::connect(&endpoint).await?;
        ensure_default_profile(&broker, &admin).await?;
        let data = data.canonicalize().unwrap_or(data);
        crate::print::line!("export SUBLET_BROKER={endpoint}");
        crate::print::line!("export SUBLET_TRUST={}", quoted(&data.join("trust.json")));
        crate::print::line!("export SUBLET_ADMIN_KEY={}", quoted(&data.join("admin.pem")));
    }
    eprintln!("sublet broker of {domain} on {endpoint}");
    let served =
        serving.await.map_err(|error| CliError::local(format!("the server died: {error}")))?;
    served.map_err(|error| CliError::local(error.to_string()))
}

fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Ready when the process is asked to stop.
pub(crate) async fn stopped() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}

/// Gives a broker in `--dev` a profile to begin with, unless it has one: common actions on tools
/// of the usual schemes, for every user of the trust domain.
async fn ensure_default_profile(broker: &Broker, admin: &Credential) -> Result<(), CliError> {
    let profiles = broker.all_profiles(admin).await?;
    if profiles.iter().any(|profile| profile.name == "default") {
        return Ok(());
    }
    let actions = ["fs.", "db.", "web.", "mail.", "tools."];
    let schemes = ["tool://", "mcp://", "https://"];
    let allow = actions
        .iter()
        .flat_map(|action| schemes.iter().map(move |scheme| format!("{action}@{scheme} *=any")));
    let allow = Scope::from_texts(&allow.collect::<Vec<_>>())
        .map_err(sublet_core::refusal::Malformed::from)?;
    let profile = v1::Profile {
        name: "default".to_owned(),
        principals: vec![format!("user:*@{}", admin.trust_domain())],
        ttl_seconds_max: 24 * 3600,
        hops_max: 8,
        offline_hops_max: 4,
        fan_out_max: sublet_core::base::limits::FAN_OUT_MAX,
        allow_json: scope_message(&allow),
        enroll: Vec::new(),
        consent_required: false,
    };
    let request = v1::ApplyProfileRequest { profile: Some(profile), idempotency_key: Vec::new() };
    broker.apply_profile(admin, request).await?;
    Ok(())
}
