//! The error of a command: its message and its exit code. docs/FORMATS lists the codes.

use std::fmt;

use sublet_client::error::{Error, Kind};
use sublet_core::refusal::{Fault, Malformed, Refusal};

/// The exit code of wrong usage.
pub(crate) const USAGE: u8 = 64;

/// The exit code of a revocation of something that the broker has no record of.
pub(crate) const NOT_RECORDED: u8 = 4;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The command line is wrong.
    Usage(String),
    /// A refusal, a fault of the broker, or a problem of this machine.
    Error(Error),
}

impl CliError {
    /// A problem of this machine, such as a file that cannot be read. Exit code 1.
    pub(crate) fn local(detail: impl Into<String>) -> Self {
        CliError::Error(Error::local("local", detail))
    }

    /// Wrong usage. Exit code 64.
    pub(crate) fn usage(detail: impl fmt::Display) -> Self {
        CliError::Usage(detail.to_string())
    }

    /// Returns 1 for a failure (nothing was decided), 2 for a refusal, 3 for a malformed request, 64 for wrong
    /// usage.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => USAGE,
            CliError::Error(failure) => match failure.kind() {
                Kind::Malformed => 3,
                Kind::Unauthenticated | Kind::Deny => 2,
                Kind::Overload | Kind::Fault | Kind::Io => 1,
            },
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Usage(detail) => write!(f, "usage: {detail}"),
            CliError::Error(failure) => {
                let word = match failure.kind() {
                    Kind::Malformed => "malformed",
                    Kind::Unauthenticated => "unauthenticated",
                    Kind::Deny => "refused",
                    Kind::Overload => "overloaded",
                    Kind::Fault => "failed",
                    Kind::Io => "error",
                };
                write!(f, "{word}: {} [{}]", failure.message(), failure.code())
            }
        }
    }
}

impl From<Error> for CliError {
    fn from(failure: Error) -> Self {
        CliError::Error(failure)
    }
}

macro_rules! from_no {
    ($($refusal:ty),*) => {$(
        impl From<$refusal> for CliError {
            fn from(refusal: $refusal) -> Self {
                CliError::Error(Error::from(Refusal::from(refusal)))
            }
        }
    )*};
}

from_no!(Refusal, Malformed, Fault);
