//! What the ledger shall say, as a type. docs/DESIGN, "Leaf and payload"; docs/SPEC section 9.
//!
//! Owns: the kinds of record and their fields. Does not own: their bytes (the broker encodes them
//! once, in the wire's record.proto), their index, or the chain of a delegation's records, which
//! the committer gives.
//!
//! Invariants: no record holds a presentable token, a key's private half or a join token; a hop's
//! own block lies beside the tree as its payload.

use crate::base::id::{AgentId, DelegationId, HopId, Principal, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::revocation::feed::FeedPosition;
use crate::state::rows::session::{Person, SessionId};
use crate::token::BlockPayload;
use crate::token::verify::Holder;
use crate::trust::bundle::{KeyId, KeyState, KeyUse};

/// The most that a refusal keeps of what was asked.
pub const ASKED_BYTES_MAX: usize = 2 * 1024;

/// One record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The delegation that it belongs to, if it belongs to one.
    pub delegation: Option<DelegationId>,
    /// Who acted.
    pub actor: Actor,
    /// What happened.
    pub body: Body,
}

/// Who acted, and what shows that it was them. SPEC 9.13.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name as text: an agent, `agent#helper`, `admin:<thumbprint>`, `key:<thumbprint>` for a key
    /// that is nobody's yet, `login:<issuer>` for a user. A helper's part of it was chosen by whoever spawned the helper.
    pub name: String,
    /// The key that signed the request; `None` for the broker itself and for a user.
    pub key: Option<Thumbprint>,
    /// The hop that the caller holds; `None` unless it called as the holder of a delegation.
    pub hop: Option<HopId>,
    /// The last holder of the caller's chain that the ledger has a record of; `None` where it has one of
    /// the caller's own hop, and unless it called as the holder of a delegation.
    pub recorded: Option<RecordedHolder>,
}

/// A holder that a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedHolder {
    /// Its hop.
    pub hop: HopId,
    /// Its name.
    pub holder: Holder,
}

impl From<String> for Actor {
    /// One that is known by its name alone, such as the broker itself.
    fn from(name: String) -> Self {
        Actor { name, key: None, hop: None, recorded: None }
    }
}

