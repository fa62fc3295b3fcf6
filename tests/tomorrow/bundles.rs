//! A bundle with keys of later uses and algorithms. SPEC 2.11.12 to 2.11.14.

use serde_json::{Value, json};
use sublet_core::refusal::Refusal;
use sublet_core::trust::bundle::{
    BadBundle, KeyId, KeyUse, RESERVED_USES, SignedBundle, TrustBundle,
};
use sublet_core::trust::rotation::KeyStep;
use sublet_tests::later::{bundle, bundle_with, listed};
use sublet_tests::{Fleet, NOW, Request, Tool, code, key, key_id};

fn open(keys: &[Value]) -> Result<TrustBundle, BadBundle> {
    TrustBundle::open(&bundle_with(&Fleet::new(), 2, keys), NOW)
}

fn with(mut key: Value, member: &str, value: Value) -> Value {
    key[member] = value;
    key
}

/// A key of an algorithm that nobody here knows.
fn quantum(id: u32, public: &str) -> Value {
    let key = with(listed("delegation", id, "x"), "alg", "ml-dsa-65".into());
    with(key, "public", public.into())
}

#[test]
fn a_tool_goes_on_under_a_bundle_with_later_uses_and_algorithms() {
    let fleet = Fleet::new();
    let mut keys: Vec<Value> = (20..)
        .zip(RESERVED_USES)
        .map(|(id, use_)| with(listed(use_, id, use_), "scope", json!({"a later member": [1.5]})))
        .collect();
    keys.push(quantum(30, "ml-dsa-65:AAAA"));
    let text = bundle_with(&fleet, 2, &keys);
    let held = fleet.bundle.accept_update(&text, NOW).unwrap();
    let skipped: Vec<_> = held.skipped().iter().map(|key| (key.id.0, key.use_.as_str())).collect();
    assert_eq!(skipped, [(20, "release"), (21, "lease"), (22, "svid"), (30, "delegation")]);
    assert_eq!(held.keys(), fleet.bundle.keys());
    // What the known keys sign holds as before.
    let mut tool = Tool::new(&fleet);
    tool.bundle = held.clone();
    let token = fleet.root("planner", &["fs.read@tool://files"]);
    let request = Request::new(&token, &key("planner"), "fs.read", "{}");
    assert_eq!(code(tool.answer(&request)), "granted");
    // The same bundle heard again is no change, and its next one is taken.
    assert_eq!(held.accept_update(&text, NOW).as_ref(), Ok(&held));
    assert!(held.accept_update(&bundle_with(&fleet, 3, &keys), NOW).is_ok());
}

// SPEC 2.11.12.
#[test]
fn nothing_that_a_skipped_key_signed_is_believed() {
    let fleet = Fleet::new();
    // The keys that sign everything, but of uses that nobody here knows.
    for use_ in KeyUse::ALL.into_iter().filter(|use_| *use_ != KeyUse::Bundle) {
        let text = bundle(&fleet, |content| {
            let keys = content["keys"].as_array_mut().unwrap();
            keys.iter_mut().filter(|key| key["use"] == use_.name()).for_each(|key| {
                key["use"] = "lease".into();
            });
        });
        let held = TrustBundle::open(&text, NOW).unwrap();
        assert_eq!((held.skipped().len(), held.key(key_id(use_))), (1, None));
        for asked in KeyUse::ALL {
            let detail = held.signing_key(asked, key_id(use_), NOW).map(|_| ());
            assert_eq!(detail.unwrap_err().code(), "unknown_key", "{asked:?} by the {use_:?} key");
        }
        let token = fleet.root("planner", &["fs.read@tool://files"]);
        let mut tool = Tool::new(&fleet);
        tool.bundle = held;
        let request = Request::new(&token, &key("planner"), "fs.read", "{}");
        let heard = code(tool.answer(&request));
        let expected = if use_ == KeyUse::Delegation { "unknown_key" } else { "granted" };
        assert_eq!(heard, expected, "{use_:?}");
    }
    // A bundle key of a later use, or of a later algorithm, signs no bundle.
    for (member, value) in [("use", "release"), ("alg", "ml-dsa-65")] {
        let text = bundle(&fleet, |content| {
            let keys = content["keys"].as_array_mut().unwrap();
            let own = keys.iter_mut().find(|key| key["use"] == "bundle").unwrap();
            own[member] = value.into();
            if member == "alg" {
                own["public"] = "ml-dsa-65:AAAA".into();
            }
        });
        assert_eq!(TrustBundle::open(&text, NOW), Err(BadBundle::Signature("its own")), "{member}");
    }
}

