//! The records of the ledger, as types. docs/DESIGN, "Leaf and payload"; docs/SPEC section 9.
//!
//! Owns: the kinds of record and their fields. Does not own: their bytes (the broker encodes them
//! once, in the wire's record.proto), their index, or the chain of a delegation's records, which
//! the committer assigns.
//!
//! Invariants: no record contains a token that somebody could present, a private key or a join
//! token; a hop's block is the payload of its record.

use crate::base::id::{AgentId, DelegationId, HopId, Principal, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::revocation::feed::FeedPosition;
use crate::state::rows::session::{Person, SessionId};
use crate::token::BlockPayload;
use crate::token::verify::Holder;
use crate::trust::bundle::{KeyId, KeyState, KeyUse};

/// The most that a refusal keeps of the request, in bytes.
pub const ASKED_BYTES_MAX: usize = 2 * 1024;

/// One record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The delegation that the record belongs to; `None` when it belongs to none.
    pub delegation: Option<DelegationId>,
    /// The party that acted.
    pub actor: Actor,
    /// The event.
    pub body: Body,
}

/// The party that acted, and the key that proves it. SPEC 9.13.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name as text: an agent, `agent#helper`, `admin:<thumbprint>`, `key:<thumbprint>` for a
    /// key that belongs to nobody yet, `login:<issuer>` for a user. The party that spawned a helper
    /// chose the helper's part of the name.
    pub name: String,
    /// The key that signed the request; `None` for the broker itself and for a user.
    pub key: Option<Thumbprint>,
    /// The hop that the caller holds; `None` unless it called as the holder of a delegation.
    pub hop: Option<HopId>,
    /// The last recorded holder in the caller's chain; `None` when the caller's own hop is
    /// recorded, and unless it called as the holder of a delegation.
    pub recorded: Option<RecordedHolder>,
}

/// A recorded holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedHolder {
    /// The id of its hop.
    pub hop: HopId,
    /// The holder's name.
    pub holder: Holder,
}

impl From<String> for Actor {
    /// Returns a party that is known by its name alone, such as the broker itself.
    fn from(name: String) -> Self {
        Actor { name, key: None, hop: None, recorded: None }
    }
}

impl From<&str> for Actor {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

/// The event of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A key of the broker is new, or has another state.
    BrokerKey {
        /// The use of the key in the trust bundle.
        use_: KeyUse,
        /// The number of the key in the trust bundle.
        id: KeyId,
        /// The thumbprint of the key.
        key: Thumbprint,
        /// The state of the key after this.
        state: KeyState,
        /// Why; empty when the broker changed it by itself.
        reason: String,
    },
    /// The admin created an agent.
    AgentCreated {
        /// The agent.
        agent: AgentId,
        /// The name of its profile.
        profile: String,
    },
    /// An agent enrolled: it showed a credential, proved a key and got its first identity.
    AgentEnrolled {
        /// The agent.
        agent: AgentId,
        /// The thumbprint of its key.
        key: Thumbprint,
        /// The id of the join token used; `None` when it was another credential.
        join_token: Option<String>,
        /// The workload's own token that was shown.
        attested: Option<Attestation>,
    },
    /// An agent got a new identity token for its key.
    AgentRenewed {
        /// The agent.
        agent: AgentId,
        /// The thumbprint of its key.
        key: Thumbprint,
    },
    /// An agent rotated its key.
    KeyRotated {
        /// The agent.
        agent: AgentId,
        /// The thumbprint of the previous key.
        old: Thumbprint,
        /// The thumbprint of the new key.
        new: Thumbprint,
    },
    /// An agent was suspended.
    AgentSuspended {
        /// The agent.
        agent: AgentId,
        /// The reason, as text.
        reason: String,
    },
    /// An agent was resumed.
    AgentResumed {
        /// The agent.
        agent: AgentId,
    },
    /// An agent's key was revoked for ever.
    KeyRevoked {
        /// The agent of the key; `None` when it is not known.
        agent: Option<AgentId>,
        /// The thumbprint of the key.
        key: Thumbprint,
        /// The reason, as text.
        reason: String,
    },
    /// A profile was published.
    ProfileApplied {
        /// The name of the profile.
        name: String,
        /// The profile as JSON.
        text: String,
    },
    /// A join token was created.
    JoinTokenCreated {
        /// The id of the join token.
        join_token: String,
        /// The agent that it enrolls.
        agent: AgentId,
    },
    /// A join token was revoked.
    JoinTokenRevoked {
        /// The id of the join token.
        join_token: String,
    },
    /// A consent was recorded: a user's token, or a grant by the admin, lets an agent act for a
    /// principal.
    Consented {
        /// The session that begins or continues.
        session: SessionId,
        /// The agent.
        agent: AgentId,
        /// The principal that the agent may act for.
        principal: Principal,
        /// The user of the token; `None` for a grant by the admin. The subject is in the payload.
        person: Option<Person>,
        /// SHA-256 over the token; zeros when there is none.
        token: [u8; 32],
        /// The claims of the token in canonical JSON, or the admin's reason.
        detail: String,
    },
    /// A session of authority ended, with everything that was issued in it.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// The principal; `None` when nothing was issued in the session.
        principal: Option<Principal>,
        /// The user of the login; `None` for a grant by the admin. It is in the payload.
        person: Option<Person>,
        /// How many delegations ended.
        delegations: u64,
        /// The reason, as text.
        reason: String,
    },
    /// A delegation was issued: hop 0.
    Issued(HopRecord),
    /// A hop was recorded.
    HopRecorded(HopRecord),
    /// A request was refused.
    Refused {
        /// The full path of the method.
        method: &'static str,
        /// The stable code.
        code: &'static str,
        /// The reason, as text.
        detail: String,
        /// The request, as text of at most [`ASKED_BYTES_MAX`] bytes.
        asked: String,
    },
    /// Refusals of one caller that are only counted, because there were too many of them.
    RefusalsCounted(CountedRefusals),
    /// A hop, agent, key or principal was revoked.
    Revoked {
        /// The kind of the subject: hop, agent, key, principal.
        kind: &'static str,
        /// The subject, as text.
        target: String,
        /// The reason, as text.
        reason: String,
    },
    /// A revoked principal was restored. What was issued for it before stays revoked.
    PrincipalRestored {
        /// The principal.
        principal: Principal,
        /// The reason, as text.
        reason: String,
    },
    /// Records were exported to a reader.
    Exported {
        /// Which records, as text.
        what: String,
    },
    /// A tool reported a decision on a call.
    Used(UseRecord),
    /// A tool reported up to which position it has applied revocations.
    VerifierSynced {
        /// The epoch of the revocation feed.
        epoch: u64,
        /// The number of the last applied delta.
        sequence: u64,
        /// The largest checkpoint of the ledger that it was shown; `None` when none was.
        checkpoint: Option<Vec<u8>>,
    },
    /// Records below an index were pruned, except those under a legal hold. Their hashes stay.
    Pruned {
        /// The index.
        below: u64,
    },
    /// A legal hold was placed on a range of records.
    LegalHoldCreated {
        /// The name of the hold.
        name: String,
        /// The index of the first record.
        from: u64,
        /// The index after the last record; `None` for all records to come.
        to: Option<u64>,
        /// The reason, as text.
        reason: String,
    },
    /// A legal hold was removed.
    LegalHoldRemoved {
        /// The name of the hold.
        name: String,
        /// The reason, as text.
        reason: String,
    },
    /// The payload of a record was erased. Its digest stays.
    Erased {
        /// The index of the record.
        index: u64,
        /// The reason, as text.
        reason: String,
    },
}

