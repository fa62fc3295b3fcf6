//! Why a text or JSON is no scope: said in words, to whoever wrote it.

/// Why a text or JSON is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadScope(pub String);
