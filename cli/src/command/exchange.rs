//! `sublet exchange`: the request that an OAuth client makes to the broker's token endpoint (RFC 8693).

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

/// Make the token exchange of OAuth for the broker's /token: a form, and headers that prove it, for curl.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The identity's directory
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// The file of the user's own signed token, which is the subject
    #[arg(long, value_name = "FILE|-")]
    user_token: PathBuf,
    /// What for, one capability; repeat for more: 'fs.read@tool://files path=under:/data'
    #[arg(long, value_name = "SCOPE", required = true)]
    allow: Vec<String>,
    /// How long
    #[arg(long, default_value = "15m", value_parser = duration)]
    ttl: Duration,
    /// How many hops may follow
    #[arg(long, default_value_t = 0)]
    hops: u32,
    /// The file of the form to write
    #[arg(long, value_name = "FILE")]
    form: PathBuf,
    /// The file of the headers to write; good once, for 30 seconds
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
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

/// Capabilities as rich authorization requests (RFC 9396).
fn details(scope: &Scope) -> Result<String, CliError> {
    let typed = scope_message(scope).into_iter().map(|text| {
        let read: Result<Map<String, Value>, _> = serde_json::from_str(&text);
        let mut detail = read.map_err(|error| CliError::local(format!("a capability: {error}")))?;
        detail.insert("type".to_owned(), json!("sublet_capability"));
        Ok(Value::Object(detail))
    });
    Ok(Value::Array(typed.collect::<Result<_, CliError>>()?).to_string())
}
