//! The signed checkpoint of a ledger and the keys that sign it.

use std::path::PathBuf;

use serde_json::json;
use sublet_client::audit::published::checkpoint_keys;
use sublet_core::base::text::base64url;
use sublet_ledger::checkpoint::Checkpoint;
use sublet_proto::v1;

use crate::actor::{Actor, caller};
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Prints the broker's current checkpoint, or the last one that enough witnesses cosigned.
pub(crate) async fn show(
    as_: Option<PathBuf>,
    witnessed: bool,
    context: &Context,
) -> Result<(), CliError> {
    let (broker, who) = caller(context, as_.as_ref(), None).await?;
    let trust = match &as_ {
        Some(directory) => Actor::load(directory, context)?.identity()?.trust().clone(),
        None => context.trust()?,
    };
    let answer = broker.checkpoint(&who, v1::GetCheckpointRequest {}).await?;
    let note = if witnessed { answer.witnessed } else { answer.checkpoint };
    if note.is_empty() {
        let detail = "no checkpoint has been cosigned by enough witnesses yet; `sublet audit checkpoint` \
                      without --witnessed prints the broker's own";
        return Err(CliError::local(detail));
    }
    let head = Checkpoint::open(&note, &checkpoint_keys(&trust.current())).map_err(|bad| {
        CliError::local(format!("the checkpoint that the broker sent is not valid: {bad}"))
    })?;
    let text = String::from_utf8_lossy(&note);
    if context.json() {
        print::json(&json!({
            "origin": head.origin,
            "size": head.size,
            "root": base64url(head.root),
            "checkpoint": text,
        }));
    } else {
        print::text(text.trim_end());
    }
    Ok(())
}

/// Prints the keys that sign checkpoints, one a line.
pub(crate) fn show_keys(context: &Context) -> Result<(), CliError> {
    let keys = checkpoint_keys(&context.trust()?.current());
    let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
    if context.json() {
        print::json(&json!({"keys": texts}));
    } else {
        texts.iter().for_each(|text| print::text(text));
    }
    Ok(())
}
