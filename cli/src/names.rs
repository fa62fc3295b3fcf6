//! Names as they are typed on the command line, completed with the trust domain.

use sublet_core::base::id::{AgentId, Principal};
use sublet_core::refusal::Malformed;
use sublet_core::state::rows::session::SessionId;
use sublet_proto::convert::field;

use crate::cli_error::CliError;
use crate::context::Context;

/// Returns the agent that `text` names: a full SPIFFE id, or a path in the trust domain of the trust bundle,
/// such as `agent/planner`. A text that is neither is malformed.
pub(crate) fn agent_id(context: &Context, text: &str) -> Result<AgentId, CliError> {
    if text.contains("://") {
        return Ok(text.parse::<AgentId>().map_err(Malformed::from)?);
    }
    Ok(AgentId::parse_in(&context.trust()?.domain(), text).map_err(Malformed::from)?)
}

/// Returns the principal that `text` names: `user:alice@acme.example`, or `user:alice` in the trust domain of
/// the trust bundle. A text that is neither is malformed.
pub(crate) fn principal_name(context: &Context, text: &str) -> Result<Principal, CliError> {
    Ok(Principal::parse_in(&context.trust()?.domain(), text).map_err(Malformed::from)?)
}

/// Returns the id of a session of authority, as `sublet session grant` and `list` print it.
pub(crate) fn session_id(text: &str) -> Result<SessionId, CliError> {
    let id = SessionId::from_text(text);
    let detail = || format!("{text:?} is not a session id; sublet session list prints the ids");
    Ok(id.ok_or_else(|| field("session", detail()))?)
}
