//! The client's error: a refusal by the broker, a refusal by this process, or a failure with a
//! file.
//!
//! Owns: how a refusal travels in a gRPC status (google.rpc.ErrorInfo, domain `sublet`), in both
//! directions, and which calls may be retried. Does not own: the codes (`sublet_core::refusal`).
//!
//! Invariants: `Display` is the message for people and contains no token and no key; an error
//! without a stable code of Sublet gets one of the few codes below.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use sublet_core::refusal::{self, Fault, Refusal};
use sublet_proto::status;
pub use sublet_proto::status::status;
use tonic::{Code, Status};

/// The kind of an error. The first five are the kinds of a refusal (SPEC section 8); the last is
/// the client's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request was not understood.
    Malformed,
    /// There is no valid proof of who asks.
    Unauthenticated,
    /// The request was understood and refused.
    Deny,
    /// The broker or tool had no capacity and did not look at the request.
    Overload,
    /// Something failed, and nothing was decided.
    Fault,
    /// A file or a socket of this machine failed.
    Io,
}

impl Kind {
    /// Returns the kind's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Malformed => "malformed",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Deny => "deny",
            Kind::Overload => "overload",
            Kind::Fault => "fault",
            Kind::Io => "io",
        }
    }
}

/// Why the client could not do what it was asked to do.
///
/// ```
/// use sublet_client::{Error, Grant, Kind};
///
/// let grant = Grant::of("alice", &["fs.read@tool://files"], std::time::Duration::from_secs(60));
/// let error: Error = grant.unwrap_err();
/// assert_eq!(error.kind(), Kind::Malformed);
/// assert!(error.is_final()); // the same request will never succeed
/// println!("{}: {error}", error.code()); // a stable code and a message for people
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    code: Cow<'static, str>,
    message: String,
    retriable: bool,
    retry_after: Option<Duration>,
    attempts: u32,
    sent: bool,
}

impl Error {
    fn new(kind: Kind, code: Cow<'static, str>, message: String, retriable: bool) -> Self {
        Error { kind, code, message, retriable, retry_after: None, attempts: 1, sent: true }
    }

    /// Returns the same error for a call that nobody decided and that may be retried after this
    /// delay.
    fn later(self, after: Option<Duration>) -> Self {
        Error { retry_after: after, retriable: self.retriable || after.is_some(), ..self }
    }

    /// Returns the same error as that of the last of so many attempts.
    pub(crate) fn after(self, attempts: u32) -> Self {
        Error { attempts, ..self }
    }

    /// Returns the same error for a request that did not leave this process.
    pub(crate) fn unsent(self) -> Self {
        Error { sent: false, ..self }
    }

    /// Returns whether the request may have arrived.
    pub(crate) fn was_sent(&self) -> bool {
        self.sent
    }

    /// Returns the same error for a request that is not retried automatically.
    pub(crate) fn not_repeated(self) -> Self {
        let message = format!(
            "{} (not sent again: the broker has no room for more answers of this caller, so what was \
             asked might be granted twice)",
            self.message
        );
        Error { message, ..self }
    }

    /// Returns how many attempts were made; this error is of the last one. An earlier attempt may
    /// have been granted although its answer was lost.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the stable code.
    pub fn code(&self) -> String {
        self.code.clone().into_owned()
    }

    /// Returns the message for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns whether nothing was decided, so the same request with the same idempotency key may
    /// be sent again.
    pub fn is_retriable(&self) -> bool {
        self.retriable
    }

    /// Returns after which delay an overloaded broker accepts the same call again, with a new
    /// proof; `None` when it named no delay. With a delay, nothing was decided.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether the request was decided, so asking again changes nothing.
    pub fn is_final(&self) -> bool {
        let decided = matches!(self.kind, Kind::Malformed | Kind::Unauthenticated | Kind::Deny);
        decided && self.retry_after.is_none()
    }

