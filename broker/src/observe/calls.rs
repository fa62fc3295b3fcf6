//! The names of calls in metrics and spans. They are few and known.
//!
//! Owns: the method of a path, and the outcome of an answer. Does not own: what is counted or traced.

use tonic::codegen::http::Response;

/// Returns the method of a path: a method of the broker, or one of the two OAuth paths. `None` for other
/// paths, which anyone can invent.
pub(crate) fn known(path: &str) -> Option<String> {
    if path == "/token" || path == "/logout" {
        return Some(path.to_owned());
    }
    let method = path.strip_prefix("/sublet.v1.")?;
    let named = method.bytes().all(|b| b.is_ascii_alphabetic() || b == b'/');
    (named && METHODS.contains(&method)).then(|| method.to_owned())
}

/// Returns the outcome of an answer, in the names of the five kinds of refusal.
pub(crate) fn outcome<R>(answer: &Response<R>) -> &'static str {
    let status = answer.headers().get("grpc-status").and_then(|value| value.to_str().ok());
    match (status, answer.status().as_u16()) {
        (None | Some("0"), 200..=299) => "ok",
        (Some("3"), _) | (None, 400 | 405 | 415) => "malformed",
        (Some("16"), _) | (None, 401) => "unauthenticated",
        (Some("7"), _) => "deny",
        (Some("8"), _) | (None, 429) => "overload",
        _ => "fault",
    }
}

/// All methods of the broker. A label is one of these.
pub(crate) const METHODS: [&str; 42] = [
    "Admin/CreateAgent",
    "Admin/ListAgents",
    "Admin/GetAgent",
    "Admin/SuspendAgent",
    "Admin/ResumeAgent",
    "Admin/RevokeAgentKey",
    "Admin/ApplyProfile",
    "Admin/ListProfiles",
    "Admin/GetProfile",
    "Admin/CreateJoinToken",
    "Admin/ListJoinTokens",
    "Admin/RevokeJoinToken",
    "Admin/GrantSession",
    "Admin/ListSessions",
    "Admin/RotateBrokerKey",
    "Admin/GetStatus",
    "Audit/Replay",
    "Audit/StreamRecords",
    "Audit/ReportUses",
    "Audit/ReportVerifierState",
    "Audit/Erase",
    "Audit/Prune",
    "Audit/CreateLegalHold",
    "Audit/RemoveLegalHold",
    "Audit/GetRetention",
    "Audit/GetCheckpoint",
    "Delegation/Issue",
    "Delegation/Delegate",
    "Delegation/RecordHop",
    "Delegation/Inspect",
    "Delegation/GetInclusionProof",
    "Delegation/ListDelegations",
    "Identity/Enroll",
    "Identity/Renew",
    "Identity/RotateKey",
    "Identity/RevokeFormerKeys",
    "Identity/GetAgentKey",
    "Identity/GetTrustBundle",
    "Revocation/Revoke",
    "Revocation/RestorePrincipal",
    "Revocation/EndSessions",
    "Revocation/Watch",
];
