//! The last step: what leaves the process. This is the only place that makes a `tonic::Status`.
//!
//! Owns: kind of refusal → gRPC status with its stable code (google.rpc.ErrorInfo, domain `sublet`) and,
//! if a retry makes sense, the time to wait (google.rpc.RetryInfo); receipts; answers made from what was
//! recorded. Does not own: the decision.
//!
//! Invariants: an answer is made from one [`Recorded`], so all of it is of one moment. A receipt names
//! only durable hops. The caller is told less than the ledger records.

use std::future::Future;
use std::sync::Arc;

use sublet_core::base::id::UnixMillis;
use sublet_core::evidence::receipt::{Receipt, ReceiptClaims};
use sublet_core::refusal::{Fault, Malformed, Refusal};
use sublet_core::state::Basis;
use sublet_core::trust::bundle::KeyUse;
use sublet_proto::status::coded;
use sublet_proto::v1;
use sublet_proto::{ANSWER_METADATA, NOT_KEPT};
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataValue;
use tonic::{Code, Response, Status};

use crate::broker::Broker;
use crate::request::pipeline::{Found, Recorded};
use crate::store::{LedgerReader, Published};

/// The result of a service method.
pub type Answer<M> = Result<Response<M>, Status>;

/// Makes the answer from what was recorded: the message for the grant, or the status of the refusal.
pub fn answer<G, M>(
    recorded: Result<Recorded<G>, Refusal>,
    message: impl FnOnce(G, &Found) -> Result<M, Refusal>,
) -> Answer<M> {
    let (kept, granted) = granted(recorded);
    finish(kept, granted.and_then(|(granted, found)| message(granted, &found)))
}

/// Like [`answer`], for a message that is made asynchronously.
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

/// Returns whether the answer is kept; and the grant with the state that the answer is made from, or the
/// refusal.
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

/// Returns the gRPC status of a refusal. Logs a fault.
pub fn status(refusal: &Refusal) -> Status {
    if let Refusal::Fault(fault) = refusal {
        tracing::error!(%fault, "fault");
    }
    sublet_proto::status::status(refusal)
}

/// Returns the status that a response begins with; `None` if it begins with a message.
pub(crate) fn of_answer(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}

/// Returns the status for a gRPC method that does not exist.
pub(crate) fn no_such_method() -> Status {
    coded(Code::Unimplemented, "there is no such method here", "unimplemented", None)
}

/// Returns the status for a call that took too long.
pub(crate) fn late() -> Status {
    let late = Fault::Deadline;
    coded(Code::Unavailable, late.to_string(), late.code(), None)
}

/// Returns our status for a status of the gRPC library or of a standard service. The library says
/// `INTERNAL` when it cannot read the message.
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

/// Makes a receipt for the recorded hop of the answer. It states the ledger indices of the chain, and
/// that nothing of the chain is revoked at the time of the decision. If something is revoked, the
/// receipt is fresh at no time. A fault if the hop is not recorded.
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
        revocation_epoch: broker.log.store.epoch(),
        revocation_sequence: *revocation_sequence,
        fresh_until: match status.is_alive {
            true => found.at.plus_ms(broker.config.receipt_staple_ms),
            false => UnixMillis(0),
        },
    };
    let key = broker.keys.ring.signers.active(trust.bundle(), KeyUse::Receipt)?;
    let receipt = Receipt::sign(claims, key.id, key.signer.as_ref()).map_err(Fault::from)?;
    Ok(receipt.encode())
}

/// Returns inclusion proofs for the hops with these ledger indices, under the checkpoint of the
/// decision. Reads the ledger on a thread that may wait for the disk.
pub async fn inclusion(
    broker: &Arc<Broker>,
    indices: Vec<u64>,
    ledger: Arc<Published>,
) -> Result<v1::Inclusion, Refusal> {
    let reader = broker.log.store.reader();
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
    use std::time::Duration;

    use sublet_core::base::id::{DelegationId, TrustDomain};
    use sublet_core::evidence::record::{Body, Record};
    use sublet_core::state::Effects;
    use sublet_ledger::tile::Tiles;

    use super::*;
    use crate::config::Config;
    use crate::enroll::Methods;
    use crate::enroll::login::Logins;
    use crate::keys::KeyRing;
    use crate::store::{
        Backend, Batch, CheckpointSigner, Commit, Entry, LedgerReader, Loaded, Memory, Store,
    };
    use sublet_host::ports::{Clock as _, RandomSource, SystemClock, SystemRandom};

    /// A store whose reader waits for a signal, like a slow disk, and then says whether the signal came.
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

    /// The runtime has one thread, so a read on that thread would block every call.
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
}
