//! `sublet principal …`: principals whose authority was revoked.

use std::time::Duration;

use serde_json::json;
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::names::principal_name;
use crate::print;

/// Principals.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Allow new delegations on behalf of a revoked principal (admin)
    ///
    /// Everything issued before stays revoked, and its sessions stay ended. The command returns when the broker
    /// can issue again, after at most 2 seconds.
    Restore {
        /// Principal: user:alice@acme.example, or user:alice
        name: String,
        /// Reason, for the record
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// The longest wait for the second in which the revocation still applies to end. A longer one would mean that a
/// clock was set back.
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
    // A delegation that is issued after this command must not fall into the second that stays revoked.
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
        ("still revoked", format!("everything issued before {until}, and its sessions")),
        ("revocation feed", feed),
    ];
    print::pairs(context, &pairs, &value);
    Ok(())
}
