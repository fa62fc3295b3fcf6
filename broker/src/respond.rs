//! The last step: what leaves the process. The only place that makes a `tonic::Status`.
//!
//! Owns: kind of no → gRPC status with its stable code (google.rpc.ErrorInfo, domain `sublet`) and, where
//! the same call may be made again, after how long (google.rpc.RetryInfo),
//! receipts, answers made from what was recorded. Does not own: the decision.
//!
//! Invariants: an answer is made from [`Recorded`] alone, so all of it is of one moment; a receipt names only
//! what is durable; the caller hears less than the ledger says.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use sublet_core::evidence::receipt::{Receipt, ReceiptClaims};
use sublet_core::refusal::{Fault, Malformed, Refusal};
use sublet_core::state::Basis;
use sublet_core::trust::bundle::KeyUse;
use sublet_proto::v1;
use sublet_proto::{ANSWER_METADATA, NOT_KEPT};
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataValue;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::broker::Broker;
use crate::pipeline::{Found, Recorded};
use crate::store::{LedgerReader, Published};

/// The domain of our codes in ErrorInfo.
pub const ERROR_DOMAIN: &str = "sublet";

/// What a service method returns.
pub type Answer<M> = Result<Response<M>, Status>;

/// Answers with what was recorded: the grant as a message, or the refusal.
pub fn answer<G, M>(
    recorded: Result<Recorded<G>, Refusal>,
    message: impl FnOnce(G, &Found) -> Result<M, Refusal>,
) -> Answer<M> {
    let (kept, granted) = granted(recorded);
    finish(kept, granted.and_then(|(granted, found)| message(granted, &found)))
}

/// The same with an answer that has to be waited for.
pub async fn answer_when<G, M, F: Future<Output = Result<M, Refusal>>>(
    recorded: Result<Recorded<G>, Refusal>,
    message: impl FnOnce(G, Found) -> F,
) -> Answer<M> {
    let (kept, granted) = granted(recorded);
    let message = match granted {
        Ok((granted, found)) => message(granted, found).await,
        Err(refusal) => Err(refusal),
    };
    finish(kept, message)
}

/// Whether the answer is kept; what was granted, and the state that the answer is made from.
fn granted<G>(recorded: Result<Recorded<G>, Refusal>) -> (bool, Result<(G, Found), Refusal>) {
    let kept = recorded.as_ref().is_ok_and(Recorded::is_kept);
    (kept, recorded.and_then(|recorded| recorded.into_parts().map_err(Refusal::from)))
}

fn finish<M>(kept: bool, message: Result<M, Refusal>) -> Answer<M> {
    let mut answer = message.map(Response::new).map_err(|refusal| status(&refusal))?;
    if !kept {
        answer.metadata_mut().insert(ANSWER_METADATA, MetadataValue::from_static(NOT_KEPT));
    }
    Ok(answer)
}

/// The status of a refusal. A total match: every kind has its place.
pub fn status(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::Malformed(_) => Code::InvalidArgument,
        Refusal::Unauthenticated(_) => Code::Unauthenticated,
        Refusal::Deny(_) => Code::PermissionDenied,
        Refusal::Overload(_) => Code::ResourceExhausted,
        Refusal::Fault(fault) if fault.is_retriable() => Code::Unavailable,
        Refusal::Fault(_) => Code::Internal,
    };
    if let Refusal::Fault(fault) = refusal {
        tracing::error!(%fault, "fault");
    }
    let detail = match refusal {
        // What went wrong inside is for the operator's log.
        Refusal::Fault(Fault::Internal(_)) => "internal error; nothing was decided".to_owned(),
        refusal => refusal.to_string(),
    };
    coded(code, detail, refusal.code(), refusal.retry_ms())
}

fn coded(code: Code, detail: impl Into<String>, reason: &str, retry_ms: Option<u64>) -> Status {
    let mut details =
        ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::<String, String>::new());
    if let Some(retry_ms) = retry_ms {
        details.set_retry_info(Some(Duration::from_millis(retry_ms)));
    }
    Status::with_error_details(code, detail, details)
}

/// The status that an answer begins with; `None` where a message comes first.
pub(crate) fn of_answer(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}

