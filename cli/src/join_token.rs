//! Join tokens: they are secrets that are shown once.
//!
//! Invariants: a join token is written only to a new file, which only its owner can read.

use std::path::Path;

use serde_json::json;
use sublet_client::files;
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Checks that a join token can be written to `out` before the broker makes it. Fails where a file is there
/// already, or where none can be created.
pub(crate) fn check_out(out: Option<&Path>) -> Result<(), CliError> {
    let Some(out) = out else { return Ok(()) };
    files::create_new(out, b"")?;
    Ok(files::remove(out)?)
}

/// Writes a join token to a new file that only its owner can read.
pub(crate) fn write(out: &Path, token: &str) -> Result<(), CliError> {
    Ok(files::create_new(out, format!("{token}\n").as_bytes())?)
}

/// Writes the join token of an answer to `out`, or prints it where `out` is `None`.
pub(crate) fn hand_over(
    context: &Context,
    out: Option<&Path>,
    answer: &v1::JoinTokenResponse,
) -> Result<(), CliError> {
    let (id, expires) = (&answer.join_token_id, print::utc_ms(answer.expires_at_ms));
    if let Some(out) = out {
        write(out, &answer.join_token)?;
        let file = out.display().to_string();
        let value = json!({"join_token_id": id, "expires": expires, "file": file});
        print::pairs(context, &[("join token", file), ("valid once, until", expires)], &value);
    } else if context.json() {
        print::json(&json!({
            "join_token": answer.join_token,
            "join_token_id": id,
            "expires": expires,
        }));
    } else {
        crate::print::line!("{}", answer.join_token);
        eprintln!("note: valid once, until {expires}; give it to the agent in a file or on stdin");
    }
    Ok(())
}
