//! A refusal as a gRPC status, in both directions: the one table. SPEC section 8.
//!
//! Owns: which status a kind of refusal has, and where its stable code travels (google.rpc.ErrorInfo, domain
//! `sublet`) and, where the same call may be made again, after how long (google.rpc.RetryInfo). Does not own:
//! the codes (`sublet_core::refusal`).

use std::collections::HashMap;
use std::time::Duration;

use sublet_core::refusal::{Fault, Kind, Refusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of our codes in ErrorInfo.
pub const ERROR_DOMAIN: &str = "sublet";

/// Which status each kind has. A fault that may pass is `UNAVAILABLE`, another is `INTERNAL`.
const TABLE: [(Kind, Code); 6] = [
    (Kind::Malformed, Code::InvalidArgument),
    (Kind::Unauthenticated, Code::Unauthenticated),
    (Kind::Deny, Code::PermissionDenied),
    (Kind::Overload, Code::ResourceExhausted),
    (Kind::Fault { is_retriable: true }, Code::Unavailable),
    (Kind::Fault { is_retriable: false }, Code::Internal),
];

/// The status of a refusal. What went wrong inside is for the operator's log, and not in it.
pub fn status(refusal: &Refusal) -> Status {
    let kind = refusal.kind();
    let code = TABLE.iter().find(|(of, _)| *of == kind).map_or(Code::Internal, |(_, code)| *code);
    let detail = match refusal {
        Refusal::Fault(Fault::Internal(_)) => "internal error; nothing was decided".to_owned(),
        refusal => refusal.to_string(),
    };
    coded(code, detail, refusal.code(), refusal.retry_ms())
}

/// A status with a stable code of ours and, where the same call may be made again, after how many milliseconds.
pub fn coded(code: Code, detail: impl Into<String>, reason: &str, retry_ms: Option<u64>) -> Status {
    let mut details =
        ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::<String, String>::new());
    if let Some(retry_ms) = retry_ms {
        details.set_retry_info(Some(Duration::from_millis(retry_ms)));
    }
    Status::with_error_details(code, detail, details)
}

/// Which kind of refusal a status stands for; `None` for a status that no refusal has.
pub fn kind(code: Code) -> Option<Kind> {
    TABLE.iter().find(|(_, of)| *of == code).map(|(kind, _)| *kind)
}

/// The stable code in a status, and how long to wait before the same call is made again; `None` where the status
/// brings none of ours.
pub fn reason(status: &Status) -> Option<(String, Option<Duration>)> {
    let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN)?;
    let delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
    Some((info.reason, delay))
}

#[cfg(test)]
mod tests {
    use sublet_core::refusal::{Deny, Malformed, Overload, Unauthenticated};

    use super::*;

    // SPEC 8.1, 8.4.
    #[test]
    fn each_kind_of_refusal_has_its_status_and_code() {
        let cases: [(Refusal, Code, &str); 6] = [
            (
                Malformed::Field { field: "x", detail: "y".into() }.into(),
                Code::InvalidArgument,
                "bad_field",
            ),
            (Unauthenticated::NotAdmin.into(), Code::Unauthenticated, "not_admin"),
            (Deny::EmptyWindow.into(), Code::PermissionDenied, "empty_window"),
            (Overload::Contention.into(), Code::ResourceExhausted, "contention"),
            (Fault::Store("gone".into()).into(), Code::Unavailable, "store_unavailable"),
            (Fault::Internal("secret path".into()).into(), Code::Internal, "internal"),
        ];
        for (refusal, code, expected) in cases {
            let status = status(&refusal);
            assert_eq!(status.code(), code);
            assert_eq!(kind(code), Some(refusal.kind()));
            let delay = refusal.retry_ms().map(Duration::from_millis);
            assert_eq!(reason(&status), Some((expected.to_owned(), delay)));
            assert!(!status.message().contains("secret path"));
        }
        assert_eq!(kind(Code::NotFound), None);
        assert_eq!(reason(&Status::not_found("x")), None);
    }
}
