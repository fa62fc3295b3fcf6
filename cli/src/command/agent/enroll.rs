//! `sublet agent enroll`: a new key and an identity for it, in exchange for a credential.

use std::path::{Path, PathBuf};

use sublet_client::agent::directory::Directory;
use sublet_client::agent::enrollment::Proof;
use sublet_client::agent::identity::Identity;
use sublet_client::agent::workload;
use sublet_client::broker::connect::Broker;
use sublet_core::base::id::AgentId;

use crate::cli_error::CliError;
use crate::context::{Context, read_secret};
use crate::identity_print;
use crate::names::agent_id;

/// The kind of SVID to get from the Workload API.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Svid {
    /// JWT-SVID
    Jwt,
    /// X.509-SVID, shown as the TLS client certificate
    X509,
}

/// Enroll an agent: make a key, show one credential, store the identity in a directory
///
/// The credential is a join token, or an identity that the workload has already: a JWT, a SPIFFE SVID, or an
/// identity of a federated trust domain. For all but the join token, an [[enroll]] rule of a profile says
/// which agent the credential stands for.
///
/// Example: sublet agent enroll --join-token planner.join --out planner
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("credential").required(true))]
pub(crate) struct Args {
    /// File with a join token, or - for stdin
    #[arg(long, value_name = "FILE|-", group = "credential")]
    join_token: Option<PathBuf>,
    /// File with a JWT of a CI system, Kubernetes or an identity provider, or - for stdin
    #[arg(long, value_name = "FILE|-", group = "credential")]
    jwt: Option<PathBuf>,
    /// File with a SPIFFE JWT-SVID, or - for stdin
    #[arg(long, value_name = "FILE|-", group = "credential")]
    jwt_svid: Option<PathBuf>,
    /// Use the X.509-SVID given with --client-certificate
    #[arg(long, group = "credential")]
    x509_svid: bool,
    /// Directory of an identity in another trust domain that this broker federates with
    #[arg(long, value_name = "DIR", group = "credential")]
    federated_domain: Option<PathBuf>,
    /// Get an SVID of this kind from the SPIFFE Workload API of this host
    #[arg(long, value_enum, group = "credential")]
    workload_api: Option<Svid>,
    /// Address of the Workload API: unix:PATH or tcp://IP:PORT
    #[arg(long, env = "SPIFFE_ENDPOINT_SOCKET", value_name = "URL")]
    socket: Option<String>,
    /// Agent to enroll as: full SPIFFE id or path; without it, the credential determines the agent
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// New directory for the key and the identity
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let id = args.id.map(|id| agent_id(context, &id)).transpose()?;
    if let Some(kind) = args.workload_api {
        let detail =
            "the address of the Workload API is missing: set SPIFFE_ENDPOINT_SOCKET or --socket";
        let socket = args.socket.ok_or_else(|| CliError::usage(detail))?;
        return by_workload(context, kind, &socket, id.as_ref(), &args.out).await;
    }
    let proof = match (args.join_token, args.jwt, args.jwt_svid, args.federated_domain) {
        (Some(path), ..) => Proof::join_token(&read_secret(&path)?),
        (_, Some(path), ..) => Proof::jwt(&read_secret(&path)?),
        (_, _, Some(path), _) => Proof::jwt_svid(&read_secret(&path)?),
        (.., Some(directory)) => Proof::federated_domain(&Identity::load(directory)?),
        _ if args.x509_svid => Proof::x509_svid(),
        _ => return Err(CliError::usage("a credential is needed, such as --join-token FILE")),
    };
    enroll(context, &context.broker().await?, &proof, id.as_ref(), &args.out).await
}

/// Enrolls with an SVID of the Workload API at `socket`.
async fn by_workload(
    context: &Context,
    kind: Svid,
    socket: &str,
    id: Option<&AgentId>,
    out: &Path,
) -> Result<(), CliError> {
    match kind {
        Svid::Jwt => {
            let broker = context.broker().await?;
            let audience = context.trust()?.domain().broker_audience();
            let proof = workload::jwt_svid(socket, &audience).await?;
            enroll(context, &broker, &proof, id, out).await
        }
        Svid::X509 => {
            let tls = workload::x509_svid(socket, out, &context.tls()).await?;
            let broker = Broker::connect_by(context.endpoint()?, &tls).await?;
            enroll(context, &broker, &Proof::x509_svid(), id, out).await
        }
    }
}

async fn enroll(
    context: &Context,
    broker: &Broker,
    proof: &Proof,
    id: Option<&AgentId>,
    out: &Path,
) -> Result<(), CliError> {
    let trust = context.trust.is_some().then(|| context.trust()).transpose()?;
    let directory = match &context.key_password_file {
        Some(file) => Directory::new(out).under(file)?,
        None => Directory::new(out),
    };
    let identity = Identity::enroll_by(broker, proof, directory, trust.as_ref(), id).await?;
    identity_print::show(context, &identity)
}