/// The refusals of one caller within a minute, counted. SPEC 8.3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedRefusals {
    /// When the first of them was decided.
    pub from: UnixMillis,
    /// When the last of them was decided.
    pub to: UnixMillis,
    /// The numbers by method and code: at most [`COUNTED_KINDS_MAX`] lines, the rest in one line
    /// with empty names.
    pub counts: Vec<RefusalCount>,
    /// SHA-256 over the first refused request.
    pub first: [u8; 32],
    /// SHA-256 over the last refused request.
    pub last: [u8; 32],
}

/// How often calls of one method got one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// The full method path; empty for all that found no line of their own.
    pub method: String,
    /// The stable code.
    pub code: String,
    /// How often calls of the method got the code.
    pub count: u64,
}

/// The most lines of one summary of refusals. At about 80 bytes each they fit a leaf of 4 KiB with
/// the rest.
pub const COUNTED_KINDS_MAX: usize = 32;

/// The statement of an issuer about a workload that enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The method: `jwt`, `jwt_svid`, `x509_svid` or `federated`.
    pub method: &'static str,
    /// The issuer of the token.
    pub issuer: String,
    /// SHA-256 over the token.
    pub token: [u8; 32],
    /// The claims, in canonical JSON.
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
    /// The tool's audience.
    pub audience: String,
    /// The action of the call.
    pub action: String,
    /// What the tool decided.
    pub verdict: UseVerdict,
    /// When it was decided, by the tool's clock.
    pub decided_at: UnixMillis,
    /// The tool's counter of the decision.
    pub counter: u64,
    /// The position in the revocation feed that the tool had applied.
    pub revocations: FeedPosition,
    /// The payload.
    pub evidence: Box<UseEvidence>,
}

/// The payload of a use's record. With the blocks of recorded hops it is everything that the
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
    /// The hop before these blocks; `None` when they begin with the root.
    pub behind: Option<HopId>,
    /// The age of the tool's revocation view in milliseconds; `None` when it had no head.
    pub age_ms: Option<i64>,
    /// The greatest age that the tool accepted, in milliseconds.
    pub staleness_ms_max: i64,
}

/// A hop in the ledger: ids, hashes and positions. Its block is the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopRecord {
    /// The id of the hop.
    pub hop: HopId,
    /// The id of the hop before it; `None` for the root.
    pub parent: Option<HopId>,
    /// The position in the chain: 0 for the root.
    pub position: u32,
    /// The holder that receives the token with this hop.
    pub holder: Holder,
    /// The thumbprint of the holder's key.
    pub key: Thumbprint,
    /// When the hop expires, in seconds since 1970.
    pub expires: i64,
    /// The session that hop 0 was issued in; `None` for every other hop, and when the profile alone
    /// allowed it.
    pub session: Option<SessionId>,
    /// The signed block; `None` until it is signed.
    pub block: Option<BlockPayload>,
}

/// The most that a refusal keeps of its reason, in bytes.
pub const SAYS_BYTES_MAX: usize = 512;

/// Cuts a text to `most` bytes, which must be at least 128. A cut text ends with the hash of the
/// whole.
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
