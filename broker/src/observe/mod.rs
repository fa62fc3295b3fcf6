//! Observability: metrics and traces.

pub(crate) mod calls;
pub(crate) mod metrics;
pub(crate) mod traces;
