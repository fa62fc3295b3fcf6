//! What went wrong, in words, and the exit code for it. docs/FORMATS, "Five kinds of no".

use std::fmt;

use sublet_client::error::{Error, Kind};
use sublet_core::refusal::{Fault, Malformed, Refusal};

/// The exit code of a command line that is not understood.
pub(crate) const USAGE: u8 = 64;

/// The exit code of what was done to something that the broker has no record of.
pub(crate) const NOT_RECORDED: u8 = 4;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The command line is not understood.
    Usage(String),
    /// A refusal, a fault, a file.
    Error(Error),
}

impl CliError {
    /// Something of this machine that is in the way.
    pub(crate) fn local(detail: impl Into<String>) -> Self {
        CliError::Error(Error::local("local", detail))
    }

    /// A command line that is not understood.
    pub(crate) fn usage(detail: impl fmt::Display) -> Self {
        CliError::Usage(detail.to_string())
    }

    /// 1: trouble, nothing decided; 2: refused; 3: not understood; 64: usage.
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
                    Kind::Malformed => "not understood",
                    Kind::Unauthenticated => "not authenticated",
                    Kind::Deny => "refused",
                    Kind::Overload => "busy",
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
