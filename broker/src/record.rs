//! A record as ledger bytes: a version byte, then record.proto, written once in tag order.
//!
//! Owns: the encoding, and what of a record lies beside the tree: whatever a person may ask to have
//! erased, and a hop's own block. Does not own: what a record says (`sublet_core::evidence::record`), its index.

use prost::Message as _;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{AgentId, DelegationId, HopId, UnixMillis};
use sublet_core::evidence::record::{
    ASKED_BYTES_MAX, Body, CountedRefusals, HopRecord, Record, UseEvidence, UseRecord, cut,
};
use sublet_core::state::rows::session::Person;
use sublet_core::state::{Place, Placed};
use sublet_core::token::BlockPayload;
use sublet_ledger::{Hash, LEAF_BYTES_MAX};
use sublet_proto::record::payload::Content;
use sublet_proto::record::{self, AgentChange, Payload, Words, record::Body as Wire};

/// The first byte of every leaf.
pub(crate) const LEAF_VERSION: u8 = 1;

/// A record as it will be written, but for its place. Made by whoever commits it, so that the one thread
/// that writes has less to do.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    message: record::Record,
    /// The leaf's bytes and its hash, once it has its place.
    leaf: (Vec<u8>, Hash),
    /// What lies beside it.
    payload: Option<Vec<u8>>,
    delegation: Option<DelegationId>,
    is_hop: bool,
}

/// The salt of one of a commit's payloads.
pub(crate) fn salt(of_commit: &[u8; 16], number: u64) -> [u8; 16] {
    let digest = sha256(&[of_commit.as_slice(), &number.to_be_bytes()].concat());
    digest.first_chunk().copied().unwrap_or_default()
}

impl Draft {
    /// A record that was decided at this time, in this trace; `salt` is of its payload alone.
    pub(crate) fn of(
        record: &Record,
        time: UnixMillis,
        trace: Option<[u8; 16]>,
        salt: [u8; 16],
    ) -> Self {
        let (body, content) = body(&record.body);
        let payload = content.map(|content| {
            let payload = Payload { salt: salt.to_vec(), content: Some(content) };
            payload.encode_to_vec()
        });
        let digest = payload.as_ref().map(|bytes| sha256(bytes).to_vec());
        let recorded = record.actor.recorded.as_ref();
        let message = record::Record {
            time_ms: time.0,
            delegation: record.delegation.map(|id| id.0.to_vec()).unwrap_or_default(),
            position: 0,
            previous: Vec::new(),
            actor: record.actor.name.clone(),
            revocation_sequence: 0,
            payload_digest: digest.unwrap_or_default(),
            trace: trace.map(|trace| trace.to_vec()).unwrap_or_default(),
            actor_key: record.actor.key.map(|key| key.0.to_vec()).unwrap_or_default(),
            actor_hop: record.actor.hop.map(|hop| hop.0.to_vec()).unwrap_or_default(),
            recorded_hop: recorded.map(|known| known.hop.0.to_vec()).unwrap_or_default(),
            recorded_holder: recorded.map(|known| known.holder.to_string()).unwrap_or_default(),
            body: Some(body),
        };
        let is_hop = matches!(record.body, Body::HopRecorded(_));
        Draft {
            message,
            leaf: (Vec::new(), [0; 32]),
            payload,
            delegation: record.delegation,
            is_hop,
        }
    }

    /// Whether its leaf is no longer than one may be, wherever it comes to stand.
    pub(crate) fn fits(&self) -> bool {
        self.message.encoded_len().saturating_add(PLACE_BYTES_MAX) <= LEAF_BYTES_MAX
    }

    /// The leaf, its hash, and what lies beside it. It has its place.
    pub(crate) fn into_entry(self) -> (Vec<u8>, Hash, Option<Vec<u8>>) {
        let (leaf, hash) = self.leaf;
        (leaf, hash, self.payload)
    }

