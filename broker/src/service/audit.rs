//! The gRPC service `sublet.v1.Audit`.

use std::ops::Range;
use std::sync::Arc;

use sublet_core::decide::{
    CreateLegalHold, Erase, Prune, ReadCheckpoint, ReadLedger, ReadRetention, RemoveLegalHold,
    Replay, Replayed, ReportUses, ReportVerifierState, USES_MAX,
};
use sublet_core::refusal::{Fault, Refusal};
use sublet_core::revocation::feed::FeedPosition;
use sublet_proto::convert::{field, hop_id};
use sublet_proto::v1;
use sublet_proto::v1::audit_server::Audit;
use sublet_proto::v1::records_part::Part;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::broker::Broker;
use crate::ledger::below::Below;
use crate::maintenance::retain;
use crate::request::authenticate;
use crate::request::pipeline::Recorded;
use crate::request::respond::{self, Answer};
use crate::store::{LedgerReader, Published};

/// The entries that are read at once: half a MiB at 4 KiB each.
const PAGE: usize = 128;

/// The service.
pub(crate) struct AuditService(pub(crate) Arc<Broker>);

#[tonic::async_trait]
impl Audit for AuditService {
    type StreamRecordsStream = ReceiverStream<Result<v1::RecordsPart, Status>>;
    type ReplayStream = ReceiverStream<Result<v1::ReplayEntry, Status>>;

    async fn replay(&self, request: Request<v1::ReplayRequest>) -> Answer<Self::ReplayStream> {
        let recorded = super::read(&self.0, request, |message| {
            Ok(Replay { delegation: hop_id("delegation", &message.delegation)? })
        });
        respond::answer(recorded.await, |replayed, _| {
            let (entries, stream) = mpsc::channel(PAGE);
            let reader = self.0.log.store.reader();
            tokio::task::spawn_blocking(move || send_all(reader.as_ref(), &replayed, &entries));
            Ok(ReceiverStream::new(stream))
        })
    }

    async fn stream_records(
        &self,
        request: Request<v1::StreamRecordsRequest>,
    ) -> Answer<Self::StreamRecordsStream> {
        let asked = *request.get_ref();
        let recorded = super::read(&self.0, request, |message| {
            Ok(ReadLedger { from: message.from, payloads: message.payloads })
        });
        respond::answer(recorded.await, |(), found| {
            let (published, reader) = (found.ledger.clone(), self.0.log.store.reader());
            let (parts, stream) = mpsc::channel(4);
            tokio::task::spawn_blocking(move || {
                send_records(&published, reader.as_ref(), asked, &parts)
            });
            Ok(ReceiverStream::new(stream))
        })
    }

    async fn report_uses(
        &self,
        request: Request<v1::ReportUsesRequest>,
    ) -> Answer<v1::ReportUsesResponse> {
        let broker = &self.0;
        let recorded = super::read(broker, request, |message| {
            if !(1..=USES_MAX).contains(&message.uses.len()) {
                let detail = format!("{} uses, 1 to {USES_MAX} are taken", message.uses.len());
                return Err(field("uses", detail).into());
            }
            let uses = message.uses.into_iter();
            Ok(ReportUses { uses: uses.map(|use_| authenticate::used(broker, use_)).collect() })
        });
        respond::answer(recorded.await, |next_counter, _| {
            Ok(v1::ReportUsesResponse { next_counter })
        })
    }

    async fn report_verifier_state(
        &self,
        request: Request<v1::ReportVerifierStateRequest>,
    ) -> Answer<v1::ReportVerifierStateResponse> {
        let recorded = super::read(&self.0, request, |message| {
            let head = authenticate::head(&self.0, message.checkpoint)?;
            let revocations = FeedPosition::new(message.epoch, message.sequence);
            Ok(ReportVerifierState { revocations, head })
        });
        respond::answer(recorded.await, |next_counter, _| {
            Ok(v1::ReportVerifierStateResponse { next_counter })
        })
    }

    async fn erase(&self, request: Request<v1::EraseRequest>) -> Answer<v1::EraseResponse> {
        let broker = &self.0;
        let recorded = super::write(broker, request, |message| {
            in_ledger(broker, "index", message.index.saturating_add(1))?;
            Ok(Erase { index: message.index, reason: super::reason(message.reason)? })
        });
        respond::answer(recorded.await, |(), _| Ok(v1::EraseResponse {}))
    }

    async fn prune(&self, request: Request<v1::PruneRequest>) -> Answer<v1::PruneResponse> {
        let broker = &self.0;
        let recorded = super::write(broker, request, |message| {
            in_ledger(broker, "below", message.below)?;
            Ok(Prune { below: message.below })
        });
        let recorded = recorded.await;
        begin(broker, &recorded).await;
        respond::answer(recorded, |below, _| Ok(v1::PruneResponse { below }))
    }

    async fn create_legal_hold(
        &self,
        request: Request<v1::CreateLegalHoldRequest>,
    ) -> Answer<v1::CreateLegalHoldResponse> {
        let recorded = super::write(&self.0, request, |message| {
            let reason = super::reason(message.reason)?;
            Ok(CreateLegalHold { name: message.name, from: message.from, to: message.to, reason })
        });
        respond::answer(recorded.await, |(), _| Ok(v1::CreateLegalHoldResponse {}))
    }

