//! The trace context of the work in progress, sent with every call to the broker (W3C Trace
//! Context).
//!
//! Owns: which task is part of which trace. Does not own: what a broker does with it: it records
//! the id beside what the calls did, and puts its own spans below it.

use std::future::Future;

use tonic::metadata::{Ascii, MetadataValue};

/// The header's name (W3C Trace Context, section 3.2).
pub(crate) const HEADER: &str = "traceparent";

tokio::task_local! {
    static TRACEPARENT: Option<MetadataValue<Ascii>>;
}

/// Runs `work` as a part of a trace, given as `00-TRACE-PARENT-01` in hex. Every call to a broker
/// inside it sends the trace; tasks that it spawns do not. A text that cannot be a header is not
/// sent, and a broker ignores one that is not a trace.
pub async fn within<F: Future>(traceparent: &str, work: F) -> F::Output {
    TRACEPARENT.scope(traceparent.parse().ok(), work).await
}

/// Returns the trace of the current task; `None` when it has none.
pub(crate) fn current() -> Option<MetadataValue<Ascii>> {
    TRACEPARENT.try_with(Clone::clone).ok().flatten()
}
