//! `sublet session …`: by whose word agents act for users, and that it ends.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sublet_core::base::text::base64url;
use sublet_core::state::rows::session::SessionId;
use sublet_proto::convert::field;
use sublet_proto::v1;
use sublet_proto::v1::end_sessions_request::Which;

use crate::cli_error::CliError;
use crate::command::agent::{agent_id, principal_name, seconds};
use crate::context::{Context, duration, read_secret};
use crate::print;

/// Sessions of authority.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Let an agent act for a principal for some time (admin)
    Grant {
        /// The agent
        agent: String,
        /// For whom: user:alice@DOMAIN, or user:alice
        #[arg(long = "for", value_name = "PRINCIPAL")]
        principal: String,
        /// How long
        #[arg(long, default_value = "8h", value_parser = duration)]
        ttl: Duration,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// All sessions, users' logins among them (admin)
    List,
    /// End one session, or all of a principal's, with everything that was issued in them
    #[command(group = clap::ArgGroup::new("which").required(true))]
    End {
        /// One, by its id (admin)
        #[arg(group = "which", allow_hyphen_values = true)]
        id: Option<String>,
        /// All of a principal's (admin)
        #[arg(long, group = "which")]
        principal: Option<String>,
        /// One's own: the file of the user's token, and no other credential
        #[arg(long, value_name = "FILE|-", group = "which")]
        user_token: Option<PathBuf>,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), CliError> {
    let broker = context.broker().await?;
    match command {
        Command::Grant { agent, principal, ttl, reason } => {
            let request = v1::GrantSessionRequest {
                agent_id: agent_id(context, &agent)?.to_string(),
                principal: principal_name(context, &principal)?.to_string(),
                ttl_seconds: seconds(ttl),
                reason,
                ..Default::default()
            };
            let row = broker.grant_session(&context.admin()?, request).await?;
            print::pairs(context, &pairs(&row), &value(&row));
            Ok(())
        }
        Command::List => {
            let sessions = broker.all_sessions(&context.admin()?).await?;
            let rows: Vec<_> =
                sessions.iter().map(|row| pairs(row).map(|(_, text)| text).to_vec()).collect();
            let heads = ["SESSION", "FOR", "BY", "UNTIL", "ALIVE"];
            print::rows(
                context,
                &heads,
                &rows,
                &json!(sessions.iter().map(value).collect::<Vec<_>>()),
            );
            Ok(())
        }
        Command::End { id, principal, user_token, reason } => {
            let answer = match (id, principal, user_token) {
                (_, _, Some(path)) => broker.log_out(&read_secret(&path)?, &reason).await?,
                (id, principal, _) => {
                    let which = match (id, principal) {
                        (Some(id), _) => Which::Session(session_id(&id)?.0.to_vec()),
                        (_, Some(principal)) => {
                            Which::Principal(principal_name(context, &principal)?.to_string())
                        }
                        _ => return Err(CliError::usage("which session?")),
                    };
                    let request =
                        v1::EndSessionsRequest { which: Some(which), reason, ..Default::default() };
                    broker.end_sessions(&context.admin()?, request).await?
                }
            };
            ended(context, &answer);
            Ok(())
        }
    }
}

/// A session's id as it was typed.
pub(crate) fn session_id(text: &str) -> Result<SessionId, CliError> {
    let id = SessionId::from_text(text);
    Ok(id.ok_or_else(|| field("session", format!("{text:?} is no session's id")))?)
}

fn ended(context: &Context, answer: &v1::EndSessionsResponse) {
    let feed = format!("{}/{}", answer.epoch, answer.sequence);
    let value = json!({
        "sessions": answer.sessions,
        "delegations": answer.delegations,
        "epoch": answer.epoch,
        "sequence": answer.sequence,
    });
    let pairs = [
        ("sessions ended", answer.sessions.to_string()),
        ("delegations ended", answer.delegations.to_string()),
        ("feed", feed),
    ];
    print::pairs(context, &pairs, &value);
}

fn pairs(row: &v1::SessionRow) -> [(&'static str, String); 5] {
    let by = match row.issuer.is_empty() {
        true => row.agent_id.clone(),
        false => format!("{} at {}", row.subject.escape_debug(), row.issuer),
    };
    let until = match row.ended_at_ms {
        0 => print::utc_ms(row.expires_at_ms),
        at => format!("ended {}", print::utc_ms(at)),
    };
    [
        ("session", base64url(&row.session)),
        ("for", row.principal.clone()),
        ("by", by),
        ("until", until),
        ("alive", row.delegations.to_string()),
    ]
}

fn value(row: &v1::SessionRow) -> Value {
    json!({
        "session": base64url(&row.session),
        "principal": row.principal,
        "issuer": row.issuer,
        "subject": row.subject,
        "agent": row.agent_id,
        "expires": print::utc_ms(row.expires_at_ms),
        "ended": (row.ended_at_ms > 0).then(|| print::utc_ms(row.ended_at_ms)),
        "delegations": row.delegations,
    })
}
