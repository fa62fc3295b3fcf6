//! `sublet session …`: sessions of authority, in which agents act for users.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sublet_core::base::text::base64url;
use sublet_proto::v1;
use sublet_proto::v1::end_sessions_request::Which;

use crate::cli_error::CliError;
use crate::context::{Context, duration, read_secret, seconds};
use crate::names::{agent_id, principal_name, session_id};
use crate::print;

/// Sessions of authority.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Allow an agent to act for a principal for a limited time (admin)
    ///
    /// The agent uses the printed id: sublet issue --session ID. When the session ends, every delegation that
    /// was issued in it is revoked.
    ///
    /// Example: sublet session grant agent/planner --for user:alice --ttl 8h
    Grant {
        /// Agent: full SPIFFE id, or a path such as agent/planner
        agent: String,
        /// Principal to act for: user:alice@acme.example, or user:alice
        #[arg(long = "for", value_name = "PRINCIPAL")]
        principal: String,
        /// Lifetime of the session
        #[arg(long, default_value = "8h", value_parser = duration)]
        ttl: Duration,
        /// Reason, for the record
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// List all sessions: grants by the admin, and logins of users (admin)
    List,
    /// End one session or all sessions of a principal, and revoke everything issued in them
    ///
    /// The admin ends a session by its id, or all of a principal. A user ends the own session with
    /// --user-token and needs no other credential.
    #[command(group = clap::ArgGroup::new("which").required(true))]
    End {
        /// Id of the session (admin)
        #[arg(group = "which", allow_hyphen_values = true)]
        id: Option<String>,
        /// Principal whose sessions all end: user:alice@acme.example, or user:alice (admin)
        #[arg(long, group = "which")]
        principal: Option<String>,
        /// File with the user's token, to end the session of that login, or - for stdin
        #[arg(long, value_name = "FILE|-", group = "which")]
        user_token: Option<PathBuf>,
        /// Reason, for the record
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
            let heads = ["SESSION", "FOR", "CONSENT OF", "VALID UNTIL", "DELEGATIONS"];
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
                        _ => {
                            return Err(CliError::usage(
                                "the session is missing: give ID, --principal or --user-token",
                            ));
                        }
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

fn ended(context: &Context, answer: &v1::EndSessionsResponse) {
    let feed = format!("{}/{}", answer.epoch, answer.sequence);
    let value = json!({
        "sessions": answer.sessions,
        "delegations": answer.delegations,
        "epoch": answer.epoch,
        "sequence": answer.sequence,
    });
    let pairs = [
        ("ended sessions", answer.sessions.to_string()),
        ("revoked delegations", answer.delegations.to_string()),
        ("revocation feed", feed),
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
        ("consent of", by),
        ("valid until", until),
        ("delegations", row.delegations.to_string()),
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
