//! Why a text or JSON is not a scope, as a message for its author.

/// Why a text or JSON is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadScope(pub String);
