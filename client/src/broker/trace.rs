//! The trace that work is part of, told to the broker with every call (W3C Trace Context).
//!
//! Owns: which trace is whose. Does not own: what a broker does with it: its ledger has the id beside
//! what the calls did, and its spans hang below it.

use std::future::Future;

use tonic::metadata::{Ascii, MetadataValue};

/// W3C Trace Context, section 3.2.
pub(crate) const HEADER: &str = "traceparent";

tokio::task_local! {
    static TRACEPARENT: Option<MetadataValue<Ascii>>;
}

/// Does work as a part of a trace: `00-TRACE-PARENT-01`, in hex. Every call to a broker that the work
/// makes says so; tasks that it spawns do not. What is no header is not sent, what is no trace a broker
/// does not heed.
pub async fn within<F: Future>(traceparent: &str, work: F) -> F::Output {
    TRACEPARENT.scope(traceparent.parse().ok(), work).await
}

/// The trace that the current task is part of.
pub(crate) fn current() -> Option<MetadataValue<Ascii>> {
    TRACEPARENT.try_with(Clone::clone).ok().flatten()
}