    /// The delegation that it belongs to, if it belongs to one.
    pub(crate) fn delegation(&self) -> Option<DelegationId> {
        self.delegation
    }
}

impl Placed for Draft {
    fn delegation(&self) -> Option<DelegationId> {
        self.delegation
    }

    fn is_hop(&self) -> bool {
        self.is_hop
    }

    fn place(&mut self, place: &Place) -> Hash {
        self.message.time_ms = place.time.0;
        self.message.position = place.position;
        if place.previous != [0; 32] {
            self.message.previous = place.previous.to_vec();
        }
        self.message.revocation_sequence = place.revocation_sequence;
        let mut leaf = Vec::with_capacity(self.message.encoded_len().saturating_add(1));
        leaf.push(LEAF_VERSION);
        self.message.encode_raw(&mut leaf);
        let hash = hash_of(&leaf);
        self.leaf = (leaf, hash);
        hash
    }
}

#[expect(clippy::expect_used, reason = "a draft that may be too long for a leaf is not committed")]
fn hash_of(leaf: &[u8]) -> Hash {
    sublet_ledger::leaf_hash(leaf).expect("it fits, wherever it comes to stand")
}

/// The version byte; three numbers of at most ten bytes and a hash of 32, each behind its tag.
const PLACE_BYTES_MAX: usize = 1 + 3 * 11 + 34;

/// The delegation that a leaf belongs to, if it belongs to one.
pub(crate) fn delegation(leaf: &[u8]) -> Option<DelegationId> {
    let id = read(leaf)?.delegation;
    Some(HopId(id.try_into().ok()?))
}

/// When a leaf was recorded.
pub(crate) fn time(leaf: &[u8]) -> Option<UnixMillis> {
    read(leaf).map(|record| UnixMillis(record.time_ms))
}

/// A leaf, decoded; `None` for one that is not understood here.
pub(crate) fn read(leaf: &[u8]) -> Option<record::Record> {
    let (&LEAF_VERSION, message) = leaf.split_first()? else { return None };
    record::Record::decode(message).ok()
}

