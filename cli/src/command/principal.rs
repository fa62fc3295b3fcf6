//! `sublet principal …`: a principal whose authority was revoked comes back.

use std::time::Duration;

use serde_json::json;
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::command::agent::principal_name;
use crate::context::Context;
use crate::print;

/// Principals.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Let agents act for a principal again; what was issued for it before stays revoked (admin)
    Restore {
        /// Whom: user:alice@acme.example, or user:alice of the trust domain
        name: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// The most that is waited for a second that is not the broker's to end: more is a clock that was set back.
const WAIT_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), CliError> {
    let Command::Restore { name, reason } = command;
    let principal = principal_name(context, &name)?.to_string();
    let request = v1::RestorePrincipalRequest {
        principal: principal.clone(),
        reason,
        idempotency_key: Vec::new(),
    };
    let answer = context.broker().await?.restore_principal(&context.admin()?, request).await?;
    // So that what is issued next is not of the second that stays revoked.
    let left = answer.issues_from_ms.saturating_sub(answer.restored_at_ms);
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    tokio::time::sleep(left.min(WAIT_MAX)).await;
    let (until, feed) =
        (print::utc_ms(answer.issues_from_ms), format!("{}/{}", answer.epoch, answer.sequence));
    let value = json!({
        "restored": principal,
        "revoked_if_issued_before": until,
        "epoch": answer.epoch,
        "sequence": answer.sequence,
    });
    let pairs = [
        ("restored", principal),
        ("revoked", format!("all that was issued before {until}, and its sessions")),
        ("feed", feed),
    ];
    print::pairs(context, &pairs, &value);
    Ok(())
}
