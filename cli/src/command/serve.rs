//! `sublet serve`: runs the broker.

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
use crate::signals::stopped;

/// Run the broker until SIGINT or SIGTERM
///
/// With --dev, it serves plain HTTP/2 on loopback, makes an admin key, a trust bundle and a default profile,
/// and prints three export lines for another shell. With --config, it serves TLS as the file says.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Configuration, TOML (docs/FORMATS.md)
    #[arg(long, value_name = "FILE", conflicts_with = "dev", required_unless_present = "dev")]
    config: Option<PathBuf>,
    /// Run a broker for development: loopback only, with an admin key and a default profile
    #[arg(long)]
    dev: bool,
    /// Directory for keys and store [default: that of --config, or sublet-dev]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to listen on; port 0 picks a free port
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Witness policy (C2SP tlog-policy): the witnesses that are asked to cosign each checkpoint, and how many
    /// cosignatures are enough
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
            let listen = listen.ok_or_else(|| {
                CliError::usage("the address to listen on is missing: --listen ADDR")
            })?;
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
    let served = serving
        .await
        .map_err(|error| CliError::local(format!("the server stopped unexpectedly: {error}")))?;
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

/// Gives a broker in `--dev` a profile `default`, unless it has one: common actions on tools of common URI
/// schemes, for every user of the trust domain.
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
