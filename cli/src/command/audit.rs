//! `sublet audit …`: the signed head, copies of the ledger; replays are in `replay`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use sublet_client::audit::mirror::{Mirror, Mirrored};
use sublet_client::audit::published::{Published, WITNESSED, head_keys, in_directory};
use sublet_client::error::Error;
use sublet_client::files;
use sublet_core::base::text::base64url;
use sublet_ledger::checkpoint::Checkpoint;
use sublet_ledger::fork::{FORK, Fork};
use sublet_proto::v1;

use crate::actor::{Actor, caller};
use crate::cli_error::CliError;
use crate::command::against::{Against, INCOMPLETE, found};
use crate::command::{evidence, replay, retention};
use crate::context::Context;
use crate::print;
use crate::sure::Sure;

/// Audit.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Replay what happened: one delegation, or the whole ledger with every decision made again
    Replay(Box<replay::Args>),
    /// Print the signed head of the ledger; keep it, and nobody rewrites what it covers
    Checkpoint {
        /// Who asks: an identity; else the admin
        #[arg(long = "as", value_name = "DIR")]
        as_: Option<PathBuf>,
        /// The last one that enough witnesses cosigned
        #[arg(long)]
        witnessed: bool,
    },
    /// Print the keys that sign heads of the ledger, as witnesses and public tools read them
    Key,
    /// Keep a copy of the ledger that verifies without the broker (admin)
    Mirror {
        /// The copy; made when it is not there
        directory: PathBuf,
    },
    /// Erase what lies beside a record; the record and its proofs stay, and so does the erasure (admin)
    Erase {
        /// The record's index
        index: u64,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Give up the records below an index; their hashes stay, and what is under a hold (admin)
    Prune {
        /// The first index that is kept
        #[arg(long, value_name = "INDEX")]
        below: u64,
        #[command(flatten)]
        sure: Sure,
    },
    /// Keep records, whatever is given up or asked to be erased (admin)
    Hold {
        /// Its name: 1 to 63 of a-z 0-9 -
        name: String,
        /// The first record that it keeps
        #[arg(long, value_name = "INDEX")]
        from: u64,
        /// The first record behind it; else all that is still to come
        #[arg(long, value_name = "INDEX")]
        to: Option<u64>,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Let a hold go (admin)
    Release {
        /// The hold's name
        name: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Show what is kept and what is held (admin)
    Retention,
    /// Write the whole ledger into one file that verifies anywhere (admin)
    Export {
        /// The bundle
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check a bundle, a copy or the proof of a fork, offline: 0 verified, 20 incomplete, 30 forked, 40
    /// invalid
    Verify {
        /// The file of a bundle or a proof, or the directory of a copy
        path: PathBuf,
        /// A signed head that was kept elsewhere; may be given again
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// Which witnesses are enough (C2SP tlog-policy); a head that they cosigned must be there
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, CliError> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Replay(args) => replay::run(*args, context).await.map(done),
        Command::Checkpoint { as_, witnessed } => {
            checkpoint(as_, witnessed, context).await.map(done)
        }
        Command::Key => key(context).map(done),
        Command::Mirror { directory } => mirror(&directory, context).await,
        Command::Erase { index, reason, sure } => {
            sure.check(&format!("what lies beside record {index} is gone"))?;
            erase(index, reason, context).await.map(done)
        }
        Command::Prune { below, sure } => {
            sure.check(&format!("the records below {below} are gone, but for what a hold keeps"))?;
            retention::prune(below, context).await.map(done)
        }
        Command::Hold { name, from, to, reason } => {
            retention::hold(name, from, to, reason, context).await.map(done)
        }
        Command::Release { name, reason } => {
            retention::release(name, reason, context).await.map(done)
        }
        Command::Retention => retention::show(context).await.map(done),
        Command::Export { out } => evidence::export(&out, context).await.map(done),
        Command::Verify { path, checkpoints, policy } => {
            let against = Against::read(&checkpoints, policy.as_deref(), context)?;
            if path.is_dir() {
                verify(&path, &against, context)
            } else if is_fork(&path) {
                fork(&path, context)
            } else {
                evidence::verify(&path, &against, context)
            }
        }
    }
}

async fn checkpoint(
    as_: Option<PathBuf>,
    witnessed: bool,
    context: &Context,
) -> Result<(), CliError> {
    let (broker, who) = caller(context, as_.as_ref(), None).await?;
    let trust = match &as_ {
        Some(directory) => Actor::load(directory, context)?.identity()?.trust().clone(),
        None => context.trust()?,
    };
    let heads = broker.checkpoint(&who, v1::GetCheckpointRequest {}).await?;
    let note = if witnessed { heads.witnessed } else { heads.checkpoint };
    if note.is_empty() {
        return Err(CliError::local("no head was cosigned by enough witnesses yet"));
    }
    let head = Checkpoint::open(&note, &head_keys(&trust.current()))
        .map_err(|bad| CliError::local(format!("the checkpoint of the ledger: {bad}")))?;
    let text = String::from_utf8_lossy(&note);
    if context.json() {
        print::json(&json!({
            "origin": head.origin,
            "size": head.size,
            "root": base64url(head.root),
            "checkpoint": text,
        }));
    } else {
        crate::print::line!("{}", text.trim_end());
    }
    Ok(())
}

async fn erase(index: u64, reason: String, context: &Context) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let request = v1::EraseRequest { index, reason, idempotency_key: Vec::new() };
    broker.erase(&admin, request).await?;
    let erased = format!("what lay beside record {index}");
    print::pairs(context, &[("erased", erased)], &json!({"erased": index}));
    Ok(())
}

async fn mirror(directory: &Path, context: &Context) -> Result<ExitCode, CliError> {
    let (broker, admin, trust) = (context.broker().await?, context.admin()?, context.trust()?);
    let mut mirror = match Mirror::open(directory, &trust) {
        Ok(mirror) => mirror,
        Err(failure) => return found(failure),
    };
    match mirror.pull(&broker, &admin).await {
        Ok(copy) => {
            show_copy(context, directory, &copy);
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => found(failure),
    }
}

/// The keys of the ledger, each with its name.
fn key(context: &Context) -> Result<(), CliError> {
    let keys = head_keys(&context.trust()?.current());
    let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
    if context.json() {
        print::json(&json!({"keys": texts}));
    } else {
        texts.iter().for_each(|text| crate::print::line!("{text}"));
    }
    Ok(())
}

fn verify(directory: &Path, against: &Against, context: &Context) -> Result<ExitCode, CliError> {
    let source = in_directory(directory);
    let copy = match Published::verify(&source, &head_keys(&context.trust()?.current())) {
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
    show_copy(context, directory, &Mirrored { head: copy.signed.head, new: 0, pruned });
    Ok(ExitCode::from(if pruned > 0 { INCOMPLETE } else { 0 }))
}

fn is_fork(path: &Path) -> bool {
    let mut begin = [0; FORK.len()];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == FORK.as_bytes()
}

/// The proof that a ledger signed two histories.
fn fork(path: &Path, context: &Context) -> Result<ExitCode, CliError> {
    let keys = head_keys(&context.trust()?.current());
    match Fork::decode(&files::read(path)?).and_then(|fork| fork.verify(&keys)) {
        Ok((smaller, larger)) => {
            let detail = format!(
                "{} signed two histories: its head over {} records and its head over {} contradict \
                 each other",
                smaller.origin, smaller.size, larger.size
            );
            found(Error::local("ledger_forked", detail))
        }
        Err(refusal) => found(Error::local("ledger_invalid", refusal.to_string())),
    }
}

fn show_copy(context: &Context, directory: &Path, copy: &Mirrored) {
    let mut pairs = vec![
        ("copy", directory.display().to_string()),
        ("ledger", copy.head.origin.clone()),
        ("records", copy.head.size.to_string()),
        ("root", base64url(copy.head.root)),
    ];
    if copy.new > 0 {
        pairs.push(("new", copy.new.to_string()));
    }
    if copy.pruned > 0 {
        pairs.push(("without their records", copy.pruned.to_string()));
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
