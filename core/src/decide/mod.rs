//! The broker's decisions: one pure function for each request. SPEC sections 3 to 7.
//!
//! `(operation, context) → verdict`: no clock, no store, no random source. A verdict states what is
//! granted or refused, and its effects: what must still hold when it is committed, what changes,
//! what is recorded.
//!
//! Owns: the decisions. Does not own: who the caller is (`verify`, `caller`), the commit (`state`).

mod admin;
mod agent;
mod authority;
pub mod caller;
mod context;
mod ledger;
mod operation;
mod query;
mod verdict;

pub use admin::fleet::{
    ApplyProfile, CreateAgent, CreateJoinToken, Created, Invitation, ResumeAgent, RevokeAgentKey,
    RevokeJoinToken, SuspendAgent, join_token_hash, split_join_token,
};
pub use admin::keys::{RotateBrokerKey, apply_key_step};
pub use agent::enroll::{Credential, Enroll, Renew, RotateKey, check_repeats};
pub use agent::former::{FORMER_KEYS_IN_FORCE_MAX, FORMER_KEYS_MAX, FormerKeys, RevokeFormerKeys};
pub use agent::kept_identity::keeps_an_identity;
pub use authority::chain::{check_holder_key, check_names};
pub use authority::consent::{EndSessions, Ending, GrantSession, sweep_sessions};
pub use authority::issue::{Consent, Issue, Issued};
pub use authority::record::{Delegate, RecordHop, Recording};
pub use authority::revoke::{RestorePrincipal, Restored, Revoke, Target};
pub use context::{Context, Entropy, Settings, View};
pub use ledger::retain::{CreateLegalHold, Erase, Prune, ReadRetention, RemoveLegalHold, Retained};
pub use ledger::uses::{
    ARGUMENTS_BYTES_MAX, BadUse, ProvenUse, ReportUses, ReportVerifierState, ReportedUse, USES_MAX,
    USES_NOT_TAKEN,
};
pub use operation::{Decision, Grant, Keeps, Operation, Unsigned, UnsignedBlock};
pub use query::list::{
    ListAgents, ListDelegations, ListJoinTokens, ListProfiles, ListSessions, ListedDelegation,
    ListedSession, Page, PageOf,
};
pub use query::read::{
    GetAgent, GetAgentKey, GetInclusionProof, GetProfile, GetStatus, Inspect, Inspected,
    InspectedHop, ReadCheckpoint, ReadLedger, Replay, Replayed, Status, WatchFeed,
};
pub use verdict::{Verdict, decide};

/// Returns whether a text is valid as an operator's name for something: 1 to 63 of a-z 0-9 -.
fn is_name(text: &str) -> bool {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(ok)
}
