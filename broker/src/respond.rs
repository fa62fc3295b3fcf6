//! The last step: what leaves the process. The only place that makes a `tonic::Status`.
//!
//! Owns: kind of no → gRPC status with its stable code (google.rpc.ErrorInfo, domain `sublet`),
//! receipts, answers made from what was recorded. Does not own: the decision.
//!
//! Invariants: an answer is made from [`Recorded`] alone; a receipt names only what is durable;
//! the caller hears less than the ledger says.

use std::collections::HashMap;

use sublet_core::bundle::KeyUse;
use sublet_core::id::{HopId, UnixMillis};
use sublet_core::no::{Deny, Fault, Malformed, No};
use sublet_core::receipt::{Receipt, ReceiptClaims};
use sublet_proto::v1;
use sublet_proto::{ANSWER_METADATA, NOT_KEPT};
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataValue;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::broker::Broker;
use crate::pipeline::Recorded;

/// The domain of our codes in ErrorInfo.
pub const ERROR_DOMAIN: &str = "sublet";

/// What a service method returns.
pub type Answer<M> = Result<Response<M>, Status>;

/// Answers with what was recorded: the grant as a message, or the refusal.
pub fn answer<G, M>(
    recorded: Result<Recorded<G>, No>,
    message: impl FnOnce(G) -> Result<M, No>,
) -> Answer<M> {
    let kept = recorded.as_ref().is_ok_and(Recorded::is_kept);
    let granted = recorded.and_then(|recorded| recorded.into_outcome().map_err(No::from));
    let answer = granted.and_then(message).map(Response::new).map_err(|no| status(&no));
    answer.map(|mut answer| {
        if !kept {
            answer.metadata_mut().insert(ANSWER_METADATA, MetadataValue::from_static(NOT_KEPT));
        }
        answer
    })
}

/// The status of a refusal. A total match: every kind has its place.
pub fn status(no: &No) -> Status {
    let code = match no {
        No::Malformed(_) => Code::InvalidArgument,
        No::Unauthenticated(_) => Code::Unauthenticated,
        No::Deny(_) => Code::PermissionDenied,
        No::Overload(_) => Code::ResourceExhausted,
        No::Fault(fault) if fault.is_retriable() => Code::Unavailable,
        No::Fault(_) => Code::Internal,
    };
    if let No::Fault(fault) = no {
        tracing::error!(%fault, "fault");
    }
    let says = match no {
        // What went wrong inside is for the operator's log.
        No::Fault(Fault::Internal(_)) => "internal error; nothing was decided".to_owned(),
        no => no.to_string(),
    };
    coded(code, says, no.code())
}

fn coded(code: Code, says: impl Into<String>, reason: &str) -> Status {
    let details =
        ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::<String, String>::new());
    Status::with_error_details(code, says, details)
}

/// The answer to a gRPC call of no method that there is.
pub(crate) fn no_such_method() -> Status {
    coded(Code::Unimplemented, "there is no such method here", "unimplemented")
}

/// The answer to a call that took too long.
pub(crate) fn late() -> Status {
    let late = Fault::Deadline;
    coded(Code::Unavailable, late.to_string(), late.code())
}

/// What the gRPC library, or a standard service, refused in its own words, with a code of ours. Of what
/// it says in place of a service, `INTERNAL` means that it could not read the message. `None` where the
/// headers of the answer hold no status.
pub(crate) fn of_the_library(headers: &HeaderMap) -> Option<Status> {
    let status = Status::from_header_map(headers)?;
    Some(match status.code() {
        Code::Unimplemented => no_such_method(),
        Code::Cancelled | Code::DeadlineExceeded => late(),
        Code::Internal => {
            let says = format!("it is no message of this method: {}", status.message());
            self::status(&Malformed::Field { field: "message", says }.into())
        }
        Code::NotFound => coded(Code::NotFound, status.message(), "not_found"),
        code => coded(code, status.message(), "transport"),
    })
}

/// A receipt for a recorded hop: its chain's ledger indices, and that nothing of it is revoked as
/// of now. Where something was revoked since the decision, it staples nothing.
pub fn receipt(broker: &Broker, hop: &HopId) -> Result<Vec<u8>, No> {
    let now = broker.clock.now();
    let (indices, revocation_sequence, alive) = {
        let state = broker.store.view()?;
        let indices = state
            .indices(hop)
            .ok_or_else(|| Fault::Internal("a recorded hop is missing".to_owned()))?;
        (indices, state.revocation_sequence(), state.is_alive(hop))
    };
    let position = indices.len().checked_sub(1).and_then(|position| u32::try_from(position).ok());
    let claims = ReceiptClaims {
        issuer: broker.domain().issuer(),
        origin: broker.domain().ledger_origin(),
        hop: *hop,
        position: position.ok_or_else(|| Fault::Internal("a receipt without a hop".to_owned()))?,
        indices,
        recorded_at: now,
        as_of: now,
        revocation_epoch: broker.store.feed()?.epoch(),
        revocation_sequence,
        fresh_until: if alive {
            now.plus_ms(broker.config.receipt_fresh_ms)
        } else {
            UnixMillis(0)
        },
    };
    let key = broker.signing(KeyUse::Receipt)?;
    let receipt = Receipt::sign(claims, key.id, key.signer.as_ref()).map_err(Fault::from)?;
    Ok(receipt.encode())
}

/// That every hop of a chain is in the ledger, under the head of this moment.
pub fn inclusion(broker: &Broker, hop: &HopId) -> Result<v1::Inclusion, No> {
    let indices = broker.store.view()?.indices(hop).ok_or(Deny::NoHop)?;
    let (published, reader) = (broker.store.published()?, broker.store.reader());
    let missing = || Fault::Internal("a recorded hop is not in the ledger".to_owned());
    let hops = indices.into_iter().map(|index| {
        let entry = reader.range(index, 1)?.into_iter().next();
        let entry = entry.filter(|entry| entry.index == index).ok_or_else(missing)?;
        let proof = published.inclusion(index, reader.as_ref()).ok_or_else(missing)?;
        let proof = proof.into_iter().map(|hash| hash.to_vec()).collect();
        Ok::<_, Fault>(v1::IncludedLeaf { index, leaf: entry.leaf, proof })
    });
    Ok(v1::Inclusion { checkpoint: published.note.clone(), hops: hops.collect::<Result<_, _>>()? })
}

/// A signed head that covers everything that was answered for so far.
pub fn checkpoint(broker: &Broker) -> Result<Vec<u8>, No> {
    Ok(broker.store.published()?.note.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sublet_core::no::{Overload, Unauthenticated};

    #[test]
    fn each_kind_of_no_has_its_status_and_code() {
        let cases: [(No, Code, &str); 6] = [
            (
                Malformed::Field { field: "x", says: "y".into() }.into(),
                Code::InvalidArgument,
                "bad_field",
            ),
            (Unauthenticated::NotAdmin.into(), Code::Unauthenticated, "not_admin"),
            (Deny::EmptyWindow.into(), Code::PermissionDenied, "empty_window"),
            (Overload::Contention.into(), Code::ResourceExhausted, "contention"),
            (Fault::Store("gone".into()).into(), Code::Unavailable, "store_unavailable"),
            (Fault::Internal("secret path".into()).into(), Code::Internal, "internal"),
        ];
        for (no, code, reason) in cases {
            let status = status(&no);
            assert_eq!(status.code(), code);
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "sublet"));
            assert!(!status.message().contains("secret path"));
        }
    }
}
