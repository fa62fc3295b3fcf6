//! A block that leaves out a field: never "unchanged", always a refusal.

use sublet_core::base::sign::Signer as _;
use sublet_tests::{Fleet, append, code, key, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];

// SPEC 3.2.
#[test]
fn a_hop_without_any_one_fact_or_check_is_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let hop = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let good = hop.last().block().render();
    let sent = |datalog: &sublet_core::biscuit::datalog::Datalog<'_>| {
        let payload = datalog.encode(&mut raw::symbols(&root));
        let next = key("scout");
        code(fleet.verify(&raw::with_payload(&root, payload, next.public_key(), &key("planner"))))
    };
    assert_eq!(sent(&good), "granted");
    for at in 0..good.facts.len() {
        let mut less = good.clone();
        let gone = less.facts.remove(at);
        let refused = sent(&less);
        if gone.name == "helper" {
            // Without it the block names the agent itself, which no receipt covers: see
            // hop_in_anothers_name and hop_unrecorded.
            assert_eq!(refused, "granted");
        } else {
            assert_eq!(refused, "block_incomplete", "without {}", gone.name);
        }
        let mut twice = good.clone();
        twice.facts.insert(at, good.facts[at].clone());
        assert_eq!(sent(&twice), "block_incomplete", "{} twice", gone.name);
    }
    for at in 0..good.checks.len() {
        let mut less = good.clone();
        less.checks.remove(at);
        let refused = sent(&less);
        assert!(["block_incomplete", "block_scope"].contains(&refused), "check {at}: {refused}");
        let mut empty = good.clone();
        empty.checks[at].queries.clear();
        let refused = sent(&empty);
        assert!(["block_incomplete", "block_scope"].contains(&refused), "check {at}: {refused}");
        let mut limitless = good.clone();
        limitless.checks[at].queries[0].expressions.clear();
        // The scope check of this capability has no expression: it is facts alone.
        let unchanged = limitless == good;
        assert_eq!(sent(&limitless) == "granted", unchanged, "check {at} without its limits");
        let mut either = good.clone();
        let more = either.checks[at].queries[0].clone();
        either.checks[at].queries.push(more);
        if at != good.checks.len() - 1 {
            assert_ne!(sent(&either), "granted", "check {at} with a second way through");
        }
    }
}

// SPEC 3.2.
#[test]
fn a_root_without_any_one_fact_or_check_is_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let good = root.root().render();
    let sent = |datalog: &sublet_core::biscuit::datalog::Datalog<'_>| {
        let mut envelope = raw::open(&root.encode());
        let payload = datalog.encode(&mut Default::default());
        let signer = Fleet::signer(sublet_core::trust::bundle::KeyUse::Delegation);
        let holder = key("planner");
        envelope.authority = raw::signed_v1(payload, holder.public_key(), None, &signer);
        code(fleet.verify(&raw::bytes(&envelope)))
    };
    assert_eq!(sent(&good), "granted");
    for at in 0..good.facts.len() {
        let mut less = good.clone();
        less.facts.remove(at);
        assert_eq!(sent(&less), "block_incomplete", "without {:?}", good.facts[at]);
    }
    for at in 0..good.checks.len() {
        let mut less = good.clone();
        less.checks.remove(at);
        let refused = sent(&less);
        assert!(["block_incomplete", "block_scope"].contains(&refused), "check {at}: {refused}");
    }
}