    /// Returns an error about a file operation: `doing` is the verb, such as "read".
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let message = format!("cannot {doing} {}: {error}", path.display());
        Error::new(Kind::Io, "io".into(), message, false)
    }

    /// Returns an error about the content of a file.
    pub fn file(path: &Path, detail: impl fmt::Display) -> Self {
        let message = format!("{}: {detail}", path.display());
        Error::new(Kind::Io, "bad_file".into(), message, false)
    }

    /// Returns an error of this process, with a stable code.
    pub fn local(code: &'static str, message: impl Into<String>) -> Self {
        Error::new(Kind::Io, code.into(), message.into(), false)
    }

    /// Returns the same error with the path in its message. Errors about files name the path
    /// already.
    pub(crate) fn of(self, path: &Path) -> Self {
        match self.code.as_ref() {
            "io" | "bad_file" => self,
            _ => Error { message: format!("{}: {}", path.display(), self.message), ..self },
        }
    }

    /// Returns the same error with another message.
    pub(crate) fn with_message(self, message: String) -> Self {
        Error { message, ..self }
    }

    /// Returns the error for a broker or another service that cannot be reached.
    pub(crate) fn unreachable(message: String) -> Self {
        Error::new(Kind::Fault, "unreachable".into(), message, true)
    }

    /// Returns the error for a missing answer within a deadline.
    pub(crate) fn deadline(method: &str, after: Duration) -> Self {
        let message = format!("{method}: no answer in {} ms", after.as_millis());
        Error::new(Kind::Fault, "deadline".into(), message, true)
    }

    /// Returns the error for an answer of the broker that violates the protocol.
    pub(crate) fn answer(detail: impl fmt::Display) -> Self {
        let message = format!("the broker's answer is not acceptable: {detail}");
        Error::new(Kind::Fault, "bad_answer".into(), message, false)
    }

    /// Converts the status that a broker or a guarded tool sent. A status without a code of Sublet
    /// comes from something in between, such as a proxy.
    pub fn from_status(status: &Status) -> Self {
        let reason = status::reason(status);
        let (kind, retriable) = match (status::kind(status.code()), status.code()) {
            (Some(kind), _) => of_kind(kind),
            (_, Code::DeadlineExceeded | Code::Cancelled) => (Kind::Fault, true),
            _ => (Kind::Fault, is_of_the_transport(status)),
        };
        let later = reason.as_ref().filter(|(reason, _)| may_be_later(status.code(), reason));
        let later = later.and_then(|(_, delay)| *delay);
        let (code, message) = match reason {
            Some((reason, _)) => (Cow::Owned(reason), status.message().to_owned()),
            None if is_of_the_transport(status) || speaks_otherwise(status) => {
                ("unreachable".into(), bare_message(status))
            }
            None => (bare_code(status.code()), bare_message(status)),
        };
        Error::new(kind, code, message, retriable).later(later)
    }
}

/// The kind of a refusal, and whether the same request may be sent again.
fn of_kind(kind: refusal::Kind) -> (Kind, bool) {
    match kind {
        refusal::Kind::Malformed => (Kind::Malformed, false),
        refusal::Kind::Unauthenticated => (Kind::Unauthenticated, false),
        refusal::Kind::Deny => (Kind::Deny, false),
        refusal::Kind::Overload => (Kind::Overload, false),
        refusal::Kind::Fault { is_retriable } => (Kind::Fault, is_retriable),
    }
}

/// Whether a refusal with this code is one that nobody decided: of a busy broker, or of one that began after
/// the proof was made. Of another a delay says nothing.
fn may_be_later(status: Code, code: &str) -> bool {
    status == Code::ResourceExhausted || code == "proof_before_start"
}

/// Returns whether the connection broke, so no peer sent this status. A refused certificate looks
/// like this.
fn is_of_the_transport(status: &Status) -> bool {
    let broke = matches!(status.code(), Code::Unknown | Code::Cancelled);
    broke && std::error::Error::source(status).is_some()
}

/// Returns whether the peer does not speak HTTP/2, for example because it expects TLS.
fn speaks_otherwise(status: &Status) -> bool {
    let cause = std::error::Error::source(status).map(root_cause);
    status.code() == Code::Internal && cause.is_some_and(|cause| cause.contains(NO_HTTP2))
}

/// How h2 reports that the first bytes are no frame. It reads those of a TLS record as a frame of
/// 1.3 MiB.
pub(crate) const NO_HTTP2: &str = "frame with invalid size";

/// Returns the code of a status that has no code of Sublet.
fn bare_code(code: Code) -> Cow<'static, str> {
    match code {
        Code::Unavailable => "unreachable".into(),
        Code::DeadlineExceeded | Code::Cancelled => "deadline".into(),
        Code::Unimplemented => "unimplemented".into(),
        Code::NotFound => "not_found".into(),
        Code::OutOfRange | Code::ResourceExhausted => "message_too_large".into(),
        _ => "internal".into(),
    }
}

