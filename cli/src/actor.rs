//! The actor of a command: `--as DIR`, the directory of an agent's identity or of a helper's key.

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

/// An enrolled agent, or a helper.
pub(crate) enum Actor {
    /// The identity of an enrolled agent.
    Agent(Identity),
    /// The key of a helper, made by `sublet key create`.
    Helper(Arc<SecretKey>),
}

impl Actor {
    /// Loads the identity or the key in `directory`. Fails where it holds neither.
    pub(crate) fn load(directory: &Path, context: &Context) -> Result<Self, CliError> {
        if directory.join("agent.toml").exists() {
            return Ok(Actor::Agent(Identity::load(directory)?));
        }
        let key = directory.join("key.pem");
        if !key.exists() {
            let detail = format!(
                "{} holds neither an identity nor a key.pem: run `sublet agent enroll` for an agent, or `sublet \
                 key create` for a helper",
                directory.display()
            );
            return Err(CliError::local(detail));
        }
        Ok(Actor::Helper(Arc::new(files::read_key(&key, &context.key_lock()?)?)))
    }

    /// Returns the identity. A helper has none, which is a usage error.
    pub(crate) fn identity(self) -> Result<Identity, CliError> {
        match self {
            Actor::Agent(identity) => Ok(identity),
            Actor::Helper(_) => Err(CliError::usage(
                "this command needs an enrolled agent, but the directory of --as holds a helper's key",
            )),
        }
    }

    /// Opens a token that this actor holds. With `online`, a helper's delegation is connected to the broker.
    pub(crate) async fn open(
        &self,
        token: &Path,
        context: &Context,
        online: bool,
    ) -> Result<Delegation, CliError> {
        let text = files::read_text(token)?;
        match self {
            Actor::Agent(identity) => match identity.open(&text) {
                // The broker may sign with a key that is newer than the agent's copy of the trust bundle.
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

/// Returns the broker and the credential to call it with: that of `as_`, or the admin's. A helper needs its
/// `token`.
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
        (Actor::Helper(_), None) => Err(CliError::usage("a helper needs its token: --token FILE")),
    }
}

/// Writes a token or a proof atomically to a file that only its owner can read.
pub(crate) fn write_line(path: &Path, text: &str) -> Result<(), CliError> {
    Ok(files::replace(path, format!("{text}\n").as_bytes())?)
}

/// Returns the credential to read the revocation feed with: that of `as_`, else the admin's where its key is
/// set, else `None`, which a broker in `--dev` accepts.
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
