//! How an identity is printed: the agent, its key, its directory and its end.

use serde_json::{Value, json};
use sublet_client::agent::identity::Identity;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Prints an identity.
pub(crate) fn show(context: &Context, identity: &Identity) -> Result<(), CliError> {
    let (pairs, value) = described(identity);
    print::pairs(context, &pairs, &value);
    Ok(())
}

/// Returns an identity as the pairs of a table and as a JSON object.
pub(crate) fn described(identity: &Identity) -> (Vec<(&'static str, String)>, Value) {
    let (id, key) =
        (identity.id().to_string(), identity.token().holder_key().thumbprint().to_string());
    let (directory, until) =
        (identity.directory().path().display().to_string(), print::utc(identity.expires()));
    let value = json!({"agent": id, "key": key, "directory": directory, "identity_expires": until});
    let pairs = [("agent", id), ("key", key), ("directory", directory), ("valid until", until)];
    (pairs.into(), value)
}
