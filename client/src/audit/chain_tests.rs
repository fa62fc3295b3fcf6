//! Records made by hand, and the chains assembled from them.

use std::time::Duration;

use prost::Message as _;
use sublet_core::base::bytes::sha256;
use sublet_core::biscuit::block::{Block, Role};
use sublet_core::capability::Scope;
use sublet_core::token::verify::VerifiedToken;
use sublet_proto::record::payload::Content;
use sublet_proto::record::record::Body;
use sublet_proto::record::{Hop, HopPayload, Payload, Record, Revoked, Words};
use sublet_proto::v1::ReplayEntry;

use crate::agent::delegation::{Attenuation, Delegation};
use crate::audit::chain::narrowing;
use crate::audit::entry::Entry;
use crate::audit::replay::{Report, report};
use crate::fixture::{NOW, World};

fn terms() -> Attenuation {
    let scope = ["fs.read@tool://files path=under:/data/q3"];
    Attenuation::of(&scope, Duration::from_secs(300)).unwrap()
}

/// Returns the record of the last hop of a token.
fn hop(token: &VerifiedToken) -> (Body, Vec<u8>) {
    let last = token.last();
    let payload = HopPayload {
        block: last.payload().to_vec(),
        next_key_algorithm: last.next_key().algorithm().name().to_owned(),
        next_key: last.next_key().bytes().to_vec(),
        signature: last.signature().to_vec(),
    };
    let payload = beside(Content::Hop(payload));
    let position = token.depth();
    let parent = token.depth().checked_sub(1).and_then(|at| token.id_at(at as usize));
    let message = Hop {
        hop: token.id().0.to_vec(),
        parent: parent.map(|id| id.0.to_vec()).unwrap_or_default(),
        position,
        agent_id: token.holder().agent.to_string(),
        helper: token.holder().helper.map(|helper| helper.to_string()).unwrap_or_default(),
        key: token.holder_key().thumbprint().0.to_vec(),
        expires_seconds: last.block().not_after,
        session: Vec::new(),
    };
    let body = if position == 0 { Body::Issued(message) } else { Body::HopRecorded(message) };
    (body, payload)
}

fn beside(content: Content) -> Vec<u8> {
    Payload { salt: vec![9; 16], content: Some(content) }.encode_to_vec()
}

/// Writes records as the broker does.
fn written(root: &Delegation, bodies: Vec<(Body, Vec<u8>)>) -> Vec<ReplayEntry> {
    let mut previous = Vec::new();
    let mut entries = Vec::new();
    for (position, (body, payload)) in (0u64..).zip(bodies) {
        let record = Record {
            time_ms: NOW,
            delegation: root.delegation().0.to_vec(),
            position,
            previous,
            actor: root.holder().to_string(),
            payload_digest: sha256(&payload).to_vec(),
            body: Some(body),
            ..Record::default()
        };
        let mut leaf = vec![1];
        leaf.extend(record.encode_to_vec());
        previous = sublet_ledger::leaf_hash(&leaf).unwrap().to_vec();
        entries.push(ReplayEntry { index: position * 3, leaf, payload });
    }
    entries
}

fn read(world: &World, root: &Delegation, entries: &[ReplayEntry]) -> Report {
    let entries = entries.iter().map(|entry| Entry::read(entry).unwrap()).collect();
    report(&root.delegation(), entries, &world.trust)
}

fn story(world: &World) -> (Delegation, Vec<(Body, Vec<u8>)>) {
    let root = world.issued(3);
    let middle = root.spawn_helper("middle", &terms()).unwrap();
    let leaf = middle.spawn_helper("leaf", &terms().hops_max(2)).unwrap();
    let sibling = root.spawn_helper("sibling", &terms()).unwrap();
    let revoked = Revoked { kind: "hop".into(), target: middle.id().to_string() };
    let words = Words { reason: "left the team".into(), ..Words::default() };
    let bodies = [&root, &middle, &leaf, &sibling].map(|held| hop(held.token()));
    let mut bodies = bodies.to_vec();
    bodies.push((Body::Revoked(revoked), beside(Content::Words(words))));
    (root, bodies)
}

#[test]
fn a_tree_of_hops_is_verified_again_from_its_records() {
    let world = World::new();
    let (root, bodies) = story(&world);
    let report = read(&world, &root, &written(&root, bodies));
    assert!(report.holds(), "{:?} {:?}", report.problems, report.hops);
    assert_eq!(report.on_behalf_of.as_deref(), Some("user:alice@acme.example"));
    let [first, middle, leaf, sibling] = report.hops.as_slice() else { panic!("four hops") };
    assert_eq!(first.from, "spiffe://acme.example/sublet");
    assert!(first.narrowing.is_empty());
    assert_eq!(middle.from, "spiffe://acme.example/agent/planner");
    assert_eq!(leaf.holder, "spiffe://acme.example/agent/planner#middle/leaf");
    assert_eq!(
        middle.narrowing,
        [
            "narrowed: action fs. → fs.read, path under:/data → under:/data/q3",
            "narrowed: expires 2027-01-15T08:15:00Z → 2027-01-15T08:05:00Z",
        ]
    );
    assert_eq!(leaf.narrowing, ["narrowed: hops 3 → 2"]);
    assert_eq!(leaf.revoked.map(|(hop, index)| (hop == middle.hop, index)), Some((true, 12)));
    assert_eq!((first.revoked, sibling.revoked), (None, None));
    assert_eq!(report.revocations[0].reason, "left the team");
}

