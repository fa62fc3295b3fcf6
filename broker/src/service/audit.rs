//! `sublet.v1.Audit`.

use std::sync::Arc;

use sublet_core::decide::{
    Ask, Erase, ReadHead, ReadLedger, Replay, ReportUses, SyncVerifier, USES_MAX,
};
use sublet_core::id::DelegationId;
use sublet_proto::convert::{field, hop_id};
use sublet_proto::v1;
use sublet_proto::v1::audit_server::Audit;
use sublet_proto::v1::tail_part::Part;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::authenticate;
use crate::broker::Broker;
use crate::respond::{self, Answer};
use crate::store::{LedgerReader, Published};

/// Entries read at once: at 4 KiB each half a MiB.
const PAGE: usize = 128;

/// The service.
pub(crate) struct AuditService(pub(crate) Arc<Broker>);

#[tonic::async_trait]
impl Audit for AuditService {
    type TailStream = ReceiverStream<Result<v1::TailPart, Status>>;
    type ReplayStream = ReceiverStream<Result<v1::ReplayEntry, Status>>;

    async fn replay(&self, request: Request<v1::ReplayRequest>) -> Answer<Self::ReplayStream> {
        let recorded = super::read(&self.0, request, Replay::METHOD, |message| {
            Ok(Replay { delegation: hop_id("delegation", &message.delegation)? })
        });
        respond::answer(recorded.await, |delegation| {
            let (entries, stream) = mpsc::channel(PAGE);
            let reader = self.0.store.reader();
            tokio::task::spawn_blocking(move || {
                send_all(reader.as_ref(), &delegation.id, &entries)
            });
            Ok(ReceiverStream::new(stream))
        })
    }

    async fn tail(&self, request: Request<v1::TailRequest>) -> Answer<Self::TailStream> {
        let asked = *request.get_ref();
        let recorded = super::read(&self.0, request, ReadLedger::METHOD, |message| {
            Ok(ReadLedger { from: message.from, payloads: message.payloads })
        });
        respond::answer(recorded.await, |()| {
            let (published, reader) = (self.0.store.published()?, self.0.store.reader());
            let (parts, stream) = mpsc::channel(4);
            tokio::task::spawn_blocking(move || {
                send_tail(&published, reader.as_ref(), asked, &parts)
            });
            Ok(ReceiverStream::new(stream))
        })
    }

    async fn report_uses(
        &self,
        request: Request<v1::ReportUsesRequest>,
    ) -> Answer<v1::ReportUsesResponse> {
        let broker = &self.0;
        let recorded = super::read(broker, request, ReportUses::METHOD, |message| {
            if !(1..=USES_MAX).contains(&message.uses.len()) {
                let says = format!("{} uses, 1 to {USES_MAX} are taken", message.uses.len());
                return Err(field("uses", says).into());
            }
            let uses = message.uses.into_iter();
            Ok(ReportUses { uses: uses.map(|use_| authenticate::used(broker, use_)).collect() })
        });
        respond::answer(recorded.await, |next_counter| Ok(v1::ReportUsesResponse { next_counter }))
    }

    async fn sync_verifier(
        &self,
        request: Request<v1::SyncVerifierRequest>,
    ) -> Answer<v1::SyncVerifierResponse> {
        let recorded = super::read(&self.0, request, SyncVerifier::METHOD, |message| {
            Ok(SyncVerifier { revocations: (message.epoch, message.sequence) })
        });
        respond::answer(recorded.await, |next_counter| {
            Ok(v1::SyncVerifierResponse { next_counter })
        })
    }

    async fn erase(&self, request: Request<v1::EraseRequest>) -> Answer<v1::EraseResponse> {
        let broker = &self.0;
        let recorded = super::write(broker, request, |message| {
            let size = broker.store.published()?.tree.size();
            if message.index >= size {
                let says = format!("{}, the ledger has {size} records", message.index);
                return Err(field("index", says).into());
            }
            Ok(Erase { index: message.index, reason: super::reason(message.reason)? })
        });
        respond::answer(recorded.await, |()| Ok(v1::EraseResponse {}))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Answer<v1::GetCheckpointResponse> {
        let recorded = super::read(&self.0, request, ReadHead::METHOD, |_| Ok(ReadHead));
        respond::answer(recorded.await, |()| {
            let checkpoint = self.0.store.published()?.note.clone();
            Ok(v1::GetCheckpointResponse { checkpoint })
        })
    }
}

/// Sends a head and the records behind the reader's; ends when the reader is gone.
fn send_tail(
    published: &Published,
    reader: &dyn LedgerReader,
    asked: v1::TailRequest,
    parts: &mpsc::Sender<Result<v1::TailPart, Status>>,
) {
    let send = |part| parts.blocking_send(Ok(v1::TailPart { part: Some(part) })).is_ok();
    let proof = published.consistency(asked.from, reader).unwrap_or_default();
    let head = v1::TailHead {
        checkpoint: published.note.clone(),
        consistency: proof.into_iter().map(|hash| hash.to_vec()).collect(),
    };
    if !send(Part::Head(head)) {
        return;
    }
    let (mut from, size) = (asked.from, published.tree.size());
    while from < size {
        let most = PAGE.min(usize::try_from(size - from).unwrap_or(PAGE));
        let page = match reader.range(from, most) {
            Ok(page) if !page.is_empty() => page,
            Ok(_) => return,
            Err(fault) => {
                let _ = parts.blocking_send(Err(respond::status(&fault.into())));
                return;
            }
        };
        let first = page.first().map_or(from, |entry| entry.index);
        from = page.last().map_or(size, |entry| entry.index.saturating_add(1));
        let (leaves, payloads): (Vec<_>, Vec<_>) =
            page.into_iter().map(|entry| (entry.leaf, entry.payload.unwrap_or_default())).unzip();
        let payloads = if asked.payloads { payloads } else { Vec::new() };
        if !send(Part::Entries(v1::TailEntries { first, leaves, payloads })) {
            return;
        }
    }
}

/// Reads a delegation's entries page by page; ends when the reader is gone.
fn send_all(
    reader: &dyn LedgerReader,
    delegation: &DelegationId,
    entries: &mpsc::Sender<Result<v1::ReplayEntry, Status>>,
) {
    let mut from = 0;
    loop {
        let page = match reader.of_delegation(delegation, from, PAGE) {
            Ok(page) => page,
            Err(fault) => {
                let _ = entries.blocking_send(Err(respond::status(&fault.into())));
                return;
            }
        };
        let last = page.last().map(|entry| entry.index);
        for entry in page {
            let message = v1::ReplayEntry {
                index: entry.index,
                leaf: entry.leaf,
                payload: entry.payload.unwrap_or_default(),
            };
            if entries.blocking_send(Ok(message)).is_err() {
                return;
            }
        }
        match last {
            Some(index) => from = index.saturating_add(1),
            None => return,
        }
    }
}