impl From<&str> for Actor {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A key of the broker is new, or went on in its life.
    BrokerKey {
        /// For what, as the trust bundle says it.
        use_: KeyUse,
        /// Its number there.
        id: KeyId,
        /// Which.
        key: Thumbprint,
        /// Where it is in its life from here on.
        state: KeyState,
        /// Why; empty when the broker changed it by itself.
        reason: String,
    },
    /// An agent was created by an admin.
    AgentCreated {
        /// Who.
        agent: AgentId,
        /// Its profile.
        profile: String,
    },
    /// An agent showed a credential and a key, and got its first identity.
    AgentEnrolled {
        /// Who.
        agent: AgentId,
        /// Its key.
        key: Thumbprint,
        /// The id of the join token used; `None` when it was another credential.
        join_token: Option<String>,
        /// The workload's own token that was shown.
        attested: Option<Attestation>,
    },
    /// An agent got a new identity for its key.
    AgentRenewed {
        /// Who.
        agent: AgentId,
        /// Its key.
        key: Thumbprint,
    },
    /// An agent changed its key.
    KeyRotated {
        /// Who.
        agent: AgentId,
        /// From.
        old: Thumbprint,
        /// To.
        new: Thumbprint,
    },
    /// An agent was suspended.
    AgentSuspended {
        /// Who.
        agent: AgentId,
        /// Why.
        reason: String,
    },
    /// An agent was resumed.
    AgentResumed {
        /// Who.
        agent: AgentId,
    },
    /// An agent's key was revoked for ever.
    KeyRevoked {
        /// Whose, if it is known.
        agent: Option<AgentId>,
        /// Which.
        key: Thumbprint,
        /// Why.
        reason: String,
    },
    /// A profile was published.
    ProfileApplied {
        /// Its name.
        name: String,
        /// Its JSON.
        text: String,
    },
    /// A join token was made.
    JoinTokenCreated {
        /// Its id.
        join_token: String,
        /// For whom.
        agent: AgentId,
    },
    /// A join token was revoked.
    JoinTokenRevoked {
        /// Its id.
        join_token: String,
    },
    /// A user's token, or an operator, lets an agent act for somebody.
    Consented {
        /// The session that begins or goes on.
        session: SessionId,
        /// The agent.
        agent: AgentId,
        /// For whom.
        principal: Principal,
        /// Whose token it is; `None` when it is an operator's word. The subject is recorded beside the leaf.
        person: Option<Person>,
        /// SHA-256 over the token; zeros when there is none.
        token: [u8; 32],
        /// What it claimed, in canonical JSON, or the operator's reason.
        detail: String,
    },
    /// A session of authority ended, and all that was issued in it.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// Whose authority; `None` when nothing had been issued by it.
        principal: Option<Principal>,
        /// Whose login it was; `None` when it was an operator's word. Recorded beside the leaf.
        person: Option<Person>,
        /// How many delegations ended with it.
        delegations: u64,
        /// Why.
        reason: String,
    },
    /// A delegation was issued: hop 0.
    Issued(HopRecord),
    /// A hop was recorded.
    HopRecorded(HopRecord),
    /// Something was refused.
    Refused {
        /// The method that was called.
        method: &'static str,
        /// The stable code.
        code: &'static str,
        /// The reason, in words.
        detail: String,
        /// What was asked, at most [`ASKED_BYTES_MAX`] bytes.
        asked: String,
    },
    /// Refusals of one caller that have no record of their own, because there were too many of them.
    RefusalsCounted(CountedRefusals),
    /// Something was revoked.
    Revoked {
        /// What kind: hop, agent, key, principal.
        kind: &'static str,
        /// What, as text.
        target: String,
        /// Why.
        reason: String,
    },
    /// A principal that was revoked is back; what was issued for it until then stays revoked.
    PrincipalRestored {
        /// Who.
        principal: Principal,
        /// Why.
        reason: String,
    },
    /// Records were exported to a reader.
    Exported {
        /// What.
        what: String,
    },
    /// A tool decided a call, and reports it.
    Used(UseRecord),
    /// A tool has applied revocations up to a point.
    VerifierSynced {
        /// The epoch of the feed.
        epoch: u64,
        /// The number of the last.
        sequence: u64,
        /// The largest checkpoint of the ledger that it was shown; `None` when none was.
        checkpoint: Option<Vec<u8>>,
    },
    /// Records below an index were pruned, but for those under a hold; their hashes stay.
    Pruned {
        /// The index.
        below: u64,
    },
    /// Records are kept from being forgotten and erased.
    HoldPlaced {
        /// The hold's name.
        name: String,
        /// The first record.
        from: u64,
        /// The first behind it; `None` for all to come.
        to: Option<u64>,
        /// Why.
        reason: String,
    },
    /// A hold was let go.
    HoldReleased {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// What lay beside a record was erased; its digest stays.
    Erased {
        /// The record's index.
        index: u64,
        /// Why.
        reason: String,
    },
}

/// Refusals of one caller within a minute, counted. SPEC 8.3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedRefusals {
    /// When the first of them was decided.
    pub from: UnixMillis,
    /// When the last of them was decided.
    pub to: UnixMillis,
    /// How many, by method and code: at most [`COUNTED_KINDS_MAX`] lines, the rest in one of empty names.
    pub counts: Vec<RefusalCount>,
    /// SHA-256 over what the first of them asked.
    pub first: [u8; 32],
    /// SHA-256 over what the last of them asked.
    pub last: [u8; 32],
}

/// How often one code was given to calls of one method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// The full method path; empty for all that found no line of their own.
    pub method: String,
    /// The stable code.
    pub code: String,
    /// How often.
    pub count: u64,
}

/// Lines of one summary of refusals: at about 80 bytes each they fit a leaf of 4 KiB beside the rest.
pub const COUNTED_KINDS_MAX: usize = 32;