/// The body in the leaf, and what lies beside.
fn body(body: &Body) -> (Wire, Option<Content>) {
    let plain = |wire: Wire| (wire, None);
    let with = |wire: Wire, reason: &String| (wire, Some(reasoned(reason)));
    match body {
        Body::Issued(hop) => (Wire::Issued(hop_message(hop)), block(hop)),
        Body::HopRecorded(hop) => (Wire::HopRecorded(hop_message(hop)), block(hop)),
        Body::Refused { method, code, detail, asked } => {
            let refused = record::Refused { method: (*method).into(), code: (*code).into() };
            let words = Words { detail: detail.clone(), asked: asked.clone(), ..Words::default() };
            (Wire::Refused(refused), Some(Content::Words(words)))
        }
        Body::RefusalsCounted(counted) => plain(Wire::RefusalsCounted(counted_message(counted))),
        Body::Revoked { kind, target, reason } => revoked(kind, target, reason),
        Body::PrincipalRestored { principal, reason } => {
            let principal = principal.to_string();
            let words = Words { reason: reason.clone(), principal, ..Words::default() };
            let restored = Wire::PrincipalRestored(record::PrincipalRestored {});
            (restored, Some(Content::Words(words)))
        }
        Body::Consented { session, agent, principal, person, token, detail } => {
            let consent = record::Consent {
                session: session.0.into(),
                agent_id: agent.to_string(),
                issuer: person.as_ref().map(|person| person.issuer.clone()).unwrap_or_default(),
                token: person.as_ref().map(|_| token.to_vec()).unwrap_or_default(),
            };
            let detail = cut(detail.clone(), ASKED_BYTES_MAX);
            let (principal, person) = (principal.to_string(), person_message(person));
            let words = Words { detail, principal, person, ..Words::default() };
            (Wire::Consented(consent), Some(Content::Words(words)))
        }
        Body::SessionEnded { session, principal, person, delegations, reason } => {
            let (session, delegations) = (session.0.into(), *delegations);
            let principal = principal.as_ref().map(ToString::to_string).unwrap_or_default();
            let (reason, person) = (reason.clone(), person_message(person));
            let words = Words { reason, principal, person, ..Words::default() };
            let end = record::SessionEnd { session, delegations };
            (Wire::SessionEnded(end), Some(Content::Words(words)))
        }
        Body::AgentCreated { agent, profile } => {
            plain(Wire::AgentCreated(AgentChange { profile: profile.clone(), ..change(agent) }))
        }
        Body::AgentEnrolled { agent, key, join_token, attested } => {
            let shown = attested.as_ref();
            let enrolled = AgentChange {
                key: key.0.into(),
                join_token_id: join_token.clone(),
                method: shown.map_or("join_token", |shown| shown.method).to_owned(),
                issuer: shown.map(|shown| shown.issuer.clone()).unwrap_or_default(),
                token: shown.map(|shown| shown.token.to_vec()).unwrap_or_default(),
                ..change(agent)
            };
            let claims = shown.map(|shown| {
                let detail = cut(shown.claims.clone(), ASKED_BYTES_MAX);
                Content::Words(Words { detail, ..Words::default() })
            });
            (Wire::AgentEnrolled(enrolled), claims)
        }
        Body::AgentRenewed { agent, key } => {
            plain(Wire::AgentRenewed(AgentChange { key: key.0.into(), ..change(agent) }))
        }
        Body::KeyRotated { agent, old, new } => plain(Wire::KeyRotated(AgentChange {
            key: new.0.into(),
            old_key: old.0.into(),
            ..change(agent)
        })),
        Body::AgentSuspended { agent, reason } => with(Wire::AgentSuspended(change(agent)), reason),
        Body::AgentResumed { agent } => plain(Wire::AgentResumed(change(agent))),
        Body::KeyRevoked { agent, key, reason } => {
            let whose = agent.as_ref().map(change).unwrap_or_default();
            with(Wire::KeyRevoked(AgentChange { key: key.0.into(), ..whose }), reason)
        }
        Body::ProfileApplied { name, text } => {
            let (name, digest) = (name.clone(), sha256(text.as_bytes()).to_vec());
            let text = Content::Profile(text.as_bytes().to_vec());
            (Wire::ProfileApplied(record::ProfileApplied { name, digest }), Some(text))
        }
        Body::JoinTokenCreated { join_token, agent } => {
            plain(Wire::JoinTokenCreated(join(join_token, agent.to_string())))
        }
        Body::JoinTokenRevoked { join_token } => {
            plain(Wire::JoinTokenRevoked(join(join_token, String::new())))
        }
        Body::BrokerKey { use_, id, key, state, reason } => {
            let key = record::BrokerKey {
                r#use: use_.name().to_owned(),
                id: id.0,
                key: key.0.into(),
                state: state.name().to_owned(),
            };
            with(Wire::BrokerKey(key), reason)
        }
        Body::Used(used) => (Wire::Used(use_message(used)), Some(evidence(&used.evidence))),
        Body::VerifierSynced { epoch, sequence, head } => {
            let (epoch, sequence, checkpoint) = (*epoch, *sequence, head.clone());
            plain(Wire::VerifierSynced(record::VerifierSync { epoch, sequence, checkpoint }))
        }
        Body::Pruned { below } => plain(Wire::Pruned(record::Pruned { below: *below })),
        Body::HoldPlaced { name, from, to, reason } => {
            let change = record::HoldChange { name: name.clone(), from: *from, to: *to };
            with(Wire::HoldPlaced(change), reason)
        }
        Body::HoldReleased { name, reason } => {
            let change = record::HoldChange { name: name.clone(), ..Default::default() };
            with(Wire::HoldReleased(change), reason)
        }
        Body::Exported { what } => plain(Wire::Exported(record::Exported { what: what.clone() })),
        Body::Erased { index, reason } => {
            with(Wire::Erased(record::Erased { index: *index }), reason)
        }
    }
}

