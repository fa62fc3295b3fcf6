//! Who acts in a command: `--as DIR`, the directory of an identity or of a helper's key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sublet_client::agent::delegation::Delegation;
use sublet_client::agent::identity::Identity;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Caller as _;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_core::base::sign::SecretKey;

use crate::cli_error::CliError;
use crate::context::Context;

/// An enrolled agent, or a helper that has a key and a token.
pub(crate) enum Actor {
    /// An agent's identity.
    Agent(Identity),
    /// A helper's key, made by `sublet key create`.
    Helper(Arc<SecretKey>),
}

impl Actor {
    /// Loads what the directory holds.
    pub(crate) fn load(directory: &Path, context: &Context) -> Result<Self, CliError> {
        if directory.join("agent.toml").exists() {
            return Ok(Actor::Agent(Identity::load(directory)?));
        }
        let key = directory.join("key.pem");
        if !key.exists() {
            let detail = format!(
                "{} holds no identity and no key.pem: enrol, or make a key for a helper",
                directory.display()
            );
            return Err(CliError::local(detail));
        }
        Ok(Actor::Helper(Arc::new(files::read_key(&key, &context.key_lock()?)?)))
    }

    /// The identity; a helper has none.
    pub(crate) fn identity(self) -> Result<Identity, CliError> {
        match self {
            Actor::Agent(identity) => Ok(identity),
            Actor::Helper(_) => Err(CliError::usage(
                "this needs an enrolled agent, and the directory holds a helper's key",
            )),
        }
    }

    /// Opens a token that this actor holds. `online` gives it a broker to ask.
    pub(crate) async fn open(
        &self,
        token: &Path,
        context: &Context,
        online: bool,
    ) -> Result<Delegation, CliError> {
        let text = files::read_text(token)?;
        match self {
            Actor::Agent(identity) => match identity.open(&text) {
                // A root that was made after this agent heard of roots last.
                Err(refusal)
                    if refusal.code() == "unknown_key"
                        && identity.refresh_trust().await.is_ok() =>
                {
                    Ok(identity.open(&text)?)
                }
                opened => Ok(opened?),
            },
            Actor::Helper(key) => {
                let held = Delegation::open(&text, key.clone(), &context.trust()?)?;
                Ok(if online { held.with_broker(context.broker().await?) } else { held })
            }
        }
    }
}

/// Who asks the broker: the admin, or `--as DIR`, a helper with its token.
pub(crate) async fn caller(
    context: &Context,
    as_: Option<&PathBuf>,
    token: Option<&PathBuf>,
) -> Result<(Broker, Credential), CliError> {
    let Some(directory) = as_ else {
        return Ok((context.broker().await?, context.admin()?));
    };
    match (Actor::load(directory, context)?, token) {
        (Actor::Agent(identity), _) => Ok((identity.broker()?.clone(), identity.credential()?)),
        (actor @ Actor::Helper(_), Some(token)) => {
            let held = actor.open(token, context, false).await?;
            Ok((context.broker().await?, held.as_caller()))
        }
        (Actor::Helper(_), None) => Err(CliError::usage("a helper shows its token: --token FILE")),
    }
}

/// Writes a token or proof, whole, for its owner alone.
pub(crate) fn write_line(path: &Path, text: &str) -> Result<(), CliError> {
    Ok(files::replace(path, format!("{text}\n").as_bytes())?)
}

/// Who watches the feed: `--as DIR`, else the admin where its key is set, else nobody, which is
/// enough for a broker in `--dev`.
pub(crate) fn watcher(
    context: &Context,
    as_: Option<&PathBuf>,
) -> Result<Option<Credential>, CliError> {
    match as_ {
        Some(directory) => {
            let identity = Actor::load(directory, context)?.identity()?;
            Ok(Some(identity.credential()?))
        }
        None if context.admin_key.is_some() => Ok(Some(context.admin()?)),
        None => Ok(None),
    }
}