/// The answer to a gRPC call of no method that there is.
pub(crate) fn no_such_method() -> Status {
    coded(Code::Unimplemented, "there is no such method here", "unimplemented", None)
}

/// The answer to a call that took too long.
pub(crate) fn late() -> Status {
    let late = Fault::Deadline;
    coded(Code::Unavailable, late.to_string(), late.code(), None)
}

/// What the gRPC library, or a standard service, refused in its own words, with a code of ours. Of what
/// it says in place of a service, `INTERNAL` means that it could not read the message.
pub(crate) fn of_the_library(status: &Status) -> Status {
    match status.code() {
        Code::Unimplemented => no_such_method(),
        Code::Cancelled | Code::DeadlineExceeded => late(),
        Code::Internal => {
            let detail = format!("it is no message of this method: {}", status.message());
            self::status(&Malformed::Field { field: "message", detail }.into())
        }
        Code::NotFound => coded(Code::NotFound, status.message(), "not_found", None),
        code => coded(code, status.message(), "transport", None),
    }
}

/// A receipt for the recorded hop that the answer is about: its chain's ledger indices, and that nothing of
/// it is revoked as of the decision. Where something was revoked meanwhile, it staples nothing.
pub fn receipt(broker: &Broker, found: &Found) -> Result<Vec<u8>, Refusal> {
    let missing = || Fault::Internal("a recorded hop is missing".to_owned());
    let Basis { trust, revocation_sequence, hop } = &found.basis;
    let status = hop.as_ref().ok_or_else(missing)?;
    let position = status.indices.len().checked_sub(1);
    let position = position.and_then(|position| u32::try_from(position).ok());
    let claims = ReceiptClaims {
        issuer: broker.domain().issuer(),
        origin: broker.domain().ledger_origin(),
        hop: status.hop,
        position: position.ok_or_else(missing)?,
        indices: status.indices.clone(),
        recorded_at: found.at,
        as_of: found.at,
        revocation_epoch: broker.store.epoch(),
        revocation_sequence: *revocation_sequence,
        fresh_until: match status.is_alive {
            true => found.at.plus_ms(broker.config.receipt_staple_ms),
            false => UnixMillis(0),
        },
    };
    let key = broker.keys.signers.active(trust.bundle(), KeyUse::Receipt)?;
    let receipt = Receipt::sign(claims, key.id, key.signer.as_ref()).map_err(Fault::from)?;
    Ok(receipt.encode())
}

/// That the hops with these ledger indices are in the ledger, under its head of the decision. The ledger is
/// read on a thread that may wait for the disk.
pub async fn inclusion(
    broker: &Arc<Broker>,
    indices: Vec<u64>,
    ledger: Arc<Published>,
) -> Result<v1::Inclusion, Refusal> {
    let reader = broker.store.reader();
    let read = move || read_inclusion(reader.as_ref(), indices, &ledger);
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(Fault::Internal(format!("reading broke off: {error}")).into()))
}

