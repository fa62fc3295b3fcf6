//! Authority: issuing, delegating, recording, consent, revoking. SPEC 3, 5, 7.

pub(in crate::decide) mod chain;
pub(in crate::decide) mod consent;
pub(in crate::decide) mod issue;
pub(in crate::decide) mod record;
pub(in crate::decide) mod revoke;
