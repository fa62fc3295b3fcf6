//! What the ledger keeps: erasing payloads, pruning records, and the legal holds that prevent both.

use serde_json::{Value, json};
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Erases the payload of the record at `index`.
pub(crate) async fn erase(index: u64, reason: String, context: &Context) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let request = v1::EraseRequest { index, reason, idempotency_key: Vec::new() };
    broker.erase(&admin, request).await?;
    let erased = format!("the payload of record {index}; the record, its hash and its proofs stay");
    print::pairs(context, &[("erased", erased)], &json!({"erased": index}));
    Ok(())
}

/// Prunes the records below `below`, except those under a legal hold.
pub(crate) async fn prune(below: u64, context: &Context) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let request = v1::PruneRequest { below, idempotency_key: Vec::new() };
    let below = broker.prune(&admin, request).await?.below;
    let pairs = [("pruned", format!("records below {below}, except those under a legal hold"))];
    print::pairs(context, &pairs, &json!({"below": below}));
    Ok(())
}

/// Adds a legal hold on the records from `from` up to, but not including, `to`; `None` holds all later ones.
pub(crate) async fn add_hold(
    name: String,
    from: u64,
    to: Option<u64>,
    reason: String,
    context: &Context,
) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let held = range(from, to);
    let request = v1::CreateLegalHoldRequest {
        name: name.clone(),
        from,
        to,
        reason,
        idempotency_key: Vec::new(),
    };
    broker.create_legal_hold(&admin, request).await?;
    let value = json!({"hold": name, "from": from, "to": to});
    print::pairs(context, &[("legal hold", name), ("holds", held)], &value);
    Ok(())
}

/// Removes a legal hold.
pub(crate) async fn remove_hold(
    name: String,
    reason: String,
    context: &Context,
) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let request =
        v1::RemoveLegalHoldRequest { name: name.clone(), reason, idempotency_key: Vec::new() };
    broker.remove_legal_hold(&admin, request).await?;
    let value = json!({"released": name});
    print::pairs(context, &[("removed legal hold", name)], &value);
    Ok(())
}

/// Lists the legal holds.
pub(crate) async fn list_holds(context: &Context) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let kept = broker.retention(&admin, v1::GetRetentionRequest {}).await?;
    let row = |hold: &v1::Hold| {
        vec![hold.name.clone(), range(hold.from, hold.to), print::utc_ms(hold.placed_at_ms)]
    };
    let rows: Vec<_> = kept.holds.iter().map(row).collect();
    let value = Value::Array(kept.holds.iter().map(hold_value).collect());
    print::rows(context, &["LEGAL HOLD", "HOLDS", "ADDED"], &rows, &value);
    Ok(())
}

/// Shows how far the ledger is pruned, and the legal holds.
pub(crate) async fn show(context: &Context) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let kept = broker.retention(&admin, v1::GetRetentionRequest {}).await?;
    let value = json!({
        "below": kept.below,
        "holds": kept.holds.iter().map(hold_value).collect::<Vec<_>>(),
    });
    let pruned = match kept.below {
        0 => "nothing".to_owned(),
        below => format!("records below {below}, except those under a legal hold"),
    };
    let mut pairs = vec![("pruned", pruned)];
    for hold in &kept.holds {
        let at = print::utc_ms(hold.placed_at_ms);
        let text = format!("{}: {}, since {at}", hold.name, range(hold.from, hold.to));
        pairs.push(("legal hold", text));
    }
    print::pairs(context, &pairs, &value);
    Ok(())
}

fn hold_value(hold: &v1::Hold) -> Value {
    json!({"name": hold.name, "from": hold.from, "to": hold.to, "placed_at_ms": hold.placed_at_ms})
}

fn range(from: u64, to: Option<u64>) -> String {
    match to {
        Some(to) => format!("records {from} to {}", to.saturating_sub(1)),
        None => format!("records {from} and all later ones"),
    }
}