// SPEC 2.11.12.
#[test]
fn all_else_of_a_bundle_stays_strict() {
    let form = |keys: &[Value]| open(keys).unwrap_err().code();
    let lease = || listed("lease", 20, "lease");
    assert!(open(&[lease()]).is_ok());
    // What is not known of a known key, of the bundle, or of a skipped key's life.
    assert_eq!(form(&[with(listed("feed", 20, "x"), "scope", 1.into())]), "bundle_form");
    assert_eq!(form(&[with(lease(), "state", "paused".into())]), "bundle_form");
    for member in ["use", "id", "alg", "public", "not_before", "not_after", "state"] {
        let mut less = lease();
        less.as_object_mut().unwrap().remove(member);
        assert_eq!(form(&[less]), "bundle_form", "without {member}");
    }
    for (member, value) in [("use", json!(1)), ("use", json!(null)), ("id", json!("20"))] {
        assert_eq!(form(&[with(lease(), member, value)]), "bundle_form", "{member}");
    }
    let more = bundle(&Fleet::new(), |content| content["more"] = 1.into());
    assert_eq!(TrustBundle::open(&more, NOW).unwrap_err().code(), "bundle_form");
    // A key that calls itself another algorithm than it is, known or not.
    assert_eq!(form(&[with(listed("feed", 20, "x"), "alg", "ml-dsa-65".into())]), "bundle_keys");
    assert_eq!(form(&[with(lease(), "alg", "secp256r1".into())]), "bundle_keys");
    assert_eq!(form(&[with(lease(), "public", "ed25519:AAAA".into())]), "bundle_keys");
    // What was changed after it was signed, in a key that is skipped.
    let text = String::from_utf8(bundle_with(&Fleet::new(), 2, &[lease()])).unwrap();
    let changed = text.replace("\"lease\"", "\"leash\"");
    assert_ne!(changed, text);
    assert_eq!(TrustBundle::open(changed.as_bytes(), NOW), Err(BadBundle::Signature("its own")));
}

// SPEC 2.11.3, 2.11.13.
#[test]
fn a_number_or_a_key_stands_once_among_all_that_are_listed() {
    let twice = |keys: &[Value]| open(keys).unwrap_err();
    let lease = |id, name| listed("lease", id, name);
    assert_eq!(twice(&[lease(20, "a"), lease(20, "b")]), BadBundle::Keys(KeyId(20)));
    assert_eq!(twice(&[lease(20, "a"), lease(21, "a")]), BadBundle::Keys(KeyId(21)));
    let delegation = key_id(KeyUse::Delegation);
    assert_eq!(twice(&[lease(delegation.0, "a")]), BadBundle::Keys(delegation));
    assert_eq!(twice(&[lease(20, "broker Delegation")]), BadBundle::Keys(KeyId(20)));
    let (one, same) = (quantum(20, "ml-dsa-65:AAAA"), quantum(21, "ml-dsa-65:AAAA"));
    assert_eq!(twice(&[one, same]), BadBundle::Keys(KeyId(21)));
}

#[test]
fn numbers_keys_uses_and_taints_do_not_change_hands_by_way_of_a_skipped_key() {
    let fleet = Fleet::new();
    let held = |keys: &[Value]| TrustBundle::open(&bundle_with(&fleet, 2, keys), NOW).unwrap();
    let next = |held: &TrustBundle, keys: &[Value]| {
        held.accept_update(&bundle_with(&fleet, 3, keys), NOW).map(|_| ())
    };
    let lease = || listed("lease", 20, "lease");
    let changed = |id| Err(BadBundle::KeyChanged(KeyId(id)));
    let known = held(&[lease()]);
    assert_eq!(next(&known, &[]), Ok(()), "a key may go");
    assert_eq!(next(&known, &[listed("lease", 20, "other")]), changed(20));
    assert_eq!(next(&known, &[listed("release", 20, "lease")]), changed(20));
    assert_eq!(next(&known, &[listed("lease", 21, "lease")]), changed(21));
    assert_eq!(next(&known, &[listed("feed", 20, "lease")]), changed(20), "nor becomes known");
    // A key that was known does not leave by becoming one that is not.
    let feed = held(&[listed("feed", 20, "second feed")]);
    assert_eq!(next(&feed, &[listed("lease", 20, "second feed")]), changed(20));
    let tainted = |key| with(key, "state", "tainted".into());
    for stolen in [lease(), listed("feed", 20, "stolen"), quantum(20, "ml-dsa-65:AAAA")] {
        let held = held(&[tainted(stolen.clone())]);
        let untainted = Err(BadBundle::Untainted(KeyId(20)));
        assert_eq!(next(&held, std::slice::from_ref(&stolen)), untainted);
        assert_eq!(next(&held, &[]), untainted);
        assert_eq!(next(&held, &[tainted(stolen)]), Ok(()));
    }
    // One version is one content, in what is skipped too.
    let other = bundle_with(&fleet, 2, &[with(lease(), "scope", 1.into())]);
    let rolled = known.accept_update(&other, NOW).map(|_| ());
    assert_eq!(rolled, Err(BadBundle::RolledBack { found: 2, held: 2 }));
}

/// A broker of this version that went on from such a bundle would lose the key in silence.
// SPEC 2.11.14.
#[test]
fn no_bundle_is_made_after_one_with_a_key_that_is_not_understood() {
    let text = bundle_with(&Fleet::new(), 2, &[listed("lease", 20, "lease")]);
    let signed = SignedBundle::read(text.clone()).unwrap();
    assert_eq!(signed.text(), text, "what is handed on is what was signed");
    let held = signed.bundle();
    let signer = Fleet::signer(KeyUse::Bundle);
    let detail = held.sign(key_id(KeyUse::Bundle), &signer).unwrap_err().to_string();
    assert!(detail.contains("key 20") && detail.contains("\"lease\""), "{detail}");
    let made = key("made");
    let feed = key_id(KeyUse::Feed);
    let steps = [
        KeyStep::Reissue,
        KeyStep::Prepare { use_: KeyUse::Feed, lead_ms: 0 },
        KeyStep::Taint { key: feed },
    ];
    for step in steps {
        let next = held.step(&step, NOW, Some(sublet_core::base::sign::Signer::public_key(&made)));
        let refusal = Refusal::from(next.unwrap_err());
        assert_eq!(refusal.code(), "key_step");
        assert!(refusal.to_string().contains("does not understand"), "{refusal}");
    }
}
