//! What a request needs to be let in, by its method and path alone.
//!
//! Owns: which calls need a proof, how large their messages may be, which must have room. Does not own:
//! letting in (`gate`).
//!
//! Invariants: a method of the broker that is in no list here needs a proof.

use tonic::codegen::http::Method;

use super::bounds::{
    FORM_BYTES_MAX, MESSAGE_BYTES_MAX, REFLECTION_BYTES_MAX, REPORT_BYTES_MAX, SMALL_BYTES_MAX,
};
use crate::observe::calls;

/// The proof that a body needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A call proof in gRPC metadata.
    Metadata,
    /// A call proof in HTTP headers.
    Headers,
    /// No proof is needed, but a proof that is shown must be valid.
    IfShown,
    /// No proof is needed.
    None,
}

/// The kind of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// One uncompressed gRPC message.
    Message,
    /// A form: bytes.
    Form,
    /// A stream of messages, which the service reads.
    Messages,
    /// No body is read.
    Nothing,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) proof: Proof,
    pub(super) content: Content,
    /// The most bytes of its body.
    pub(super) bytes_max: usize,
    /// Whether it has a reserve when all else is in use.
    pub(super) must_have_room: bool,
    /// Whether its answer may stay open without a valid proof.
    pub(super) lasts: bool,
}

/// Calls that end authority, keep it alive, or let tools see that. They have a reserve.
const MUST_HAVE_ROOM: [&str; 11] = [
    "/sublet.v1.Revocation/Revoke",
    "/sublet.v1.Revocation/EndSessions",
    "/sublet.v1.Revocation/Watch",
    "/sublet.v1.Admin/SuspendAgent",
    "/sublet.v1.Admin/ResumeAgent",
    "/sublet.v1.Admin/RevokeAgentKey",
    "/sublet.v1.Admin/RevokeJoinToken",
    "/sublet.v1.Identity/Renew",
    "/sublet.v1.Identity/RotateKey",
    "/sublet.v1.Identity/RevokeFormerKeys",
    "/sublet.v1.Audit/GetCheckpoint",
];

/// Methods whose messages are empty or hold a few numbers.
const SMALL: [&str; 4] = [
    "/sublet.v1.Identity/GetTrustBundle",
    "/sublet.v1.Revocation/Watch",
    "/sublet.v1.Audit/GetCheckpoint",
    "/sublet.v1.Admin/GetStatus",
];

const WATCH: &str = "/sublet.v1.Revocation/Watch";

impl Route {
    /// Returns what this request needs. With `--dev` Watch needs no proof.
    pub(super) fn of(method: &Method, path: &str, dev: bool) -> Self {
        if path.starts_with("/sublet.v1.") {
            return Route::of_ours(path, dev);
        }
        let open = Route {
            proof: Proof::None,
            content: Content::Nothing,
            bytes_max: 0,
            must_have_room: false,
            lasts: false,
        };
        let health = Route {
            content: Content::Message,
            bytes_max: SMALL_BYTES_MAX,
            must_have_room: true,
            ..open
        };
        let form = Route { content: Content::Form, bytes_max: FORM_BYTES_MAX, ..open };
        match path {
            "/grpc.health.v1.Health/Check" => health,
            // A health watch ends like any answer without a proof, and the client asks again.
            "/grpc.health.v1.Health/Watch" => Route { must_have_room: false, ..health },
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" => {
                Route { content: Content::Messages, bytes_max: REFLECTION_BYTES_MAX, ..open }
            }
            "/token" if method == Method::POST => Route { proof: Proof::Headers, ..form },
            "/logout" if method == Method::POST => Route { must_have_room: true, ..form },
            _ => open,
        }
    }

    fn of_ours(path: &str, dev: bool) -> Self {
        let is_known = calls::known(path).is_some();
        let proof = match path {
            "/sublet.v1.Identity/Enroll" | "/sublet.v1.Identity/GetTrustBundle" => Proof::None,
            // A user ends a login with the token in the message.
            "/sublet.v1.Revocation/EndSessions" => Proof::IfShown,
            WATCH if dev => Proof::IfShown,
            _ if is_known => Proof::Metadata,
            // No code reads it.
            _ => Proof::None,
        };
        let bytes_max = match path {
            "/sublet.v1.Audit/ReportUses" => REPORT_BYTES_MAX,
            path if SMALL.contains(&path) => SMALL_BYTES_MAX,
            _ => MESSAGE_BYTES_MAX,
        };
        Route {
            proof,
            content: if is_known { Content::Message } else { Content::Nothing },
            bytes_max,
            must_have_room: MUST_HAVE_ROOM.contains(&path),
            lasts: path == WATCH && dev,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Route {
        Route::of(&Method::POST, path, false)
    }

    // SPEC 5.4.
    #[test]
    fn every_call_of_ours_needs_a_proof_but_those_that_the_specification_lists() {
        for path in MUST_HAVE_ROOM.iter().chain(&SMALL) {
            assert!(calls::known(path).is_some(), "{path}");
        }
        let open = ["Identity/Enroll", "Identity/GetTrustBundle"];
        for method in calls::METHODS {
            let found = route(&format!("/sublet.v1.{method}")).proof;
            let expected = match method {
                "Revocation/EndSessions" => Proof::IfShown,
                method if open.contains(&method) => Proof::None,
                _ => Proof::Metadata,
            };
            assert_eq!(found, expected, "{method}");
        }
        assert_eq!(Route::of(&Method::POST, WATCH, true).proof, Proof::IfShown);
        assert_eq!(route("/token").proof, Proof::Headers);
    }

    #[test]
    fn what_nobody_reads_is_not_taken_in() {
        for path in ["/sublet.v1.Admin/Nothing", "/checkpoint", "/", "/grpc.other.Service/Call"] {
            assert_eq!(route(path).content, Content::Nothing, "{path}");
        }
        assert_eq!(Route::of(&Method::GET, "/token", false).content, Content::Nothing);
    }

    #[test]
    fn only_reports_are_as_large_as_the_arguments_of_a_call() {
        let large = calls::METHODS
            .into_iter()
            .filter(|method| route(&format!("/sublet.v1.{method}")).bytes_max > MESSAGE_BYTES_MAX);
        assert_eq!(large.collect::<Vec<_>>(), ["Audit/ReportUses"]);
    }
}