    async fn remove_legal_hold(
        &self,
        request: Request<v1::RemoveLegalHoldRequest>,
    ) -> Answer<v1::RemoveLegalHoldResponse> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(RemoveLegalHold { name: message.name, reason: super::reason(message.reason)? })
        });
        let recorded = recorded.await;
        begin(&self.0, &recorded).await;
        respond::answer(recorded, |(), _| Ok(v1::RemoveLegalHoldResponse {}))
    }

    async fn get_retention(
        &self,
        request: Request<v1::GetRetentionRequest>,
    ) -> Answer<v1::GetRetentionResponse> {
        let recorded = super::read(&self.0, request, |_| Ok(ReadRetention));
        respond::answer(recorded.await, |retained, _| {
            let hold = |hold: sublet_core::state::rows::retention::Hold| v1::Hold {
                name: hold.name,
                from: hold.from,
                to: Some(hold.to).filter(|to| *to < u64::MAX),
                placed_at_ms: hold.placed_at.0,
            };
            let holds = retained.holds.into_iter().map(hold).collect();
            Ok(v1::GetRetentionResponse { below: retained.floor, holds })
        })
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Answer<v1::GetCheckpointResponse> {
        let recorded = super::read(&self.0, request, |_| Ok(ReadCheckpoint));
        respond::answer(recorded.await, |(), found| {
            let checkpoint = found.ledger.note.clone();
            let witnessed = self.0.log.witnessed.note();
            Ok(v1::GetCheckpointResponse { checkpoint, witnessed })
        })
    }
}

/// Sends a checkpoint and the records after the reader's. Stops when the reader is gone.
fn send_records(
    published: &Published,
    reader: &dyn LedgerReader,
    asked: v1::StreamRecordsRequest,
    parts: &mpsc::Sender<Result<v1::RecordsPart, Status>>,
) {
    let send = |part| parts.blocking_send(Ok(v1::RecordsPart { part: Some(part) })).is_ok();
    let proof = published.consistency(asked.from, reader).unwrap_or_default();
    let head = v1::RecordsCheckpoint {
        checkpoint: published.note.clone(),
        consistency: proof.into_iter().map(|hash| hash.to_vec()).collect(),
    };
    if !send(Part::Checkpoint(head)) {
        return;
    }
    let (mut from, size) = (asked.from, published.tree.size());
    while from < size {
        let most = PAGE.min(usize::try_from(size - from).unwrap_or(PAGE));
        let part = match next_part(published, reader, from..size, most, asked.payloads) {
            Ok(part) => part,
            Err(fault) => {
                let _ = parts.blocking_send(Err(respond::status(&fault.into())));
                return;
            }
        };
        let sent = match &part {
            Part::Entries(entries) => entries.leaves.len(),
            Part::Pruned(pruned) => pruned.hashes.len() / 32,
            Part::Checkpoint(_) => 0,
        };
        from = from.saturating_add(sent as u64);
        if !send(part) || sent == 0 {
            return;
        }
    }
}

/// Returns the next entries; or, if they were pruned, their hashes.
fn next_part(
    published: &Published,
    reader: &dyn LedgerReader,
    left: Range<u64>,
    most: usize,
    payloads: bool,
) -> Result<Part, Fault> {
    let mut page = reader.range(left.start, most)?;
    let there = page.first().map_or(left.end, |entry| entry.index);
    if there > left.start {
        let hashes = published.leaf_hashes(left.start..there.min(left.end), reader)?;
        return Ok(Part::Pruned(v1::RecordsPruned { first: left.start, hashes }));
    }
    let run = page.iter().zip(left.start..).take_while(|(entry, index)| entry.index == *index);
    page.truncate(run.count());
    let (leaves, beside): (Vec<_>, Vec<_>) =
        page.into_iter().map(|entry| (entry.leaf, entry.payload.unwrap_or_default())).unzip();
    let payloads = if payloads { beside } else { Vec::new() };
    Ok(Part::Entries(v1::RecordsEntries { first: left.start, leaves, payloads }))
}

/// Prunes at once what an admin's call has released. Other callers cannot trigger this.
async fn begin<G>(broker: &Arc<Broker>, recorded: &Result<Recorded<G>, Refusal>) {
    if recorded.as_ref().is_ok_and(Recorded::is_granted) {
        retain::begin(broker).await;
    }
}

/// Refuses an index beyond the end of the ledger.
fn in_ledger(broker: &Broker, name: &'static str, end: u64) -> Result<(), Refusal> {
    let size = broker.log.store.published()?.tree.size();
    if end <= size {
        return Ok(());
    }
    Err(field(name, format!("it lies behind the ledger, which has {size} records")).into())
}

/// Sends a delegation's entries that the caller may see, page by page. Stops when the reader is gone.
fn send_all(
    reader: &dyn LedgerReader,
    replayed: &Replayed,
    entries: &mpsc::Sender<Result<v1::ReplayEntry, Status>>,
) {
    let (mut from, mut below) = (0, replayed.below.map(Below::new));
    loop {
        let page = match reader.of_delegation(&replayed.delegation, from, PAGE) {
            Ok(page) => page,
            Err(fault) => {
                let _ = entries.blocking_send(Err(respond::status(&fault.into())));
                return;
            }
        };
        let last = page.last().map(|entry| entry.index);
        for entry in page {
            if !below.as_mut().is_none_or(|below| below.has(&entry)) {
                continue;
            }
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
