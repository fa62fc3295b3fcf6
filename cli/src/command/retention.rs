//! `sublet audit prune | hold | release | retention`: what of the ledger is kept.

use serde_json::json;
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Gives up the records below an index.
pub(crate) async fn prune(below: u64, context: &Context) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let request = v1::PruneRequest { below, idempotency_key: Vec::new() };
    let below = broker.prune(&admin, request).await?.below;
    let pairs = [("given up", format!("records below {below}, but for those under a hold"))];
    print::pairs(context, &pairs, &json!({"below": below}));
    Ok(())
}

/// Keeps records, whatever is given up.
pub(crate) async fn hold(
    name: String,
    from: u64,
    to: Option<u64>,
    reason: String,
    context: &Context,
) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let held = held(from, to);
    let request = v1::CreateLegalHoldRequest {
        name: name.clone(),
        from,
        to,
        reason,
        idempotency_key: Vec::new(),
    };
    broker.create_legal_hold(&admin, request).await?;
    let value = json!({"hold": name, "from": from, "to": to});
    print::pairs(context, &[("hold", name), ("keeps", held)], &value);
    Ok(())
}

/// Lets a hold go.
pub(crate) async fn release(
    name: String,
    reason: String,
    context: &Context,
) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let request =
        v1::RemoveLegalHoldRequest { name: name.clone(), reason, idempotency_key: Vec::new() };
    broker.remove_legal_hold(&admin, request).await?;
    let value = json!({"released": name});
    print::pairs(context, &[("released", name)], &value);
    Ok(())
}

/// What is kept and what is held.
pub(crate) async fn show(context: &Context) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let kept = broker.retention(&admin, v1::GetRetentionRequest {}).await?;
    let hold = |hold: &v1::Hold| json!({"name": hold.name, "from": hold.from, "to": hold.to, "placed_at_ms": hold.placed_at_ms});
    let value = json!({
        "below": kept.below,
        "holds": kept.holds.iter().map(hold).collect::<Vec<_>>(),
    });
    let mut pairs = vec![("given up", format!("records below {}", kept.below))];
    for hold in &kept.holds {
        let at = print::utc_ms(hold.placed_at_ms);
        pairs.push(("hold", format!("{}, since {at}: {}", hold.name, held(hold.from, hold.to))));
    }
    print::pairs(context, &pairs, &value);
    Ok(())
}

fn held(from: u64, to: Option<u64>) -> String {
    match to {
        Some(to) => format!("records {from} to {}", to.saturating_sub(1)),
        None => format!("records from {from} on"),
    }
}
