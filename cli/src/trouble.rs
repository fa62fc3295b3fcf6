//! What went wrong, in words, and the exit code for it. docs/FORMATS, "Five kinds of no".

use std::fmt;

use sublet_client::failure::{Failure, Kind};
use sublet_core::no::{Fault, Malformed, No};

/// The exit code of a command line that is not understood.
pub(crate) const USAGE: u8 = 64;

/// The exit code of what was done to something that the broker has no record of.
pub(crate) const NOT_RECORDED: u8 = 4;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The command line is not understood.
    Usage(String),
    /// A refusal, a fault, a file.
    Failure(Failure),
}

impl Trouble {
    /// Something of this machine that is in the way.
    pub(crate) fn local(says: impl Into<String>) -> Self {
        Trouble::Failure(Failure::local("local", says))
    }

    /// A command line that is not understood.
    pub(crate) fn usage(says: impl fmt::Display) -> Self {
        Trouble::Usage(says.to_string())
    }

    /// 1: trouble, nothing decided; 2: refused; 3: not understood; 64: usage.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Trouble::Usage(_) => USAGE,
            Trouble::Failure(failure) => match failure.kind() {
                Kind::Malformed => 3,
                Kind::Unauthenticated | Kind::Deny => 2,
                Kind::Overload | Kind::Fault | Kind::Io => 1,
            },
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Usage(says) => write!(f, "usage: {says}"),
            Trouble::Failure(failure) => {
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

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Failure(failure)
    }
}

macro_rules! from_no {
    ($($no:ty),*) => {$(
        impl From<$no> for Trouble {
            fn from(no: $no) -> Self {
                Trouble::Failure(Failure::from(No::from(no)))
            }
        }
    )*};
}

from_no!(No, Malformed, Fault);
