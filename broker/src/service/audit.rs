//! `sublet.v1.Audit`.

use std::sync::Arc;

use sublet_core::decide::{Ask, Replay};
use sublet_core::id::DelegationId;
use sublet_proto::convert::hop_id;
use sublet_proto::v1;
use sublet_proto::v1::audit_server::Audit;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::broker::Broker;
use crate::respond::{self, Answer};
use crate::store::LedgerReader;

/// Entries read at once: at 4 KiB each half a MiB.
const PAGE: usize = 128;

/// The service.
pub(crate) struct AuditService(pub(crate) Arc<Broker>);

#[tonic::async_trait]
impl Audit for AuditService {
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
