//! How a refusal of an offline decision is printed.

use std::process::ExitCode;

use serde_json::json;
use sublet_core::refusal::Refusal;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Prints a refusal as JSON with exit code 2 where the output is JSON; else returns it as an error.
pub(crate) fn denied(refusal: Refusal, context: &Context) -> Result<ExitCode, CliError> {
    match refusal {
        Refusal::Deny(_) | Refusal::Unauthenticated(_) if context.json() => {
            print::json(
                &json!({"verdict": "denied", "code": refusal.code(), "says": refusal.to_string()}),
            );
            Ok(ExitCode::from(2))
        }
        refusal => Err(refusal.into()),
    }
}
