//! `sublet call`: prove one call.

use std::path::PathBuf;

use serde_json::json;
use sublet_core::base::json::Json;
use sublet_core::refusal::Malformed;
use sublet_proto::convert::field;

use crate::actor::{Actor, write_line};
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Prove one call by the holder of a token.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The holder's directory
    #[arg(long = "as", value_name = "DIR")]
    as_: PathBuf,
    /// The token held
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    #[command(flatten)]
    call: CallArgs,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// One call.
#[derive(clap::Args)]
pub(crate) struct CallArgs {
    /// The tool
    #[arg(long, value_name = "URI")]
    pub(crate) audience: String,
    /// What it shall do
    #[arg(long, value_name = "NAME")]
    pub(crate) action: String,
    /// An argument: k=text, or k:=JSON; repeat for more
    #[arg(long = "arg", value_name = "K=V")]
    args: Vec<String>,
}

impl CallArgs {
    /// Refuses to sign for a broker: a proof of such a call is one of the SDK and of the other commands, and
    /// whoever asks for it by hand was told to.
    pub(crate) fn check_audience(&self) -> Result<(), CliError> {
        if self.audience.starts_with("sublet:") {
            return Err(CliError::usage(format!(
                "{} is the name of a broker, and a proof for it is never handed out: whoever has it acts \
                 there as you; name a tool, or another agent",
                self.audience
            )));
        }
        Ok(())
    }

    /// The arguments as canonical JSON.
    pub(crate) fn json(&self) -> Result<String, CliError> {
        let member = |text: &String| -> Result<(String, Json), CliError> {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                CliError::usage(format!(
                    "{text:?} is no argument: --arg name=text or --arg name:=JSON"
                ))
            })?;
            match name.strip_suffix(':') {
                None => Ok((name.to_owned(), Json::Str(value.to_owned()))),
                Some(name) => {
                    let json = Json::parse(value.as_bytes());
                    let json = json.map_err(|bad| field("arg", format!("{name}: {bad}")))?;
                    Ok((name.to_owned(), json))
                }
            }
        };
        let members = self.args.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        let object = Json::object(members)
            .map_err(sublet_core::evidence::call::BadArguments::from)
            .map_err(Malformed::from)?;
        Ok(String::from_utf8_lossy(&object.canonical()).into_owned())
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    args.call.check_audience()?;
    let held = Actor::load(&args.as_, context)?.open(&args.token, context, false).await?;
    let json = args.call.json()?;
    let proof = held.prove(&args.call.audience, &args.call.action, &json)?;
    write_line(&args.out, &proof.to_text())?;
    let file = args.out.display().to_string();
    let value = json!({"hop": held.id().to_string(), "arguments": json, "file": file});
    let pairs = [
        ("holder", held.holder().to_string()),
        ("call", format!("{} at {}", args.call.action, args.call.audience)),
        ("arguments", json),
        ("good for", "30 seconds, once".to_owned()),
        ("file", file),
    ];
    print::pairs(context, &pairs, &value);
    Ok(())
}
