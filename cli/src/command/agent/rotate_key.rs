//! `sublet agent rotate-key`: a new key for an agent, and an end for what its old keys hold.

use std::path::PathBuf;

use serde_json::{Value, json};
use sublet_client::agent::identity::{EndedKeys, Identity};

use crate::actor::Actor;
use crate::cli_error::CliError;
use crate::context::Context;
use crate::{identity_print, print};

/// Replace an agent's key
///
/// Tools accept what was delegated to the old key until it expires. If the old key may have leaked, add
/// --revoke-old: it revokes the old key and all earlier keys, with every recorded hop that they hold.
///
/// Example: sublet agent rotate-key --as planner --revoke-old --reason "laptop stolen"
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the identity
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// Also revoke the old key and all earlier keys, with everything that they hold
    #[arg(long)]
    revoke_old: bool,
    /// Reason for the revocation, for the record
    #[arg(long, default_value = "", requires = "revoke_old")]
    reason: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let identity = Actor::load(&args.as_, context)?.identity()?;
    identity.rotate_key().await?;
    if !args.revoke_old {
        return identity_print::show(context, &identity);
    }
    let ended = identity.revoke_former_keys(&args.reason).await.inspect_err(|_| {
        eprintln!(
            "the key was replaced, but the old keys are still valid: they could not be revoked. Run \
             `sublet agent rotate-key --revoke-old` again. The cause:"
        );
    })?;
    show(context, &identity, &ended)
}

/// Prints the identity and what was revoked with the former keys.
fn show(context: &Context, identity: &Identity, ended: &EndedKeys) -> Result<(), CliError> {
    let (mut pairs, mut value) = identity_print::described(identity);
    let keys: Vec<String> = ended.keys.iter().map(ToString::to_string).collect();
    let hops = format!("{}, and every hop below them", ended.hops);
    pairs.extend(
        keys.iter().map(|key| ("revoked key", key.clone())).chain([("revoked hops", hops)]),
    );
    if let Value::Object(members) = &mut value {
        members.insert("revoked".to_owned(), json!(keys));
        members.insert("hops_ended".to_owned(), json!(ended.hops));
        members.insert("keys_left".to_owned(), json!(ended.left));
    }
    print::pairs(context, &pairs, &value);
    if ended.left > 0 {
        eprintln!(
            "note: {} older keys are still valid, because an agent may revoke only a limited number of \
             keys a week. The admin can revoke them: sublet revoke key THUMBPRINT",
            ended.left
        );
    }
    Ok(())
}
