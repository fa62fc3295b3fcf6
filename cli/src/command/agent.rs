//! `sublet agent …`: the life of an agent.

mod enroll;
mod renew;
mod rotate_key;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sublet_proto::convert::public_key;
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::context::{Context, duration, seconds};
use crate::join_token;
use crate::names::agent_id;
use crate::print;
use crate::sure::Sure;

/// The life of an agent.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Create an agent and print its join token (admin)
    ///
    /// The join token enrolls the agent once. It is shown only here: prefer --out, which writes it to a file
    /// that only its owner can read. If it is lost, make another with `sublet agent invite`.
    ///
    /// Example: sublet agent create agent/planner --profile research --out planner.join
    Create {
        /// Full SPIFFE id, or a path in the trust domain, such as agent/planner
        id: String,
        /// Profile that limits what the agent can be issued
        #[arg(long, default_value = "default", value_name = "NAME")]
        profile: String,
        /// Lifetime of the join token, at most 24h
        #[arg(long, default_value = "1h", value_parser = duration)]
        join_ttl: Duration,
        /// New file for the join token, readable only by its owner; without it, the token is printed
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make another join token for an agent that exists (admin)
    Invite {
        /// Full SPIFFE id, or a path in the trust domain, such as agent/planner
        id: String,
        /// Lifetime of the join token, at most 24h
        #[arg(long, default_value = "1h", value_parser = duration)]
        join_ttl: Duration,
        /// New file for the join token, readable only by its owner; without it, the token is printed
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    Enroll(Box<enroll::Args>),
    Renew(renew::Args),
    RotateKey(rotate_key::Args),
    /// List all agents with state, profile and key (admin)
    List,
    /// Show one agent (admin)
    Show {
        /// Full SPIFFE id, or a path in the trust domain, such as agent/planner
        id: String,
    },
    /// Suspend an agent until it is resumed (admin)
    ///
    /// Its tokens and those of its helpers are refused: by the broker at once, by tools with the revocation
    /// feed.
    Suspend {
        /// Full SPIFFE id, or a path in the trust domain, such as agent/planner
        id: String,
        /// Reason, for the record
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Resume a suspended agent (admin)
    Resume {
        /// Full SPIFFE id, or a path in the trust domain, such as agent/planner
        id: String,
    },
    /// Revoke an agent's key permanently, with everything that it holds (admin)
    ///
    /// The agent can enroll again with a new key: give it a join token with `sublet agent invite`.
    RevokeKey {
        /// Full SPIFFE id, or a path in the trust domain, such as agent/planner
        id: String,
        /// Reason, for the record
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
            join_token::check_out(out.as_deref())?;
            let answer = context.broker().await?.create_agent(&context.admin()?, request).await?;
            join_token::hand_over(context, out.as_deref(), &answer)
        }
        Command::Invite { id, join_ttl, out } => {
            let agent_id = agent_id(context, &id)?.to_string();
            let request = v1::CreateJoinTokenRequest {
                agent_id,
                ttl_seconds: seconds(join_ttl),
                ..Default::default()
            };
            join_token::check_out(out.as_deref())?;
            let (broker, admin) = (context.broker().await?, context.admin()?);
            let answer = broker.create_join_token(&admin, request).await?;
            join_token::hand_over(context, out.as_deref(), &answer)
        }
        Command::Enroll(args) => enroll::run(*args, context).await,
        Command::Renew(args) => renew::run(args, context).await,
        Command::RotateKey(args) => rotate_key::run(args, context).await,
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
                "the key of {agent_id} is revoked permanently, with everything that it holds"
            ))?;
            let request = v1::RevokeAgentKeyRequest { agent_id, reason, ..Default::default() };
            show(
                context,
                &context.broker().await?.revoke_agent_key(&context.admin()?, request).await?,
            )
        }
    }
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

/// Returns the thumbprint of an agent's key, or `-` before it has enrolled.
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
