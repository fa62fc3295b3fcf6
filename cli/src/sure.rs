//! Confirmation of an act that cannot be undone.
//!
//! Owns: the question and `--yes`. Does not own: which acts cannot be undone (each command says it).
//!
//! Invariants: without a terminal and without `--yes`, nothing is done.

use std::io::{BufRead as _, IsTerminal as _};

use crate::cli_error::CliError;

/// The confirmation of an act that cannot be undone.
#[derive(clap::Args)]
pub(crate) struct Sure {
    /// Confirm without a question; required when stdin is not a terminal
    #[arg(long)]
    yes: bool,
}

impl Sure {
    /// Returns when the act is confirmed: by `--yes`, or by `yes` typed at the terminal. `what` says what is
    /// lost, as a sentence without a full stop. Without a terminal it is a usage error.
    pub(crate) fn check(&self, what: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        let input = std::io::stdin();
        if !input.is_terminal() {
            let detail = format!("this cannot be undone: {what}; add --yes to confirm");
            return Err(CliError::usage(detail));
        }
        eprint!("This cannot be undone: {what}. Type yes to confirm: ");
        let mut answer = String::new();
        let read = input.lock().read_line(&mut answer);
        read.map_err(|error| CliError::local(format!("cannot read the answer: {error}")))?;
        match answer.trim() {
            "yes" => Ok(()),
            _ => Err(CliError::local("nothing was done: it was not confirmed with yes")),
        }
    }
}
