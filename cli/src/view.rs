//! The revocation view that an offline decision uses.

use std::path::{Path, PathBuf};

use sublet_client::broker::credential::Caller;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::tool::follow::{self, SharedView};
use sublet_client::trust::Trust;

use crate::actor::watcher;
use crate::cli_error::CliError;
use crate::context::Context;

/// Returns the view of the snapshot file `revocations`; without one, the broker's current view, asked for as
/// `as_` or the admin; without a broker, an empty view, which only a fresh receipt makes good.
pub(crate) async fn of(
    revocations: Option<&Path>,
    as_: Option<&PathBuf>,
    context: &Context,
    trust: &Trust,
) -> Result<SharedView, CliError> {
    if let Some(path) = revocations {
        return Ok(SharedView::from_snapshot(&files::read_text(path)?, trust, &Ports::system())?);
    }
    if context.broker.is_none() {
        return Ok(SharedView::empty(trust.domain()));
    }
    let broker = context.broker().await?;
    let who = watcher(context, as_)?;
    let who = who.as_ref().map(|who| who as &dyn Caller);
    let (view, _) = follow::snapshot(&broker, who, trust).await?;
    Ok(view)
}