/// What somebody else said of a workload that enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// How it was said: "jwt", "jwt_svid".
    pub method: &'static str,
    /// By whom.
    pub issuer: String,
    /// SHA-256 over the token.
    pub token: [u8; 32],
    /// What it claimed, in canonical JSON.
    pub claims: String,
}

/// What a tool decided about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UseVerdict {
    /// The call was allowed.
    Allowed,
    /// The call was refused, with this stable code (docs/CODES).
    Denied(String),
}

impl UseVerdict {
    /// Reads the form in messages and records: the code of a refusal, empty for a call that was allowed.
    pub fn of_code(code: String) -> Self {
        match code.is_empty() {
            true => UseVerdict::Allowed,
            false => UseVerdict::Denied(code),
        }
    }

    /// The code of the refusal, in bytes at most 64; empty for a call that was allowed.
    pub fn to_wire(&self) -> &str {
        match self {
            UseVerdict::Allowed => "",
            UseVerdict::Denied(code) => code,
        }
    }

    /// Whether the call was allowed.
    pub fn is_allowed(&self) -> bool {
        *self == UseVerdict::Allowed
    }
}

impl std::fmt::Display for UseVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            UseVerdict::Allowed => "allowed",
            UseVerdict::Denied(code) => code,
        })
    }
}

/// A use in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseRecord {
    /// The last hop of the chain that was used.
    pub hop: HopId,
    /// The tool's name.
    pub audience: String,
    /// What was called.
    pub action: String,
    /// What the tool decided.
    pub verdict: UseVerdict,
    /// When it was decided, by the tool's clock.
    pub decided_at: UnixMillis,
    /// The tool's number for it.
    pub counter: u64,
    /// The position in the revocation feed that it was decided on.
    pub revocations: FeedPosition,
    /// What lies beside.
    pub evidence: Box<UseEvidence>,
}

/// What lies beside the record of a use: with the blocks of recorded hops it is all that the
/// decision was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseEvidence {
    /// The call proof: claims and the holder's signature.
    pub proof: Vec<u8>,
    /// The holder's key.
    pub holder_key: PublicKey,
    /// The arguments; `None` when they were too long to keep.
    pub arguments: Option<Vec<u8>>,
    /// The receipt that was shown; `None` when none was.
    pub receipt: Option<Vec<u8>>,
    /// Blocks of the chain that the ledger does not have beside a record: the last ones.
    pub blocks: Vec<BlockPayload>,
    /// The hop that they are behind; `None` when they begin with the root.
    pub behind: Option<HopId>,
    /// How old the revocations were; `None` when there was no signed head.
    pub age_ms: Option<i64>,
    /// How old they might have been.
    pub staleness_ms_max: i64,
}

/// A hop in the ledger: ids, hashes and positions; its block lies beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopRecord {
    /// Its id.
    pub hop: HopId,
    /// The hop before it; `None` for the root.
    pub parent: Option<HopId>,
    /// 0 for the root.
    pub position: u32,
    /// Who holds the token from here on.
    pub holder: Holder,
    /// The holder's key.
    pub key: Thumbprint,
    /// When it expires, in seconds.
    pub expires: i64,
    /// The session that hop 0 was issued in.
    pub session: Option<SessionId>,
    /// The signed block itself; `None` until it is signed.
    pub block: Option<BlockPayload>,
}

/// The most that a refusal keeps of its reason.
pub const SAYS_BYTES_MAX: usize = 512;

/// Cuts a text to `most` bytes, its digest in place of what is cut; `most` is at least 128.
pub fn cut(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let end =
        (0..=most.saturating_sub(64)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let digest = crate::base::text::base64url(crate::base::bytes::sha256(text.as_bytes()));
    format!("{}… sha256:{digest}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_and_named_by_its_digest() {
        let exact = "x".repeat(128);
        assert_eq!(cut(exact.clone(), 128), exact);
        let one = cut("x".repeat(129), 128);
        assert!(one.len() <= 128 && one.starts_with("xxx") && one.contains("… sha256:"), "{one}");
        assert_ne!(cut("x".repeat(130), 128), one);
        assert!(cut("é".repeat(100), 128).starts_with("éé"));
    }
}