fn bare_message(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("{}: {}", status.message(), root_cause(source)),
        None if status.message().is_empty() => status.code().description().to_owned(),
        None => status.message().to_owned(),
    }
}

/// Returns the text of the innermost cause, such as "Connection refused" instead of "transport
/// error".
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let (kind, retriable) = of_kind(refusal.kind());
        let later = refusal.retry_ms().map(Duration::from_millis);
        Error::new(kind, refusal.code().into(), refusal.to_string(), retriable).later(later)
    }
}

/// Lets `?` convert each kind of refusal, and the causes of `Malformed`.
macro_rules! from_parts {
    ($($part:ty),*) => {$(
        impl From<$part> for Error {
            fn from(part: $part) -> Self { Refusal::from(part).into() }
        }
    )*};
}
from_parts!(
    sublet_core::refusal::Malformed,
    sublet_core::refusal::Unauthenticated,
    sublet_core::refusal::Deny,
    sublet_core::refusal::Overload,
    Fault
);

macro_rules! from_malformed {
    ($($part:ty),*) => {$(
        impl From<$part> for Error {
            fn from(part: $part) -> Self { sublet_core::refusal::Malformed::from(part).into() }
        }
    )*};
}
from_malformed!(
    sublet_core::token::BadToken,
    sublet_core::capability::BadScope,
    sublet_core::evidence::call::BadArguments,
    sublet_core::base::id::BadId,
    sublet_core::trust::bundle::BadBundle,
    sublet_core::revocation::feed::BadFeed
);

impl From<sublet_core::base::sign::SignerFault> for Error {
    fn from(fault: sublet_core::base::sign::SignerFault) -> Self {
        Fault::from(fault).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;
    use sublet_core::evidence::replay_cache::ReplayRefusal;
    use sublet_core::refusal::{Deny, Malformed, Overload, Unauthenticated};

    #[test]
    fn a_no_survives_the_wire() {
        let cases: [(Refusal, Kind, bool); 9] = [
            (Malformed::Field { field: "x", detail: "y".into() }.into(), Kind::Malformed, false),
            (Unauthenticated::NotAdmin.into(), Kind::Unauthenticated, false),
            (Deny::EmptyWindow.into(), Kind::Deny, false),
            (Overload::Contention.into(), Kind::Overload, true),
            (Overload::Busy { retry_ms: 70 }.into(), Kind::Overload, true),
            (Overload::Table("x").into(), Kind::Overload, false),
            (
                Unauthenticated::Replay(ReplayRefusal::BeforeStart).into(),
                Kind::Unauthenticated,
                true,
            ),
            (Fault::Store("gone".into()).into(), Kind::Fault, true),
            (Fault::Internal("x".into()).into(), Kind::Fault, false),
        ];
        for (refusal, kind, retriable) in cases {
            let failure = Error::from_status(&status(&refusal));
            assert_eq!(failure.code(), refusal.code());
            assert_eq!((failure.kind(), failure.is_retriable()), (kind, retriable));
            let asked = refusal.retry_ms().map(Duration::from_millis);
            assert_eq!(failure.retry_after(), asked, "{failure}");
            assert_eq!(
                failure.is_final(),
                !retriable && failure.kind() != Kind::Fault && failure.kind() != Kind::Overload
            );
            let own = Error::from(refusal);
            assert_eq!((own.kind(), own.is_retriable()), (kind, retriable));
        }
    }

    #[test]
    fn what_has_no_code_of_ours_gets_one() {
        let failure = Error::from_status(&Status::unavailable("tcp connect error"));
        assert_eq!((failure.code().as_str(), failure.is_retriable()), ("unreachable", true));
        let failure = Error::from_status(&Status::unimplemented(""));
        assert_eq!(failure.code(), "unimplemented");
        assert!(!failure.message().is_empty());
    }

    #[test]
    fn a_foreign_domain_is_no_code_of_ours() {
        let details = ErrorDetails::with_error_info(
            "join_token",
            "elsewhere.example",
            HashMap::<String, String>::new(),
        );
        let status = Status::with_error_details(Code::PermissionDenied, "no", details);
        assert_eq!(Error::from_status(&status).code(), "internal");
    }
}
