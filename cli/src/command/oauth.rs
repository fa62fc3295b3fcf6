//! `sublet oauth exchange`: a request of an OAuth client to the broker's token endpoint (RFC 8693).

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sublet_client::files;
use sublet_core::base::text::base64url;
use sublet_core::capability::Scope;
use sublet_core::refusal::Malformed;
use sublet_proto::convert::scope_message;

use crate::actor::Actor;
use crate::cli_error::CliError;
use crate::context::{Context, duration, read_secret};
use crate::print;

/// OAuth requests.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Exchange(ExchangeArgs),
}

pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    let Command::Exchange(args) = command;
    exchange(&args, context)
}

/// Prepare a token exchange (RFC 8693) for the broker's /token endpoint
///
/// Writes the form and the signed headers of the request. The subject token is the user's, the actor token is
/// the agent's identity token. Nothing is sent. Send the request within 30 seconds; it is accepted once: curl
/// --data-binary @FORM -H @HEADERS BROKER/token
#[derive(clap::Args)]
pub(crate) struct ExchangeArgs {
    /// Directory of the agent's identity
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// File with the user's token (a JWT of a configured user_issuer), or - for stdin
    #[arg(long, value_name = "FILE|-")]
    user_token: PathBuf,
    /// Capability to ask for, such as 'fs.read@tool://files path=under:/data'; may be given more than once
    #[arg(long, value_name = "SCOPE", required = true)]
    allow: Vec<String>,
    /// Lifetime of the delegation, such as 5m or 2h; the profile limits it
    #[arg(long, default_value = "15m", value_parser = duration)]
    ttl: Duration,
    /// Maximum number of further hops
    #[arg(long, default_value_t = 0)]
    hops: u32,
    /// File for the form body
    #[arg(long, value_name = "FILE")]
    form: PathBuf,
    /// File for the signed headers
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
}

fn exchange(args: &ExchangeArgs, context: &Context) -> Result<(), CliError> {
    let identity = Actor::load(&args.as_, context)?.identity()?;
    let scope = Scope::from_texts(&args.allow).map_err(Malformed::from)?;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .append_pair("subject_token", &read_secret(&args.user_token)?)
        .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
        .append_pair("actor_token", &base64url(identity.token().encode()))
        .append_pair("actor_token_type", "urn:sublet:params:oauth:token-type:identity")
        .append_pair("authorization_details", &details(&scope)?)
        .append_pair("requested_expires_in", &args.ttl.as_secs().to_string())
        .append_pair("hops", &args.hops.to_string())
        .finish();
    let headers = identity.headers_for("/token", form.as_bytes())?;
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    files::replace(&args.form, form.as_bytes())?;
    files::replace(&args.headers, lines.as_bytes())?;
    let (form, headers) = (args.form.display().to_string(), args.headers.display().to_string());
    let post = format!("{}/token", identity.directory().about()?.broker);
    let value = json!({"post": post, "form": form, "headers": headers});
    let pairs = [("post to", post), ("form", form), ("headers", headers)];
    print::pairs(context, &pairs, &value);
    Ok(())
}

/// Returns a scope as rich authorization requests (RFC 9396).
fn details(scope: &Scope) -> Result<String, CliError> {
    let typed = scope_message(scope).into_iter().map(|text| {
        let read: Result<Map<String, Value>, _> = serde_json::from_str(&text);
        let mut detail = read
            .map_err(|error| CliError::local(format!("a capability is not valid JSON: {error}")))?;
        detail.insert("type".to_owned(), json!("sublet_capability"));
        Ok(Value::Object(detail))
    });
    Ok(Value::Array(typed.collect::<Result<_, CliError>>()?).to_string())
}
