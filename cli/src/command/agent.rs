//! `sublet agent …`: the life of an agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sublet_client::agent::directory::Directory;
use sublet_client::agent::enrollment::Proof;
use sublet_client::agent::identity::{EndedKeys, Identity};
use sublet_client::agent::workload;
use sublet_client::broker::connect::Broker;
use sublet_client::files;
use sublet_core::base::id::{AgentId, Principal};
use sublet_core::refusal::Malformed;
use sublet_proto::convert::public_key;
use sublet_proto::v1;

use crate::actor::Actor;
use crate::cli_error::CliError;
use crate::context::{Context, duration, read_secret};
use crate::print;
use crate::sure::Sure;

/// Which SVID.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Svid {
    /// A JWT-SVID
    Jwt,
    /// An X.509-SVID, shown in TLS
    X509,
}

/// Agents.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Create an agent; prints a join token, once (admin)
    Create {
        /// A SPIFFE id, or a path behind the trust domain: agent/planner
        id: String,
        /// Its profile
        #[arg(long, default_value = "default", value_name = "NAME")]
        profile: String,
        /// How long the join token lives
        #[arg(long, default_value = "1h", value_parser = duration)]
        join_ttl: Duration,
        /// The file to write it to, for its owner alone, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// One more join token for an agent (admin)
    Invite {
        /// Which agent
        id: String,
        /// How long it lives
        #[arg(long, default_value = "1h", value_parser = duration)]
        join_ttl: Duration,
        /// The file to write it to, for its owner alone, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Enroll with a credential: makes a key, keeps the identity in a directory
    #[command(group = clap::ArgGroup::new("credential").required(true))]
    Enroll {
        /// The file of a join token, - for standard input
        #[arg(long, value_name = "FILE|-", group = "credential")]
        join_token: Option<PathBuf>,
        /// The file of a signed token: of a CI system, Kubernetes, an identity provider
        #[arg(long, value_name = "FILE|-", group = "credential")]
        jwt: Option<PathBuf>,
        /// The file of a SPIFFE JWT-SVID
        #[arg(long, value_name = "FILE|-", group = "credential")]
        jwt_svid: Option<PathBuf>,
        /// With the SPIFFE X.509-SVID of --client-certificate
        #[arg(long, group = "credential")]
        x509_svid: bool,
        /// The directory of an identity of another trust domain, whose broker this one knows
        #[arg(long, value_name = "DIR", group = "credential")]
        federated_domain: Option<PathBuf>,
        /// With the SVID that SPIFFE's Workload API gives on this host
        #[arg(long, value_enum, group = "credential")]
        workload_api: Option<Svid>,
        /// Where that is: unix:PATH or tcp://IP:PORT
        #[arg(long, env = "SPIFFE_ENDPOINT_SOCKET", value_name = "URL")]
        socket: Option<String>,
        /// Which agent it is to be; else the credential says
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// The directory to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Renew an identity
    Renew {
        /// The identity's directory
        #[arg(long = "as", value_name = "DIR")]
        as_: PathBuf,
    },
    /// Keep an identity renewed, until told to stop
    Keep(super::keep::Args),
    /// Change an agent's key
    ///
    /// What was handed to the old key stays good at tools until it ends: after a leak, --revoke-old.
    RotateKey {
        /// The identity's directory
        #[arg(long = "as", value_name = "DIR")]
        as_: PathBuf,
        /// The old key may have leaked: revoke it, and every key of before, with all that they hold
        #[arg(long)]
        revoke_old: bool,
        /// Why, for the record
        #[arg(long, default_value = "", requires = "revoke_old")]
        reason: String,
    },
    /// All agents (admin)
    List,
    /// One agent (admin)
    Show {
        /// Which
        id: String,
    },
    /// Stop an agent: its tokens and its helpers' are refused (admin)
    Suspend {
        /// Which
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let an agent go on (admin)
    Resume {
        /// Which
        id: String,
    },
    /// Revoke an agent's key, for ever (admin)
    RevokeKey {
        /// Whose
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        sure: Sure,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Create { id, profile, join_ttl, out } => {
            let agent_id = agent_id(context, &id)?.to_string();
            let join_ttl_seconds = seconds(join_ttl);
            let request = v1::CreateAgentRequest {
                agent_id,
                profile,
                join_ttl_seconds,
                ..Default::default()
            };
            check_out(out.as_deref())?;
            let answer = context.broker().await?.create_agent(&context.admin()?, request).await?;
            invited(context, out.as_deref(), &answer)
        }
        Command::Invite { id, join_ttl, out } => {
            let agent_id = agent_id(context, &id)?.to_string();
            let request = v1::CreateJoinTokenRequest {
                agent_id,
                ttl_seconds: seconds(join_ttl),
                ..Default::default()
            };
            check_out(out.as_deref())?;
            let (broker, admin) = (context.broker().await?, context.admin()?);
            let answer = broker.create_join_token(&admin, request).await?;
            invited(context, out.as_deref(), &answer)
        }
        Command::Enroll { workload_api: Some(kind), socket, id, out, .. } => {
            let id = id.map(|id| agent_id(context, &id)).transpose()?;
            let detail = "where is the Workload API? set SPIFFE_ENDPOINT_SOCKET or --socket";
            let socket = socket.ok_or_else(|| CliError::usage(detail))?;
            enroll_by_workload(context, kind, &socket, id.as_ref(), &out).await
        }
        Command::Enroll {
            join_token, jwt, jwt_svid, x509_svid, federated_domain, id, out, ..
        } => {
            let id = id.map(|id| agent_id(context, &id)).transpose()?;
            let proof = match (join_token, jwt, jwt_svid, federated_domain) {
                (Some(path), ..) => Proof::join_token(&read_secret(&path)?),
                (_, Some(path), ..) => Proof::jwt(&read_secret(&path)?),
                (_, _, Some(path), _) => Proof::jwt_svid(&read_secret(&path)?),
                (.., Some(directory)) => Proof::federated_domain(&Identity::load(directory)?),
                _ if x509_svid => Proof::x509_svid(),
                _ => return Err(CliError::usage("a credential is needed")),
            };
            enroll(context, &context.broker().await?, &proof, id.as_ref(), &out).await
        }
        Command::Renew { as_ } => {
            let identity = Actor::load(&as_, context)?.identity()?;
            identity.renew().await?;
            about(context, &identity)
        }
        Command::Keep(args) => super::keep::run(args, context).await,
        Command::RotateKey { as_, revoke_old, reason } => {
            let identity = Actor::load(&as_, context)?.identity()?;
            identity.rotate_key().await?;
            if !revoke_old {
                return about(context, &identity);
            }
            let ended = identity.revoke_former_keys(&reason).await.inspect_err(|_| {
                eprintln!("the key was changed, and what the old one holds was not ended:");
            })?;
            about_ended(context, &identity, &ended)
        }
        Command::List => list(context).await,
        Command::Show { id } => {
            let request = v1::GetAgentRequest { agent_id: agent_id(context, &id)?.to_string() };
            show(context, &context.broker().await?.get_agent(&context.admin()?, request).await?)
        }
        Command::Suspend { id, reason } => {
            let agent_id = agent_id(context, &id)?.to_string();
            let request = v1::SuspendAgentRequest { agent_id, reason, ..Default::default() };
            show(context, &context.broker().await?.suspend_agent(&context.admin()?, request).await?)
        }
        Command::Resume { id } => {
            let agent_id = agent_id(context, &id)?.to_string();
            let request = v1::ResumeAgentRequest { agent_id, ..Default::default() };
            show(context, &context.broker().await?.resume_agent(&context.admin()?, request).await?)
        }
        Command::RevokeKey { id, reason, sure } => {
            let agent_id = agent_id(context, &id)?.to_string();
            sure.check(&format!(
                "the key of {agent_id}, and all that is held by it, ends for ever"
            ))?;
            let request = v1::RevokeAgentKeyRequest { agent_id, reason, ..Default::default() };
            show(
                context,
                &context.broker().await?.revoke_agent_key(&context.admin()?, request).await?,
            )
        }
    }
}

/// An agent as it was typed: a full id, or a path behind the trust domain.
pub(crate) fn agent_id(context: &Context, text: &str) -> Result<AgentId, CliError> {
    if text.contains("://") {
        return Ok(text.parse::<AgentId>().map_err(Malformed::from)?);
    }
    Ok(AgentId::parse_in(&context.trust()?.domain(), text).map_err(Malformed::from)?)
}

/// A principal as it was typed: in full, or of the trust domain.
pub(crate) fn principal_name(context: &Context, text: &str) -> Result<Principal, CliError> {
    Ok(Principal::parse_in(&context.trust()?.domain(), text).map_err(Malformed::from)?)
}

/// Whole seconds for the wire.
pub(crate) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// That a join token can be written, before it is made: it is shown once.
fn check_out(out: Option<&Path>) -> Result<(), CliError> {
    let Some(out) = out else { return Ok(()) };
    files::create_new(out, b"")?;
    Ok(files::remove(out)?)
}

/// Writes a join token, for its owner alone, and over nothing.
pub(crate) fn write_join_token(out: &Path, token: &str) -> Result<(), CliError> {
    Ok(files::create_new(out, format!("{token}\n").as_bytes())?)
}

/// Hands a join token over: in a file of its owner alone, or printed.
fn invited(
    context: &Context,
    out: Option<&Path>,
    answer: &v1::JoinTokenResponse,
) -> Result<(), CliError> {
    let (id, expires) = (&answer.join_token_id, print::utc_ms(answer.expires_at_ms));
    if let Some(out) = out {
        write_join_token(out, &answer.join_token)?;
        let file = out.display().to_string();
        let value = json!({"join_token_id": id, "expires": expires, "file": file});
        print::pairs(context, &[("join token", file), ("good once, until", expires)], &value);
    } else if context.json() {
        print::json(&json!({
            "join_token": answer.join_token,
            "join_token_id": id,
            "expires": expires,
        }));
    } else {
        crate::print::line!("{}", answer.join_token);
        eprintln!("good once, until {expires}; hand it to the agent by file or stdin");
    }
    Ok(())
}

/// With what the host knows of the workload.
async fn enroll_by_workload(
    context: &Context,
    kind: Svid,
    socket: &str,
    id: Option<&AgentId>,
    out: &std::path::Path,
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
    out: &std::path::Path,
) -> Result<(), CliError> {
    let trust = context.trust.is_some().then(|| context.trust()).transpose()?;
    let directory = match &context.key_password_file {
        Some(file) => Directory::new(out).under(file)?,
        None => Directory::new(out),
    };
    let identity = Identity::enroll_by(broker, proof, directory, trust.as_ref(), id).await?;
    about(context, &identity)
}

fn about(context: &Context, identity: &Identity) -> Result<(), CliError> {
    let (pairs, value) = described(identity);
    print::pairs(context, &pairs, &value);
    Ok(())
}

fn described(identity: &Identity) -> (Vec<(&'static str, String)>, Value) {
    let (id, key) =
        (identity.id().to_string(), identity.token().holder_key().thumbprint().to_string());
    let (directory, until) =
        (identity.directory().path().display().to_string(), print::utc(identity.expires()));
    let value = json!({"agent": id, "key": key, "directory": directory, "identity_expires": until});
    let pairs = [("agent", id), ("key", key), ("directory", directory), ("identity until", until)];
    (pairs.into(), value)
}

/// The same, and what ended with the keys of before.
fn about_ended(context: &Context, identity: &Identity, ended: &EndedKeys) -> Result<(), CliError> {
    let (mut pairs, mut value) = described(identity);
    let keys: Vec<String> = ended.keys.iter().map(ToString::to_string).collect();
    let hops = format!("{} recorded hops that they held, with all below", ended.hops);
    pairs.extend(keys.iter().map(|key| ("revoked", key.clone())).chain([("ended", hops)]));
    if let Value::Object(members) = &mut value {
        members.insert("revoked".to_owned(), json!(keys));
        members.insert("hops_ended".to_owned(), json!(ended.hops));
        members.insert("keys_left".to_owned(), json!(ended.left));
    }
    print::pairs(context, &pairs, &value);
    if ended.left > 0 {
        eprintln!(
            "{} older keys are not revoked, as an agent may revoke so many in a week and no more: the admin can \
             (sublet revoke key)",
            ended.left
        );
    }
    Ok(())
}

async fn list(context: &Context) -> Result<(), CliError> {
    let agents = context.broker().await?.all_agents(&context.admin()?).await?;
    let rows: Vec<_> = agents
        .iter()
        .map(|agent| {
            vec![
                agent.agent_id.clone(),
                agent.state.clone(),
                agent.profile.clone(),
                thumbprint(agent),
            ]
        })
        .collect();
    let value = Value::Array(agents.iter().map(value).collect());
    print::rows(context, &["AGENT", "STATE", "PROFILE", "KEY"], &rows, &value);
    Ok(())
}

fn show(context: &Context, agent: &v1::AgentRow) -> Result<(), CliError> {
    let pairs = [
        ("agent", agent.agent_id.clone()),
        ("state", agent.state.clone()),
        ("profile", agent.profile.clone()),
        ("key", thumbprint(agent)),
        ("created", print::utc_ms(agent.created_at_ms)),
    ];
    print::pairs(context, &pairs, &value(agent));
    Ok(())
}

fn thumbprint(agent: &v1::AgentRow) -> String {
    public_key("public_key", agent.public_key.as_ref())
        .map_or("-".to_owned(), |key| key.thumbprint().to_string())
}

fn value(agent: &v1::AgentRow) -> Value {
    json!({
        "agent": agent.agent_id,
        "state": agent.state,
        "profile": agent.profile,
        "key": agent.public_key.as_ref().map(|_| thumbprint(agent)),
        "created": print::utc_ms(agent.created_at_ms),
    })
}
