//! Whether it is meant: what cannot be undone says so first.
//!
//! Owns: the question and `--yes`. Does not own: what cannot be undone (each command says it).
//!
//! Invariants: nothing is asked where nobody answers: there, without `--yes`, nothing is done.

use std::io::{BufRead as _, IsTerminal as _};

use crate::cli_error::CliError;

/// Whether an act that cannot be undone is meant.
#[derive(clap::Args)]
pub(crate) struct Sure {
    /// Do what cannot be undone without asking; needed where no terminal is there to ask at
    #[arg(long)]
    yes: bool,
}

impl Sure {
    /// Goes on when it is meant: `--yes`, or `yes` typed at the terminal. `what` says what is lost, as a
    /// whole sentence. Elsewhere it is refused as a command line that lacks a word.
    pub(crate) fn check(&self, what: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        let input = std::io::stdin();
        if !input.is_terminal() {
            let detail = format!("this cannot be undone: {what}; say --yes if it is meant");
            return Err(CliError::usage(detail));
        }
        eprint!("This cannot be undone: {what}. Type yes to go on: ");
        let mut answer = String::new();
        let read = input.lock().read_line(&mut answer);
        read.map_err(|error| CliError::local(format!("cannot read the answer: {error}")))?;
        match answer.trim() {
            "yes" => Ok(()),
            _ => Err(CliError::local("nothing was done: yes was not typed")),
        }
    }
}
