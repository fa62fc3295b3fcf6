//! The first step: reading a request. One file for each gRPC service.
//!
//! Owns: message → operation, grant → message. Does not own: any decision.

pub(crate) mod admin;
pub(crate) mod audit;
pub(crate) mod delegation;
pub(crate) mod identity;
pub(crate) mod revocation;

use std::sync::Arc;

use prost::Message;
use sublet_core::base::bytes::sha256;
use sublet_core::decide::caller::{Authenticated, Caller};
use sublet_core::decide::{EndSessions, Operation};
use sublet_core::refusal::{Deny, Refusal};
use sublet_proto::convert::{field, fixed};
use tonic::Request;

use crate::broker::Broker;
use crate::request::authenticate;
use crate::request::pipeline::{self, Asked, Came, Recorded};
use crate::request::repeat::Repeatable;

/// How often the rest of ended sessions is looked for. Twice is enough for one session. When all
/// sessions of a principal end, new logins can begin others meanwhile.
const SWEEPS_MAX: usize = 8;

/// The longest reason of a request, in bytes. It must fit into a ledger leaf.
pub(crate) const REASON_BYTES_MAX: usize = 1024;

/// A writing request that carries an idempotency key.
pub(crate) trait Keyed: Message + Clone {
    /// Takes the idempotency key out of the message.
    fn take_key(&mut self) -> Vec<u8>;
}

macro_rules! keyed {
    ($($message:ident),* $(,)?) => {$(
        impl Keyed for sublet_proto::v1::$message {
            fn take_key(&mut self) -> Vec<u8> {
                std::mem::take(&mut self.idempotency_key)
            }
        }
    )*};
}

keyed!(
    EnrollRequest,
    RenewRequest,
    RotateKeyRequest,
    RevokeFormerKeysRequest,
    IssueRequest,
    RevokeRequest,
    RestorePrincipalRequest,
    CreateAgentRequest,
    SuspendAgentRequest,
    ResumeAgentRequest,
    RevokeAgentKeyRequest,
    ApplyProfileRequest,
    CreateJoinTokenRequest,
    RevokeJoinTokenRequest,
    EraseRequest,
    PruneRequest,
    CreateLegalHoldRequest,
    RemoveLegalHoldRequest,
    RotateBrokerKeyRequest,
    GrantSessionRequest,
    EndSessionsRequest,
);

/// Returns what identifies a repeated request. Malformed if the idempotency key is not 16 bytes.
pub(crate) fn repeatable<M: Keyed>(message: &M) -> Result<Repeatable, Refusal> {
    let mut asked = message.clone();
    let key = fixed("idempotency_key", &asked.take_key())?;
    Ok(Repeatable { key, request: sha256(&asked.encode_to_vec()) })
}

/// Serves a writing request: authenticate, read the message, decide and record.
pub(crate) async fn write<M: Keyed, O: Operation>(
    broker: &Arc<Broker>,
    request: Request<M>,
    understand: impl FnOnce(M) -> Result<O, Refusal>,
) -> Result<Recorded<O::Granted>, Refusal> {
    let caller = authenticate::caller(broker, &request, O::METHOD)?;
    let came = came(&request);
    let message = request.into_inner();
    let repeatable = Some(repeatable(&message)?);
    let operation = understand(message)?;
    let authenticated = Authenticated { caller, operation };
    pipeline::run(broker, Asked { authenticated, repeatable, came }).await
}

/// Serves a request that only reads, or that is idempotent by itself.
pub(crate) async fn read<M, O: Operation>(
    broker: &Arc<Broker>,
    request: Request<M>,
    understand: impl FnOnce(M) -> Result<O, Refusal>,
) -> Result<Recorded<O::Granted>, Refusal> {
    let caller = authenticate::caller(broker, &request, O::METHOD)?;
    let came = came(&request);
    let operation = understand(request.into_inner())?;
    let authenticated = Authenticated { caller, operation };
    pipeline::run(broker, Asked { authenticated, repeatable: None, came }).await
}

/// Ends sessions, and repeats until nothing of them is left. A delegation that is issued at the same
/// time as the first decision ends with the second. It runs on when the caller hangs up. Returns the
/// numbers of ended sessions and delegations, or the refusal.
pub(crate) async fn end_sessions(
    broker: Arc<Broker>,
    caller: Caller,
    operation: EndSessions,
    came: Came,
) -> Result<Result<(u64, u64), Deny>, Refusal> {
    pipeline::run_detached(sweep(broker, caller, operation, came)).await
}

async fn sweep(
    broker: Arc<Broker>,
    caller: Caller,
    operation: EndSessions,
    came: Came,
) -> Result<Result<(u64, u64), Deny>, Refusal> {
    let mut ended = (0u64, 0u64);
    for _ in 0..SWEEPS_MAX {
        let authenticated = Authenticated { caller: caller.clone(), operation: operation.clone() };
        let asked = Asked { authenticated, repeatable: None, came };
        match pipeline::run(&broker, asked).await?.into_outcome() {
            Ok((0, 0)) => return Ok(Ok(ended)),
            Ok((sessions, delegations)) => {
                ended.0 = ended.0.saturating_add(sessions);
                ended.1 = ended.1.saturating_add(delegations);
            }
            Err(deny) => return Ok(Err(deny)),
        }
    }
    Ok(Ok(ended))
}

/// Returns the trace and the network of a request.
pub(crate) fn came<M>(request: &Request<M>) -> Came {
    Came { trace: trace(request), from: authenticate::via(request).network() }
}

/// Returns the trace-id of `traceparent` (W3C Trace Context, section 3.2); `None` if there is none. The
/// caller chooses it, so no decision uses it.
fn trace<M>(request: &Request<M>) -> Option<[u8; 16]> {
    let header = request.metadata().get("traceparent")?.to_str().ok()?;
    let mut parts = header.split('-');
    let (_, id) = (parts.next().filter(|version| version.len() == 2)?, parts.next()?);
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if id.len() != 32 || !id.bytes().all(lower_hex) {
        return None;
    }
    let id = u128::from_str_radix(id, 16).ok().filter(|id| *id != 0)?;
    Some(id.to_be_bytes())
}

/// Returns the reason, if it is short enough. Malformed if it exceeds `REASON_BYTES_MAX`.
pub(crate) fn reason(text: String) -> Result<String, Refusal> {
    if text.len() > REASON_BYTES_MAX {
        return Err(field(
            "reason",
            format!("{} bytes, at most {REASON_BYTES_MAX} are allowed", text.len()),
        )
        .into());
    }
    Ok(text)
}
