//! Evidence bundles: writing one, and verifying one offline.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use sublet_client::audit::bundle::{self, Bundle, Manifest};
use sublet_client::audit::history::History;
use sublet_client::audit::published::checkpoint_keys;
use sublet_client::audit::records;
use sublet_client::files;
use sublet_client::trust::Trust;
use sublet_core::base::text::base64url;

use super::against::{Against, INCOMPLETE, INVALID, found};
use super::report;
use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Writes the whole ledger to one file: records, payloads, checkpoint, keys and derived reports.
pub(crate) async fn export(out: &Path, context: &Context) -> Result<(), CliError> {
    let (broker, admin, trust) = (context.broker().await?, context.admin()?, context.trust()?);
    let path = context.trust.as_deref().unwrap_or(Path::new("trust.json"));
    let trust_text = files::read(path)?;
    let ledger = records::read_raw(&broker, &admin).await?;
    let history = History::of(ledger.understand(&trust)?, &trust, None);
    let keys = checkpoint_keys(&trust.current());
    let manifest = bundle::write(out, &ledger, &trust_text, report::views(&history)?, &keys)?;
    let pairs = [
        ("bundle", out.display().to_string()),
        ("ledger", manifest.origin.clone()),
        ("records", manifest.records.to_string()),
        ("root", manifest.root.clone()),
    ];
    let value = json!({
        "bundle": out.display().to_string(),
        "origin": manifest.origin,
        "records": manifest.records,
        "root": manifest.root,
    });
    print::pairs(context, &pairs, &value);
    Ok(())
}

/// Verifies a bundle with the keys of the trust bundle alone, and makes every decision in it again.
pub(crate) fn verify(
    path: &Path,
    against: &Against,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let trust = context.trust()?;
    let checked = Bundle::open(path, &checkpoint_keys(&trust.current())).and_then(|bundle| {
        let there = bundle.check_records()?;
        Ok((bundle, there))
    });
    let (bundle, there) = match checked {
        Ok(checked) => checked,
        Err(failure) => return found(failure),
    };
    if let Some(code) =
        against.contradicted(path, &bundle.witnessed(), &|kept| bundle.against(kept))?
    {
        return Ok(code);
    }
    if bundle.can_be_replayed() {
        return replayed(&bundle, &trust, context);
    }
    Ok(large(&bundle.manifest, there, context))
}

/// A valid bundle that is too large for its decisions to be made again.
fn large(manifest: &Manifest, there: u64, context: &Context) -> ExitCode {
    let detail = "not replayed: the bundle is too large; replay one delegation at a time";
    let value = json!({
        "origin": manifest.origin,
        "records": manifest.records,
        "root": manifest.root,
        "without_their_records": manifest.records - there,
        "decisions": detail,
    });
    let pairs = [
        ("ledger", manifest.origin.clone()),
        ("records", manifest.records.to_string()),
        ("root", manifest.root.clone()),
        ("decisions", detail.to_owned()),
    ];
    print::pairs(context, &pairs, &value);
    ExitCode::from(INCOMPLETE)
}

/// A valid bundle, with every decision in it made again.
fn replayed(bundle: &Bundle, trust: &Trust, context: &Context) -> Result<ExitCode, CliError> {
    let records = match bundle.records(trust) {
        Ok(records) => records,
        Err(failure) => return found(failure),
    };
    let manifest = bundle.manifest.clone();
    let root = base64url(records.head.root);
    let history = History::of(records, trust, None);
    let complete = history.completeness();
    let again = |word: &str| history.uses.iter().filter(|used| used.again.name() == word).count();
    let (reproduced, diverged, not_shown) =
        (again("reproduced"), again("diverged"), again("not_shown"));
    let value = json!({
        "origin": manifest.origin,
        "records": manifest.records,
        "root": root,
        "delegations": history.delegations.len(),
        "uses": {"reproduced": reproduced, "diverged": diverged, "not_shown": not_shown},
        "not_disclosed": complete.erased,
        "pruned": complete.pruned,
        "problems": complete.delegations,
        "gaps": complete.verifiers,
    });
    let mut pairs = vec![
        ("ledger", manifest.origin),
        ("records", manifest.records.to_string()),
        ("root", root),
        ("delegations", history.delegations.len().to_string()),
        ("uses", format!("{reproduced} reproduced, {diverged} diverged, {not_shown} not shown")),
    ];
    pairs.extend(complete.delegations.iter().map(|problem| ("problem", problem.clone())));
    for (from, to) in &complete.pruned {
        pairs.push(("pruned", format!("records {from} to {to}; their hashes stay")));
    }
    for (tool, gaps) in &complete.verifiers {
        pairs.push((
            "gap",
            format!("{tool} decided uses that are not in the ledger: numbers {gaps:?}"),
        ));
    }
    print::pairs(context, &pairs, &value);
    let whole = complete.erased.is_empty() && complete.pruned.is_empty();
    let incomplete = !whole || not_shown > 0 || !complete.verifiers.is_empty();
    Ok(ExitCode::from(match (complete.delegations.is_empty(), incomplete) {
        (false, false) => INVALID,
        (_, true) => INCOMPLETE,
        (true, false) => 0,
    }))
}