fn read_inclusion(
    reader: &dyn LedgerReader,
    indices: Vec<u64>,
    ledger: &Published,
) -> Result<v1::Inclusion, Refusal> {
    let missing = || Fault::Internal("a recorded hop is not in the ledger".to_owned());
    let hops = indices.into_iter().map(|index| {
        let entry = reader.range(index, 1)?.into_iter().next();
        let entry = entry.filter(|entry| entry.index == index).ok_or_else(missing)?;
        let proof = ledger.inclusion(index, reader).ok_or_else(missing)?;
        let proof = proof.into_iter().map(|hash| hash.to_vec()).collect();
        Ok::<_, Fault>(v1::IncludedLeaf { index, leaf: entry.leaf, proof })
    });
    Ok(v1::Inclusion { checkpoint: ledger.note.clone(), hops: hops.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use sublet_core::base::id::{DelegationId, TrustDomain};
    use sublet_core::evidence::record::{Body, Record};
    use sublet_core::refusal::{Deny, Overload, Unauthenticated};
    use sublet_core::state::Effects;
    use sublet_ledger::tile::Tiles;

    use super::*;
    use crate::config::Config;
    use crate::enroll::Methods;
    use crate::keys::KeyRing;
    use crate::login::Logins;
    use crate::store::{
        Backend, Batch, CheckpointSigner, Commit, Entry, LedgerReader, Loaded, Memory, Store,
    };
    use sublet_host::ports::{Clock as _, RandomSource, SystemClock, SystemRandom};

    /// A store whose reader waits, as for a disk, until it is let go; then it says whether it was.
    struct Waiting {
        memory: Memory,
        reader: Arc<WaitingReader>,
    }

    struct WaitingReader {
        of: Arc<dyn LedgerReader>,
        go: Mutex<Option<mpsc::Receiver<()>>>,
        was_let_go: AtomicBool,
    }

    impl Backend for Waiting {
        fn load(&mut self, domain: &TrustDomain) -> Result<Loaded, Fault> {
            self.memory.load(domain)
        }

        fn persist(&mut self, batch: &Batch) -> Result<(), Fault> {
            self.memory.persist(batch)
        }

        fn reader(&self) -> Arc<dyn LedgerReader> {
            self.reader.clone()
        }

        fn name(&self) -> &'static str {
            "waiting"
        }
    }

    impl Tiles for WaitingReader {
        fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>> {
            self.of.tile(level, index)
        }
    }

    impl LedgerReader for WaitingReader {
        fn range(&self, from: u64, most: usize) -> Result<Vec<Entry>, Fault> {
            if let Some(go) = self.go.lock().unwrap().take() {
                let waited = go.recv_timeout(Duration::from_secs(10));
                self.was_let_go.store(waited.is_ok(), Ordering::SeqCst);
            }
            self.of.range(from, most)
        }

        fn of_delegation(
            &self,
            delegation: &DelegationId,
            from: u64,
            most: usize,
        ) -> Result<Vec<Entry>, Fault> {
            self.of.of_delegation(delegation, from, most)
        }

        fn checkpoints(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Fault> {
            self.of.checkpoints(from, most)
        }
    }

    /// On a runtime of one thread: whoever reads the disk on it holds up everybody.
    #[tokio::test]
    async fn the_ledger_is_read_where_nobody_is_held_up() {
        let data = tempfile::tempdir().unwrap();
        let config = Config::dev(data.path().to_owned(), "127.0.0.1:0".parse().unwrap()).unwrap();
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let drawing: Arc<dyn RandomSource> = entropy.clone();
        let (domain, now) = (&config.trust_domain, clock.now());
        let ring = KeyRing::open(&config.data, domain, now, &drawing, &config.keys).unwrap();
        let memory = Memory::default();
        let (go, until) = mpsc::sync_channel(1);
        let reader = Arc::new(WaitingReader {
            of: memory.reader(),
            go: Mutex::new(None),
            was_let_go: AtomicBool::new(false),
        });
        let backend = Waiting { memory, reader: reader.clone() };
        let notary = CheckpointSigner::new(ring.signers.clone());
        let store = Store::open(backend, ring.trust.clone(), notary).unwrap();
        let body = Body::Exported { what: "a record".into() };
        let commit = Commit {
            effects: Effects {
                records: vec![Record { delegation: None, actor: "test".into(), body }],
                ..Effects::default()
            },
            receipt: None,
            salt: [7; 16],
            trace: None,
            now,
        };
        let ledger = store.commit(commit).await.unwrap().ledger;
        let known = (Methods::of(&config, None).unwrap(), Logins::of(&config).unwrap());
        let broker = Broker::new(config, ring, store, known, None, clock, entropy).unwrap();
        *reader.go.lock().unwrap() = Some(until);
        let (shown, ()) =
            tokio::join!(inclusion(&broker, vec![0], ledger), async { go.send(()).unwrap() });
        assert_eq!(shown.unwrap().hops.len(), 1);
        assert!(reader.was_let_go.load(Ordering::SeqCst), "it held up whoever was to let it go");
    }

    // SPEC 8.1, 8.4.
    #[test]
    fn each_kind_of_no_has_its_status_and_code() {
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
        for (refusal, code, reason) in cases {
            let status = status(&refusal);
            assert_eq!(status.code(), code);
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "sublet"));
            assert!(!status.message().contains("secret path"));
        }
    }
}
