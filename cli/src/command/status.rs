//! `sublet status`: counters, ledger, feed and keys of the broker.

use serde_json::json;
use sublet_core::base::text::base64url;
use sublet_proto::v1;

use super::trust::{KEY_HEADS, key_rows};
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Prints the state of the broker.
pub(crate) async fn run(context: &Context) -> Result<(), CliError> {
    let status = context.broker().await?.status(&context.admin()?, v1::GetStatusRequest {}).await?;
    let root = base64url(&status.ledger_root);
    let feed = format!("{}/{}", status.revocation_epoch, status.revocation_sequence);
    let (rows, keys) = key_rows(&status.keys);
    let value = json!({
        "trust_domain": status.trust_domain,
        "agents": status.agents,
        "delegations": status.delegations,
        "hops": status.hops,
        "ledger_size": status.ledger_size,
        "ledger_root": root,
        "revocation_epoch": status.revocation_epoch,
        "revocation_sequence": status.revocation_sequence,
        "uptime_ms": status.uptime_ms,
        "store": status.store,
        "unauthenticated_calls": status.unauthenticated_calls,
        "trust_version": status.trust_version,
        "trust_expires": print::utc_ms(status.trust_expires_ms),
        "keys": keys,
    });
    let pairs = [
        ("trust domain", status.trust_domain),
        ("agents", status.agents.to_string()),
        ("delegations", status.delegations.to_string()),
        ("live hops", status.hops.to_string()),
        ("ledger", format!("{} records, root {root}", status.ledger_size)),
        ("revocation feed", feed),
        ("uptime", format!("{} s", status.uptime_ms / 1000)),
        ("store", status.store),
        ("unauthenticated calls", status.unauthenticated_calls.to_string()),
        (
            "trust bundle",
            format!(
                "version {}, valid until {}",
                status.trust_version,
                print::utc_ms(status.trust_expires_ms)
            ),
        ),
    ];
    print::pairs(context, &pairs, &value);
    if !context.json() {
        print::line!("");
        print::rows(context, &KEY_HEADS, &rows, &value);
    }
    Ok(())
}
