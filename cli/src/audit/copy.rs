//! Copies of the ledger in a directory, and proofs that a ledger forked.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use sublet_client::audit::mirror::{Mirror, Mirrored};
use sublet_client::audit::published::{Published, WITNESSED, checkpoint_keys, in_directory};
use sublet_client::error::Error;
use sublet_client::files;
use sublet_core::base::text::base64url;
use sublet_ledger::fork::{FORK, Fork};

use super::against::{Against, INCOMPLETE, found};
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Extends the copy in `directory` to the broker's current checkpoint; makes the copy where there is none.
pub(crate) async fn mirror(directory: &Path, context: &Context) -> Result<ExitCode, CliError> {
    let (broker, admin, trust) = (context.broker().await?, context.admin()?, context.trust()?);
    let mut mirror = match Mirror::open(directory, &trust) {
        Ok(mirror) => mirror,
        Err(failure) => return found(failure),
    };
    match mirror.pull(&broker, &admin).await {
        Ok(copy) => {
            show(context, directory, &copy);
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => found(failure),
    }
}

/// Verifies the copy in `directory`, offline.
pub(crate) fn verify(
    directory: &Path,
    against: &Against,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let source = in_directory(directory);
    let copy = match Published::verify(&source, &checkpoint_keys(&context.trust()?.current())) {
        Ok(copy) => copy,
        Err(failure) => return found(failure),
    };
    let cosigned = std::fs::read(directory.join(WITNESSED)).unwrap_or_default();
    let contradicted =
        against.contradicted(directory, &cosigned, &|kept| copy.against(&source, kept));
    if let Some(code) = contradicted? {
        return Ok(code);
    }
    let pruned = copy.pruned;
    show(context, directory, &Mirrored { head: copy.signed.head, new: 0, pruned });
    Ok(ExitCode::from(if pruned > 0 { INCOMPLETE } else { 0 }))
}

/// Whether a file begins as the proof of a fork does.
pub(crate) fn is_fork(path: &Path) -> bool {
    let mut begin = [0; FORK.len()];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == FORK.as_bytes()
}

/// Verifies the proof that a ledger forked. The exit code is 30 for a valid proof, 40 for another.
pub(crate) fn verify_fork(path: &Path, context: &Context) -> Result<ExitCode, CliError> {
    let keys = checkpoint_keys(&context.trust()?.current());
    match Fork::decode(&files::read(path)?).and_then(|fork| fork.verify(&keys)) {
        Ok((smaller, larger)) => {
            let detail = format!(
                "forked: {} signed two checkpoints that contradict each other: one of {} records, one of {} \
                 records",
                smaller.origin, smaller.size, larger.size
            );
            found(Error::local("ledger_forked", detail))
        }
        Err(refusal) => found(Error::local("ledger_invalid", refusal.to_string())),
    }
}

fn show(context: &Context, directory: &Path, copy: &Mirrored) {
    let mut pairs = vec![
        ("copy", directory.display().to_string()),
        ("ledger", copy.head.origin.clone()),
        ("records", copy.head.size.to_string()),
        ("root", base64url(copy.head.root)),
    ];
    if copy.new > 0 {
        pairs.push(("new records", copy.new.to_string()));
    }
    if copy.pruned > 0 {
        pairs.push((
            "pruned",
            format!("{} records, of which only the hashes are here", copy.pruned),
        ));
    }
    let value = json!({
        "origin": copy.head.origin,
        "records": copy.head.size,
        "root": base64url(copy.head.root),
        "new": copy.new,
        "pruned": copy.pruned,
    });
    print::pairs(context, &pairs, &value);
}
