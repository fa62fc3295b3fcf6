//! What was decided, as a record of `sublet.record.v1`.
//!
//! Owns: which part of a record is in the leaf, and which lies beside the tree as its payload: whatever a
//! person may ask to have erased, and a hop's own block. Does not own: what a record says
//! (`sublet_core::evidence::record`), its place in the ledger.

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{AgentId, UnixMillis};
use sublet_core::evidence::record::{
    ASKED_BYTES_MAX, Body, CountedRefusals, HopRecord, Record, UseEvidence, UseRecord, cut,
};
use sublet_core::state::rows::session::Person;
use sublet_core::token::BlockPayload;

use crate::record::payload::Content;
use crate::record::{self, AgentChange, Words, record::Body as Wire};

/// The record, without its place and without its payload's digest, and the content of its payload.
pub fn message(
    record: &Record,
    time: UnixMillis,
    trace: Option<[u8; 16]>,
) -> (record::Record, Option<Content>) {
    let (body, content) = body(&record.body);
    let recorded = record.actor.recorded.as_ref();
    let message = record::Record {
        time_ms: time.0,
        delegation: record.delegation.map(|id| id.0.to_vec()).unwrap_or_default(),
        position: 0,
        previous: Vec::new(),
        actor: record.actor.name.clone(),
        revocation_sequence: 0,
        payload_digest: Vec::new(),
        trace: trace.map(|trace| trace.to_vec()).unwrap_or_default(),
        actor_key: record.actor.key.map(|key| key.0.to_vec()).unwrap_or_default(),
        actor_hop: record.actor.hop.map(|hop| hop.0.to_vec()).unwrap_or_default(),
        recorded_hop: recorded.map(|known| known.hop.0.to_vec()).unwrap_or_default(),
        recorded_holder: recorded.map(|known| known.holder.to_string()).unwrap_or_default(),
        body: Some(body),
    };
    (message, content)
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
                join_token_id: join_token.clone().unwrap_or_default(),
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
        Body::VerifierSynced { epoch, sequence, checkpoint } => {
            let checkpoint = checkpoint.clone().unwrap_or_default();
            let (epoch, sequence) = (*epoch, *sequence);
            plain(Wire::VerifierSynced(record::VerifierSync { epoch, sequence, checkpoint }))
        }
        Body::Pruned { below } => plain(Wire::Pruned(record::Pruned { below: *below })),
        Body::LegalHoldCreated { name, from, to, reason } => {
            let change = record::LegalHoldChange { name: name.clone(), from: *from, to: *to };
            with(Wire::LegalHoldCreated(change), reason)
        }
        Body::LegalHoldRemoved { name, reason } => {
            let change = record::LegalHoldChange { name: name.clone(), ..Default::default() };
            with(Wire::LegalHoldRemoved(change), reason)
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
        code: used.verdict.to_wire().to_owned(),
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
        arguments: evidence.arguments.clone().unwrap_or_default(),
        receipt: evidence.receipt.clone().unwrap_or_default(),
        blocks: evidence.blocks.iter().map(block_message).collect(),
        behind: evidence.behind.map(|id| id.0.into()).unwrap_or_default(),
        age_ms: evidence.age_ms,
        staleness_ms_max: evidence.staleness_ms_max,
        capabilities: Vec::new(),
        answer: Vec::new(),
    })
}
