//! `sublet audit …`: the ledger: replay, checkpoints, copies, bundles, retention.

mod replay;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::audit::against::Against;
use crate::audit::{checkpoint, copy, evidence, retention};
use crate::cli_error::CliError;
use crate::context::Context;
use crate::sure::Sure;

/// The ledger.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Replay(Box<replay::Args>),
    /// Print the signed checkpoint of the ledger
    ///
    /// Keep the checkpoint outside the broker. `sublet audit verify --checkpoint` and `sublet audit replay
    /// --checkpoint` later detect any rewriting of the records that it covers. The output is a signed note in
    /// the format C2SP tlog-checkpoint.
    ///
    /// Example: sublet audit checkpoint > checkpoint
    Checkpoint {
        /// Directory of the identity that asks; without it, the admin asks
        #[arg(long = "as", value_name = "DIR")]
        as_: Option<PathBuf>,
        /// Print the last checkpoint that enough witnesses cosigned
        #[arg(long)]
        witnessed: bool,
    },
    /// Print the public keys that sign checkpoints
    ///
    /// One C2SP signed-note verifier key a line. Give them to `sublet witness --log` and to any other verifier
    /// of C2SP logs. They come from the trust bundle; the broker is not asked.
    Key,
    /// Copy the ledger to a directory, or extend a copy (admin)
    ///
    /// The copy verifies without the broker: sublet audit verify DIRECTORY. Each run adds the new records and
    /// checks that the ledger extends the copy. Exit codes are those of `sublet audit verify`.
    Mirror {
        /// Directory of the copy; it is made if it does not exist
        directory: PathBuf,
    },
    /// Erase the personal data of a record; hashes and proofs stay (admin)
    ///
    /// Removes the payload of one record. The record, its hash, every proof, and a record of the erasure stay.
    /// A record under a legal hold is not erased.
    Erase {
        /// Index of the record
        index: u64,
        /// Reason, for the record
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Prune the records below an index; their hashes stay (admin)
    ///
    /// Leaf hashes, tiles and checkpoints stay, so every proof still verifies. Records under a legal hold stay.
    Prune {
        /// First index that is kept
        #[arg(long, value_name = "INDEX")]
        below: u64,
        #[command(flatten)]
        sure: Sure,
    },
    /// Add, remove and list legal holds (admin)
    #[command(subcommand)]
    LegalHold(LegalHold),
    /// Show how far the ledger is pruned, and the legal holds (admin)
    Retention,
    /// Write the whole ledger to one evidence bundle that verifies offline (admin)
    ///
    /// The bundle holds the records, the checkpoint, the keys, and reports derived from them. Check it with
    /// `sublet audit verify FILE`.
    Export {
        /// File for the bundle
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Verify an evidence bundle, a copy of the ledger, or the proof of a fork, offline
    ///
    /// Only the keys of the trust bundle (SUBLET_TRUST or --trust) are trusted, not those in the bundle.
    ///
    /// Exit codes: 0 verified; 20 incomplete: records are pruned, erased or missing; 30 forked: the ledger
    /// contradicts a checkpoint; 40 invalid.
    ///
    /// Example: sublet audit verify evidence.sublet --checkpoint checkpoint
    Verify {
        /// File of a bundle or of a fork proof, or directory of a copy
        path: PathBuf,
        /// Signed checkpoint that you kept, which the ledger must extend; may be given more than once
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// Witness policy (C2SP tlog-policy): a checkpoint with enough cosignatures must be there
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

/// Legal holds.
#[derive(clap::Subcommand)]
pub(crate) enum LegalHold {
    /// Add a legal hold: its records are neither pruned nor erased (admin)
    ///
    /// Example: sublet audit legal-hold add case-17 --from 300 --to 400 --reason "litigation"
    Add {
        /// Name of the hold: 1 to 63 characters of a-z, 0-9 and -
        name: String,
        /// Index of the first record that is held
        #[arg(long, value_name = "INDEX")]
        from: u64,
        /// Index after the last record that is held; without it, all later records are held too
        #[arg(long, value_name = "INDEX")]
        to: Option<u64>,
        /// Reason, for the record
        #[arg(long)]
        reason: String,
    },
    /// Remove a legal hold: its records can be pruned and erased again (admin)
    Remove {
        /// Name of the hold
        name: String,
        /// Reason, for the record
        #[arg(long)]
        reason: String,
    },
    /// List the legal holds (admin)
    List,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<ExitCode, CliError> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Replay(args) => replay::run(*args, context).await.map(done),
        Command::Checkpoint { as_, witnessed } => {
            checkpoint::show(as_, witnessed, context).await.map(done)
        }
        Command::Key => checkpoint::show_keys(context).map(done),
        Command::Mirror { directory } => copy::mirror(&directory, context).await,
        Command::Erase { index, reason, sure } => {
            sure.check(&format!("the payload of record {index} is deleted"))?;
            retention::erase(index, reason, context).await.map(done)
        }
        Command::Prune { below, sure } => {
            sure.check(&format!(
                "the records below {below} are deleted, except those under a legal hold"
            ))?;
            retention::prune(below, context).await.map(done)
        }
        Command::LegalHold(LegalHold::Add { name, from, to, reason }) => {
            retention::add_hold(name, from, to, reason, context).await.map(done)
        }
        Command::LegalHold(LegalHold::Remove { name, reason }) => {
            retention::remove_hold(name, reason, context).await.map(done)
        }
        Command::LegalHold(LegalHold::List) => retention::list_holds(context).await.map(done),
        Command::Retention => retention::show(context).await.map(done),
        Command::Export { out } => evidence::export(&out, context).await.map(done),
        Command::Verify { path, checkpoints, policy } => {
            let against = Against::read(&checkpoints, policy.as_deref(), context)?;
            if path.is_dir() {
                copy::verify(&path, &against, context)
            } else if copy::is_fork(&path) {
                copy::verify_fork(&path, context)
            } else {
                evidence::verify(&path, &against, context)
            }
        }
    }
}