#[test]
fn a_record_that_is_missing_or_moved_is_noticed() {
    let world = World::new();
    let (root, bodies) = story(&world);
    let entries = written(&root, bodies);
    let mut cut = entries.clone();
    cut.remove(3);
    let problems = read(&world, &root, &cut).problems;
    assert!(problems.iter().any(|detail| detail.contains("missing before it")), "{problems:?}");
    assert!(problems.iter().any(|detail| detail.contains("not bound")), "{problems:?}");
    let mut swapped = entries;
    swapped.swap(2, 3);
    assert!(!read(&world, &root, &swapped).problems.is_empty());
    assert!(!read(&world, &root, &[]).holds());
}

#[test]
fn a_block_that_is_not_the_recorded_one_is_refused() {
    let world = World::new();
    let (root, bodies) = story(&world);
    let mut entries = written(&root, bodies);
    entries[1].payload = entries[2].payload.clone();
    let failure = Entry::read(&entries[1]).unwrap_err();
    assert!(failure.message().contains("its payload is not the one"), "{failure}");
}

#[test]
fn a_forged_hop_and_a_record_that_lies_are_named() {
    let world = World::new();
    let (root, mut bodies) = story(&world);
    // A leaf signed by nobody who holds its parent.
    let content = Payload::decode(bodies[2].1.as_slice()).unwrap().content;
    let Some(Content::Hop(mut block)) = content else { panic!("a hop's block") };
    block.signature = vec![7; 64];
    bodies[2].1 = beside(Content::Hop(block));
    // A sibling that is said to be held by another.
    if let Body::HopRecorded(hop) = &mut bodies[3].0 {
        hop.agent_id = "spiffe://acme.example/agent/mallory".into();
    }
    let report = read(&world, &root, &written(&root, bodies));
    let detail = |at: usize| {
        report.hops[at].verified.clone().err().map(|why| why.to_string()).unwrap_or_default()
    };
    assert!(detail(2).contains("signature of block 2"), "{}", detail(2));
    assert!(detail(3).contains("another agent"), "{}", detail(3));
    assert_eq!((detail(0), detail(1)), (String::new(), String::new()));
    assert!(!report.holds());
}

/// The block of a hop with this scope, in every other part the same.
fn block(scope: &[&str]) -> Block {
    Block {
        role: Role::Hop,
        agent: "spiffe://acme.example/agent/planner".parse().unwrap(),
        helper: None,
        not_after: NOW / 1000,
        hops_max: 3,
        offline_hops_max: 1,
        scope: Some(Scope::from_texts(scope).unwrap()),
    }
}

#[test]
fn a_narrowing_names_each_part_and_what_is_gone() {
    let lines = |parent: &[&str], child: &[&str]| narrowing(&block(parent), &block(child));
    let files = "fs.@tool:// path=under:/data *=any";
    assert_eq!(lines(&[files], &[files]), Vec::<String>::new());
    assert_eq!(
        lines(&[files], &["fs.read@tool://files path=under:/data mode=exactly:raw hops:2"]),
        [
            "narrowed: audience tool:// → tool://files, action fs. → fs.read, mode any → exactly:raw, \
            other arguments any → absent, capability hops any → 2"
        ]
    );
    // With several capabilities, each line says which one.
    let (read, list) = ("fs.read@tool://files path=under:/data", "fs.list@tool://files");
    let narrower = "fs.read@tool://files path=under:/data/q3";
    assert_eq!(
        lines(&[read, list], &[narrower]),
        [
            format!("narrowed: {narrower}: path under:/data → under:/data/q3"),
            format!("removed: {list}")
        ]
    );
    // A delegate may use what its delegator may only hand out; for itself it can give that up.
    let handed = "fs.read@tool://files path=under:/data use:delegates";
    assert_eq!(lines(&[handed], &[read]), Vec::<String>::new());
    assert_eq!(lines(&[read], &[handed]), ["narrowed: use holder → delegates"]);
    assert_eq!(
        lines(&[read], &["db.query@tool://db"]),
        ["not held before: db.query@tool://db", &format!("removed: {read}")]
    );
    let fewer = Block { hops_max: 2, offline_hops_max: 0, ..block(&[read]) };
    assert_eq!(
        narrowing(&block(&[read]), &fewer),
        ["narrowed: hops 3 → 2", "narrowed: offline hops 1 → 0"]
    );
}
