//! One call as flags say it: `--audience`, `--action`, `--arg`.

use sublet_core::base::json::Json;
use sublet_core::refusal::Malformed;
use sublet_proto::convert::field;

use crate::cli_error::CliError;

/// One call to a tool.
#[derive(clap::Args)]
pub(crate) struct CallArgs {
    /// URI of the service that is called, such as tool://files
    #[arg(long, value_name = "URI")]
    pub(crate) audience: String,
    /// Action that is asked for, such as fs.read
    #[arg(long, value_name = "NAME")]
    pub(crate) action: String,
    /// Argument of the call: k=text, or k:=JSON; may be given more than once
    #[arg(long = "arg", value_name = "K=V")]
    args: Vec<String>,
}

impl CallArgs {
    /// Refuses an audience that is a broker. The SDK and the other commands sign such proofs for the calls that
    /// they make; a person who signs one by hand was tricked into it.
    pub(crate) fn check_audience(&self) -> Result<(), CliError> {
        if self.audience.starts_with("sublet:") {
            return Err(CliError::usage(format!(
                "{} is the name of a broker; a proof for a broker is not made, because its bearer could act \
                 there as you. Name a tool or another agent",
                self.audience
            )));
        }
        Ok(())
    }

    /// Returns the arguments as canonical JSON (RFC 8785).
    pub(crate) fn json(&self) -> Result<String, CliError> {
        let member = |text: &String| -> Result<(String, Json), CliError> {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                CliError::usage(format!(
                    "{text:?} is not an argument: expected --arg name=text or --arg name:=JSON"
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
