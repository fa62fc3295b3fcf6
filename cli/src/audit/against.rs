//! What a ledger is compared with: checkpoints that the verifier kept, and those that witnesses cosigned.
//!
//! Owns: reading them, and the exit codes of what is found. Does not own: the comparison
//! (`sublet_client::audit::published`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sublet_client::audit::published::{SignedCheckpoint, checkpoint_keys, witnessed};
use sublet_client::error::Error;
use sublet_client::files;
use sublet_ledger::checkpoint::CheckpointKey;
use sublet_ledger::fork::Fork;
use sublet_ledger::policy::Policy;

use crate::cli_error::CliError;
use crate::context::Context;

/// Exit codes of a verification that did not succeed. docs/FORMATS.
pub(crate) const INCOMPLETE: u8 = 20;
const FORKED: u8 = 30;
pub(crate) const INVALID: u8 = 40;

/// Compares a ledger with checkpoints; returns the proof of a fork where one contradicts it.
type Contradicts<'a> = &'a dyn Fn(&[SignedCheckpoint]) -> Result<Option<Fork>, Error>;

/// What a ledger is compared with.
pub(crate) struct Against {
    kept: Vec<SignedCheckpoint>,
    policy: Option<Policy>,
    keys: Vec<CheckpointKey>,
}

impl Against {
    /// Reads the files of checkpoints and of a witness policy (C2SP tlog-policy). A checkpoint must be signed
    /// by a ledger key of the trust bundle.
    pub(crate) fn read(
        checkpoints: &[PathBuf],
        policy: Option<&Path>,
        context: &Context,
    ) -> Result<Self, CliError> {
        let keys = checkpoint_keys(&context.trust()?.current());
        let kept = kept_checkpoints(checkpoints, &keys)?;
        let read = |path: &Path| {
            let policy = Policy::parse(&files::read_text(path)?);
            policy.map_err(|bad| CliError::local(format!("{}: {bad}", path.display())))
        };
        Ok(Against { kept, policy: policy.map(read).transpose()?, keys })
    }

    /// Returns the exit code when the ledger at `path` does not extend a checkpoint, or lacks one that enough
    /// witnesses cosigned; `None` when it holds. The proof of a fork is written beside `path`.
    pub(crate) fn contradicted(
        &self,
        path: &Path,
        cosigned: &[u8],
        against: Contradicts<'_>,
    ) -> Result<Option<ExitCode>, CliError> {
        let mut kept = self.kept.clone();
        if let Some(policy) = &self.policy {
            match witnessed(cosigned, policy, &self.keys) {
                Ok((head, _)) => kept.push(head),
                Err(failure) => return found(failure).map(Some),
            }
        }
        let fork = match against(&kept) {
            Ok(None) => return Ok(None),
            Ok(Some(fork)) => fork,
            Err(failure) => return found(failure).map(Some),
        };
        let mut proof = path.as_os_str().to_owned();
        proof.push(".fork");
        let proof = PathBuf::from(proof);
        files::replace(&proof, &fork.encode())?;
        let detail = format!(
            "forked: the ledger does not extend a checkpoint that its broker signed; the proof is written to {}",
            proof.display()
        );
        found(Error::local("ledger_forked", detail)).map(Some)
    }
}

/// Prints what was found wrong with a ledger and returns its exit code. Another failure is returned as it is.
pub(crate) fn found(failure: Error) -> Result<ExitCode, CliError> {
    let code = match failure.code().as_str() {
        "ledger_incomplete" => INCOMPLETE,
        "ledger_forked" => FORKED,
        "ledger_invalid" => INVALID,
        _ => return Err(failure.into()),
    };
    eprintln!("{} [{}]", failure.message(), failure.code());
    Ok(ExitCode::from(code))
}

/// Reads checkpoints that the verifier kept. Each must be signed by one of `keys`.
pub(crate) fn kept_checkpoints(
    paths: &[PathBuf],
    keys: &[CheckpointKey],
) -> Result<Vec<SignedCheckpoint>, CliError> {
    let head = |path: &PathBuf| {
        let head = SignedCheckpoint::open(files::read(path)?, keys);
        head.map_err(|bad| CliError::local(format!("{}: {bad}", path.display())))
    };
    paths.iter().map(head).collect()
}