fn change(agent: &AgentId) -> AgentChange {
    AgentChange { agent_id: agent.to_string(), ..AgentChange::default() }
}

fn join(id: &str, agent_id: String) -> record::JoinTokenChange {
    record::JoinTokenChange { join_token_id: id.to_owned(), agent_id }
}

fn reasoned(reason: &str) -> Content {
    Content::Words(Words { reason: reason.to_owned(), ..Words::default() })
}

/// A principal is a person's name: it lies beside.
fn revoked(kind: &str, target: &str, reason: &str) -> (Wire, Option<Content>) {
    let (target, principal) = if kind == "principal" { ("", target) } else { (target, "") };
    let revoked = record::Revoked { kind: kind.to_owned(), target: target.to_owned() };
    let words =
        Words { reason: reason.to_owned(), principal: principal.to_owned(), ..Words::default() };
    (Wire::Revoked(revoked), Some(Content::Words(words)))
}

fn person_message(person: &Option<Person>) -> Option<record::Person> {
    let Person { issuer, subject } = person.clone()?;
    Some(record::Person { issuer, subject })
}

fn counted_message(counted: &CountedRefusals) -> record::RefusalsCounted {
    let counts = counted.counts.iter().map(|line| record::RefusalCount {
        method: line.method.clone(),
        code: line.code.clone(),
        count: line.count,
    });
    record::RefusalsCounted {
        from_ms: counted.from.0,
        to_ms: counted.to.0,
        counts: counts.collect(),
        first: counted.first.to_vec(),
        last: counted.last.to_vec(),
    }
}

fn hop_message(hop: &HopRecord) -> record::Hop {
    record::Hop {
        hop: hop.hop.0.into(),
        parent: hop.parent.map(|id| id.0.into()).unwrap_or_default(),
        position: hop.position,
        agent_id: hop.holder.agent.to_string(),
        helper: hop.holder.helper.as_ref().map(ToString::to_string).unwrap_or_default(),
        key: hop.key.0.into(),
        expires_seconds: hop.expires,
        session: hop.session.map(|id| id.0.to_vec()).unwrap_or_default(),
    }
}

fn block(hop: &HopRecord) -> Option<Content> {
    hop.block.as_ref().map(|block| Content::Hop(block_message(block)))
}

fn block_message(block: &BlockPayload) -> record::HopPayload {
    record::HopPayload {
        block: block.payload.clone(),
        next_key_algorithm: block.next_key.algorithm().name().to_owned(),
        next_key: block.next_key.bytes().to_vec(),
        signature: block.signature.clone(),
    }
}

fn use_message(used: &UseRecord) -> record::Use {
    record::Use {
        hop: used.hop.0.into(),
        audience: used.audience.clone(),
        action: used.action.clone(),
        code: used.code.clone(),
        decided_at_ms: used.decided_at.0,
        counter: used.counter,
        revocation_epoch: used.revocations.epoch,
        revocation_sequence: used.revocations.sequence,
        outcome: String::new(),
    }
}

fn evidence(evidence: &UseEvidence) -> Content {
    Content::Use(record::UseEvidence {
        proof: evidence.proof.clone(),
        holder_key_algorithm: evidence.holder_key.algorithm().name().to_owned(),
        holder_key: evidence.holder_key.bytes().to_vec(),
        arguments: evidence.arguments.clone(),
        receipt: evidence.receipt.clone(),
        blocks: evidence.blocks.iter().map(block_message).collect(),
        behind: evidence.behind.map(|id| id.0.into()).unwrap_or_default(),
        age_ms: evidence.age_ms,
        staleness_ms_max: evidence.staleness_ms_max,
        capabilities: Vec::new(),
        answer: Vec::new(),
    })
}
