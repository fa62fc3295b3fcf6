//! What the broker signs for all: trust bundles, and the revocation feed; with what a reader skips, and
//! what stops it.

use serde_json::{Value, json};
use sublet_core::base::id::HopId;
use sublet_core::revocation::feed::{Revocation, RevocationView};
use sublet_core::trust::bundle::{KeyUse, TrustBundle};
use sublet_tests::later::{bundle, bundle_with, delta, head, listed};
use sublet_tests::{Fleet, NOW};

use crate::{agreed, bytes};

fn with(mut key: Value, member: &str, value: Value) -> Value {
    key[member] = value;
    key
}

#[test]
fn bundles() {
    let fleet = Fleet::new();
    let (lease, feed) = (|| listed("lease", 20, "lease"), || listed("feed", 20, "feed"));
    let quantum = with(feed(), "alg", "ml-dsa-65".into());
    let quantum = with(quantum, "public", "ml-dsa-65:AAAA".into());
    let tainted = |key| with(key, "state", "tainted".into());
    // The keys that are listed besides those of the bundle held, first in version 2, then in version 3.
    let cases = [
        ("keys of later uses", vec![lease(), listed("svid", 21, "svid")], vec![lease()]),
        ("a later member of a key of a later use", vec![with(lease(), "scope", 1.into())], vec![]),
        ("a key of a later algorithm", vec![quantum.clone()], vec![quantum.clone()]),
        ("a later member of a known key", vec![with(feed(), "scope", 1.into())], vec![]),
        ("a later state", vec![with(lease(), "state", "paused".into())], vec![]),
        (
            "a later use, not of its algorithm",
            vec![with(lease(), "alg", "secp256r1".into())],
            vec![],
        ),
        ("an unknown algorithm of a known key", vec![with(feed(), "alg", "other".into())], vec![]),
        ("one number for two", vec![lease(), listed("lease", 20, "other")], vec![]),
        (
            "one key under two numbers",
            vec![quantum.clone(), with(quantum.clone(), "id", 21.into())],
            vec![],
        ),
        (
            "a number of a later use goes to another key",
            vec![lease()],
            vec![listed("lease", 20, "x")],
        ),
        ("a key of a later use becomes known", vec![lease()], vec![listed("feed", 20, "lease")]),
        ("a known key becomes one of a later use", vec![feed()], vec![listed("lease", 20, "feed")]),
        ("a tainted key of a later use goes", vec![tainted(lease())], vec![]),
        (
            "a tainted key of a later algorithm is not tainted",
            vec![tainted(quantum.clone())],
            vec![quantum],
        ),
    ];
    let mut vectors: Vec<Value> = Vec::new();
    let mut add = |name: &str, first: Vec<u8>, then: Vec<u8>| {
        let held = TrustBundle::open(&first, NOW);
        let next = held.as_ref().ok().map(|held| held.accept_update(&then, NOW));
        let verdict = |read: &Result<TrustBundle, sublet_core::trust::bundle::BadBundle>| match read
        {
            Ok(_) => "granted",
            Err(bad) => bad.code(),
        };
        let skipped =
            held.as_ref().map(|held| held.skipped().iter().map(|key| key.id.0).collect::<Vec<_>>());
        vectors.push(json!({
            "name": name, "bundle": bytes(&first), "verdict": verdict(&held),
            "skipped": skipped.unwrap_or_default(), "next": bytes(&then),
            "next_verdict": next.as_ref().map(verdict),
        }));
    };
    for (name, first, then) in cases {
        add(name, bundle_with(&fleet, 2, &first), bundle_with(&fleet, 3, &then));
    }
    let own = |change: fn(&mut Value)| {
        bundle(&fleet, |content| {
            let keys = content["keys"].as_array_mut().unwrap();
            change(keys.iter_mut().find(|key| key["use"] == KeyUse::Bundle.name()).unwrap());
        })
    };
    let later = own(|key| key["use"] = "release".into());
    add("signed by a key of a later use", later, bundle_with(&fleet, 3, &[]));
    let more = bundle(&fleet, |content| content["more"] = 1.into());
    add("a later member of the bundle", more, bundle_with(&fleet, 3, &[]));
    agreed("bundles.json", &vectors.into());
}

#[test]
fn feed() {
    let hop = HopId([7; 32]);
    let text = b"spiffe://acme.example/agent/planner";
    let all = [
        ("a hop", vec![delta(1, 1, &hop.0)]),
        ("an agent suspended and resumed", vec![delta(1, 2, text), delta(2, 3, text)]),
        ("kinds that are skipped", vec![delta(1, 128, b""), delta(2, 255, &[1; 512])]),
        (
            "a hop between two that are skipped",
            vec![delta(1, 128, b"a"), delta(2, 1, &hop.0), delta(3, 200, b"b")],
        ),
        ("a kind that stops the view", vec![delta(1, 8, &hop.0)]),
        ("the last kind that stops the view", vec![delta(1, 127, &hop.0)]),
        ("a kind that no feed has", vec![delta(1, 0, &hop.0)]),
        ("a skipped delta that is too long", vec![delta(1, 128, &[1; 513])]),
        ("a hop of 31 bytes", vec![delta(1, 1, &[7; 31])]),
    ];
    let one = |name: &str, sent: &[Vec<u8>], head: Vec<u8>| {
        let mut view = RevocationView::new("acme.example".parse().unwrap());
        let applied = sent.iter().try_for_each(|delta| view.apply_delta(delta));
        let applied = applied.and_then(|()| view.apply_head(&head, &Fleet::new().bundle, NOW, 0));
        let verdict = applied.map_or_else(|bad| bad.code(), |()| "granted");
        json!({
            "name": name, "deltas": sent.iter().map(bytes).collect::<Vec<_>>(), "head": bytes(head),
            "verdict": verdict, "in_force": view.len(),
            "hop_is_revoked": view.is_revoked(&Revocation::Hop(hop)),
        })
    };
    let mut vectors: Vec<Value> =
        all.iter().map(|(name, deltas)| one(name, deltas, head(deltas, NOW))).collect();
    let honest = &all[3].1;
    let mut relabelled = honest.clone();
    relabelled[1] = delta(2, 128, &hop.0);
    vectors.push(one("a revocation called one that is skipped", &relabelled, head(honest, NOW)));
    vectors.push(one("a skipped delta left out", &honest[..2], head(honest, NOW)));
    agreed("feed.json", &vectors.into());
}
