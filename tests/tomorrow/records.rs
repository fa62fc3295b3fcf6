//! Records of uses in which a later version says more. SPEC 9.15.

use prost::Message as _;
use sublet_client::audit::history::{Again, History};
use sublet_client::audit::questions::Query;
use sublet_client::audit::records::{RawLedger, RawRecord};
use sublet_client::trust::Trust;
use sublet_core::base::bytes::sha256;
use sublet_core::base::sign::Signer as _;
use sublet_core::base::text::base64url;
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::KeyUse;
use sublet_ledger::checkpoint::{Checkpoint, CheckpointKey};
use sublet_ledger::tile::Tree;
use sublet_proto::record::payload::Content;
use sublet_proto::record::record::Body;
use sublet_proto::record::{Hop, HopPayload, Payload, Record, Use, UseEvidence};
use sublet_tests::{AUDIENCE, Fleet, NOW, key, nonce};

const ARGS: &str = r#"{"path":"/data/a"}"#;

/// A field that no version has, as protobuf writes it: number 1000, bytes.
fn unknown_field() -> Vec<u8> {
    let mut bytes = vec![0xc2, 0x3e, 5];
    bytes.extend(b"later");
    bytes
}

/// A payload, and with it what no version has yet: in it, and in what it holds.
fn payload(content: Content) -> Vec<u8> {
    let mut bytes = Payload { salt: vec![9; 16], content: Some(content) }.encode_to_vec();
    bytes.extend(unknown_field());
    bytes
}

fn raw(root: &VerifiedToken, position: u64, body: Body, payload: Vec<u8>) -> RawRecord {
    let record = Record {
        time_ms: NOW.0,
        delegation: root.id().0.to_vec(),
        position,
        actor: "spiffe://acme.example/agent/files".into(),
        payload_digest: sha256(&payload).to_vec(),
        body: Some(body),
        ..Record::default()
    };
    let mut leaf = vec![1];
    leaf.extend(record.encode_to_vec());
    leaf.extend(unknown_field());
    RawRecord::Kept { leaf, payload }
}

fn issued(root: &VerifiedToken) -> RawRecord {
    let last = root.last();
    let hop = Hop {
        hop: root.id().0.to_vec(),
        agent_id: root.holder().agent.to_string(),
        key: root.holder_key().thumbprint().0.to_vec(),
        expires_seconds: last.block().not_after,
        ..Hop::default()
    };
    let block = HopPayload {
        block: last.payload().to_vec(),
        next_key_algorithm: "ed25519".into(),
        next_key: last.next_key().bytes().to_vec(),
        signature: last.signature().to_vec(),
    };
    raw(root, 0, Body::Issued(hop), payload(Content::Hop(block)))
}

/// A use with every field of a later version, and with fields that no version has.
fn used(root: &VerifiedToken, code: &str, outcome: &str) -> RawRecord {
    let digest = Arguments::from_json(ARGS.as_bytes()).unwrap().digest();
    let (hop, nonce) = (root.id(), nonce(&[b"later"]));
    let claims = CallClaims::of_digest(hop, AUDIENCE, "fs.read", digest, NOW, nonce);
    let evidence = UseEvidence {
        proof: CallProof::sign(claims, &key("planner")).unwrap().encode(),
        holder_key_algorithm: "ed25519".into(),
        holder_key: root.holder_key().bytes().to_vec(),
        arguments: ARGS.into(),
        age_ms: Some(0),
        staleness_ms_max: 10_000,
        capabilities: vec![1],
        answer: sha256(b"the answer").to_vec(),
        ..UseEvidence::default()
    };
    let used = Use {
        hop: root.id().0.to_vec(),
        audience: AUDIENCE.into(),
        action: "fs.read".into(),
        code: code.into(),
        decided_at_ms: NOW.0,
        outcome: outcome.into(),
        ..Use::default()
    };
    raw(root, 1, Body::Used(used), payload(Content::Use(evidence)))
}

/// What an auditor reads of these records, under a head that the ledger's key signed.
fn history(fleet: &Fleet, records: Vec<RawRecord>) -> History {
    let mut tree = Tree::default();
    for record in &records {
        let hash = sublet_ledger::leaf_hash(record.leaf().unwrap()).unwrap();
        tree.append(hash, &mut Vec::new());
    }
    let signer = Fleet::signer(KeyUse::Ledger);
    let origin = "acme.example/sublet";
    let head = Checkpoint { origin: origin.into(), size: tree.size(), root: tree.root() };
    let checkpoint_key = CheckpointKey::new(origin, signer.public_key().bytes()).unwrap();
    let signature = signer.sign(head.text().as_bytes()).unwrap();
    let note = head.signed(&checkpoint_key, &signature).unwrap();
    let trust = Trust::new(fleet.bundle.clone());
    let ledger = RawLedger { note, witnessed: Vec::new(), records };
    History::of(ledger.understand(&trust).unwrap(), &trust, None)
}

// SPEC 9.15.
#[test]
fn a_use_that_says_more_is_read_verified_and_decided_again() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", &["db.read@tool://db", "fs.read@tool://files path=any"]);
    for outcome in ["ok", "error", "lost", "a word of a later version", ""] {
        let history = history(&fleet, vec![issued(&root), used(&root, "", outcome)]);
        assert!(history.delegations[&root.id()].hops[0].verified.is_ok());
        assert_eq!(history.uses[0].again, Again::Reproduced, "{outcome}");
        let [answer] = &history.uses_of(&Query::default())[..] else { panic!("one use") };
        assert_eq!(answer.verdict, "allowed");
        assert_eq!(answer.outcome.as_deref(), Some(outcome).filter(|said| !said.is_empty()));
        assert_eq!(answer.capabilities, [1]);
        assert_eq!(answer.answer, Some(base64url(sha256(b"the answer"))));
    }
}

// SPEC 9.12, 9.15.
#[test]
fn what_it_says_more_makes_no_decision_right() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", &["fs.read@tool://files path=under:/other"]);
    let history = history(&fleet, vec![issued(&root), used(&root, "", "ok")]);
    assert!(matches!(history.uses[0].again, Again::Diverged(_)), "{:?}", history.uses[0].again);
}

#[test]
fn what_it_says_more_is_bound_by_the_leaf() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", &["fs.read@tool://files path=any"]);
    let RawRecord::Kept { leaf, .. } = used(&root, "", "ok") else { panic!("kept") };
    // The same without the digest of the answer.
    let RawRecord::Kept { payload, .. } = used(&root, "", "ok") else { panic!("kept") };
    let mut other = Payload::decode(payload.as_slice()).unwrap();
    let Some(Content::Use(evidence)) = &mut other.content else { panic!("evidence") };
    evidence.answer.clear();
    let altered = RawRecord::Kept { leaf, payload: other.encode_to_vec() };
    let entry = sublet_proto::v1::ReplayEntry {
        index: 0,
        leaf: altered.leaf().unwrap().to_vec(),
        payload: altered.payload().to_vec(),
    };
    let refused = sublet_client::audit::entry::Entry::read(&entry).unwrap_err();
    assert!(refused.message().contains("its payload is not the one"), "{refused}");
}
