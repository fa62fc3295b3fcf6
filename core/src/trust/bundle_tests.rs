use super::*;
use crate::base::sign::SecretKey;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn key(id: u32, use_: KeyUse, seed: u8) -> TrustedKey {
    TrustedKey {
        use_,
        id: KeyId(id),
        alg: "ed25519".into(),
        public: SecretKey::ed25519_from_seed([seed; 32]).public_key().clone(),
        not_before: UnixMillis(0),
        not_after: UnixMillis(2_000_000),
        state: KeyState::Active,
    }
}

fn bundle(version: u64, keys: Vec<TrustedKey>) -> TrustBundle {
    let domain = "acme.example".parse().unwrap();
    TrustBundle::new(domain, version, NOW, UnixMillis(3_000_000), keys).unwrap()
}

fn keys() -> Vec<TrustedKey> {
    vec![key(1, KeyUse::Delegation, 1), key(2, KeyUse::Bundle, 2)]
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::ed25519_from_seed([seed; 32])
}

fn sign(bundle: &TrustBundle, seed: u8) -> String {
    bundle.sign(KeyId(2), &secret(seed)).unwrap()
}

/// Signs what `sign` would refuse, as an attacker can.
fn forge(bundle: &TrustBundle, id: u32, seed: u8) -> String {
    let plain = serde_json::to_vec(&bundle.0).unwrap();
    let (_, canonical) = Json::parse_canonicalised(&plain).unwrap();
    let value = base64url(secret(seed).sign(&message(&canonical)).unwrap());
    let signature = BundleSignature { key: KeyId(id), value };
    serde_json::to_string(&SignedContent { content: &bundle.0, signature }).unwrap()
}

fn in_state(state: KeyState, key: TrustedKey) -> TrustedKey {
    TrustedKey { state, ..key }
}

/// Returns the verdict of the holder of `held` on `keys` in a correctly signed next version.
fn next(held: &[TrustedKey], keys: Vec<TrustedKey>) -> Result<TrustBundle, BadBundle> {
    let text = forge(&bundle(2, keys), 2, 2);
    bundle(1, held.to_vec()).accept_update(text.as_bytes(), NOW)
}

// SPEC 2.11.1, 2.11.2 and 2.11.4.
#[test]
fn opens_what_it_signed_and_nothing_changed() {
    let text = sign(&bundle(1, keys()), 2);
    assert_eq!(TrustBundle::open(text.as_bytes(), NOW), Ok(bundle(1, keys())));
    let changed = text.replace("2000000", "2000001");
    assert_eq!(TrustBundle::open(changed.as_bytes(), NOW), Err(BadBundle::Signature("its own")));
    let unknown = text.replacen('{', "{\"more\": 1,", 1);
    assert!(matches!(TrustBundle::open(unknown.as_bytes(), NOW), Err(BadBundle::Form(_))));
    assert_eq!(
        TrustBundle::open(text.as_bytes(), UnixMillis(3_000_000)),
        Err(BadBundle::Expired(UnixMillis(3_000_000)))
    );
    let foreign = forge(&bundle(1, keys()), 2, 9);
    assert_eq!(TrustBundle::open(foreign.as_bytes(), NOW), Err(BadBundle::Signature("its own")));
}

// SPEC 2.11.5.
#[test]
fn an_update_is_signed_by_the_bundle_held_and_never_rolls_back() {
    let held = bundle(2, keys());
    assert!(held.accept_update(sign(&bundle(3, keys()), 2).as_bytes(), NOW).is_ok());
    assert!(held.accept_update(sign(&held, 2).as_bytes(), NOW).is_ok());
    let back = held.accept_update(sign(&bundle(1, keys()), 2).as_bytes(), NOW);
    assert_eq!(back, Err(BadBundle::RolledBack { found: 1, held: 2 }));
    let usurper = bundle(3, vec![key(1, KeyUse::Delegation, 1), key(2, KeyUse::Bundle, 9)]);
    let taken = held.accept_update(forge(&usurper, 2, 9).as_bytes(), NOW);
    assert_eq!(taken, Err(BadBundle::Signature("the bundle held")));
}

// SPEC 2.11, 2.11.3.
#[test]
fn a_key_has_one_use_and_one_number() {
    let domain: TrustDomain = "acme.example".parse().unwrap();
    let two = |a, b| TrustBundle::new(domain.clone(), 1, NOW, UnixMillis(3_000_000), vec![a, b]);
    assert!(two(key(1, KeyUse::Delegation, 1), key(2, KeyUse::Identity, 1)).is_err());
    assert!(two(key(1, KeyUse::Delegation, 1), key(1, KeyUse::Identity, 2)).is_err());
}

// SPEC 2.11, 2.11.7.
#[test]
fn keys_sign_in_their_time_and_for_their_use() {
    let mut keys = keys();
    keys.push(TrustedKey { state: KeyState::Tainted, ..key(3, KeyUse::Delegation, 3) });
    keys.push(TrustedKey { state: KeyState::Prepared, ..key(4, KeyUse::Delegation, 4) });
    keys.push(TrustedKey { state: KeyState::Retired, ..key(5, KeyUse::Delegation, 5) });
    let bundle = bundle(1, keys);
    let ask = |use_, id, at| bundle.signing_key(use_, KeyId(id), UnixMillis(at)).map(|_| ());
    assert_eq!(ask(KeyUse::Delegation, 1, 5), Ok(()));
    assert_eq!(ask(KeyUse::Identity, 1, 5), Err(KeyRefusal::Unknown(KeyId(1))));
    assert_eq!(ask(KeyUse::Delegation, 1, 2_000_000), Err(KeyRefusal::OutsideItsTime(KeyId(1))));
    assert_eq!(ask(KeyUse::Delegation, 3, 5), Err(KeyRefusal::Tainted(KeyId(3))));
    assert_eq!(ask(KeyUse::Delegation, 4, 5), Ok(()), "announced for this time");
    assert_eq!(ask(KeyUse::Delegation, 4, -1), Err(KeyRefusal::Prepared(KeyId(4))));
    assert_eq!(ask(KeyUse::Delegation, 5, 5), Ok(()));
    let root = |until| {
        let times = (UnixMillis(5), UnixMillis(until));
        bundle.root_key(KeyUse::Delegation, KeyId(1), times).map(|_| ())
    };
    assert_eq!(root(2_000_000), Ok(()));
    assert_eq!(root(2_000_001), Err(KeyRefusal::Outlived(KeyId(1))));
}

// SPEC 2.11.2.
#[test]
fn a_bundle_signed_outside_the_time_of_its_key_is_refused() {
    for (not_before, not_after) in [(0, 1_000_000), (1_000_001, 2_000_000)] {
        let late = TrustedKey {
            not_before: UnixMillis(not_before),
            not_after: UnixMillis(not_after),
            ..key(2, KeyUse::Bundle, 2)
        };
        let bundle = bundle(2, vec![late.clone()]);
        let text = forge(&bundle, 2, 2);
        let out_of_time = Err(BadBundle::SignedOutOfTime(KeyId(2)));
        assert_eq!(TrustBundle::open(text.as_bytes(), NOW), out_of_time);
        assert!(bundle.sign(KeyId(2), &secret(2)).is_err());
        // Nor does a key whose time is over by the bundle held give itself more.
        assert_eq!(next(&[late], keys()), out_of_time);
    }
}

// SPEC 2.11.6.
#[test]
fn a_tainted_key_does_not_become_active_again() {
    let stolen = || key(3, KeyUse::Feed, 3);
    let held = [key(2, KeyUse::Bundle, 2), in_state(KeyState::Tainted, stolen())];
    for state in [KeyState::Active, KeyState::Retired, KeyState::Prepared] {
        let healed = vec![key(2, KeyUse::Bundle, 2), in_state(state, stolen())];
        assert_eq!(next(&held, healed), Err(BadBundle::Untainted(KeyId(3))));
    }
    assert!(next(&held, held.to_vec()).is_ok());
}

// SPEC 2.11.6.
#[test]
fn a_tainted_key_does_not_vanish_to_come_back_under_any_number() {
    let stolen = || in_state(KeyState::Tainted, key(3, KeyUse::Feed, 3));
    let held = [key(2, KeyUse::Bundle, 2), stolen()];
    let gone = vec![key(2, KeyUse::Bundle, 2)];
    assert_eq!(next(&held, gone), Err(BadBundle::Untainted(KeyId(3))));
    let renamed = vec![key(2, KeyUse::Bundle, 2), key(4, KeyUse::Feed, 3)];
    assert_eq!(next(&held, renamed), Err(BadBundle::KeyChanged(KeyId(4))));
}

// SPEC 2.11.6.
#[test]
fn a_number_is_not_given_to_another_key_nor_a_key_to_another_use() {
    let bundle_key = || key(2, KeyUse::Bundle, 2);
    let swapped = vec![bundle_key(), key(1, KeyUse::Delegation, 9)];
    assert_eq!(next(&keys(), swapped), Err(BadBundle::KeyChanged(KeyId(1))));
    let reused = vec![bundle_key(), key(1, KeyUse::Identity, 1)];
    assert_eq!(next(&keys(), reused), Err(BadBundle::KeyChanged(KeyId(1))));
    let renumbered = vec![bundle_key(), key(7, KeyUse::Delegation, 1)];
    assert_eq!(next(&keys(), renumbered), Err(BadBundle::KeyChanged(KeyId(7))));
    let rotated = vec![bundle_key(), key(7, KeyUse::Delegation, 7)];
    assert!(next(&keys(), rotated).is_ok(), "a key may go and another come");
}

/// Tells whether a type can be deserialised, without requiring it.
trait NotFromBytes {
    const FROM_BYTES: bool = false;
}
impl<T> NotFromBytes for Ask<T> {}
struct Ask<T>(std::marker::PhantomData<T>);
impl<T: serde::de::DeserializeOwned> Ask<T> {
    const FROM_BYTES: bool = true;
}

#[test]
fn no_bundle_is_deserialised_around_its_signature() {
    let asked = [Ask::<TrustedKey>::FROM_BYTES, Ask::<TrustBundle>::FROM_BYTES];
    assert_eq!(asked, [true, false]);
}

#[test]
fn a_verifier_that_missed_the_rotation_is_not_locked_out() {
    let (old, new) = (|| key(2, KeyUse::Bundle, 2), || key(3, KeyUse::Bundle, 3));
    let held = bundle(1, vec![old(), in_state(KeyState::Prepared, new())]);
    let rotated = bundle(3, vec![in_state(KeyState::Retired, old()), new()]);
    let text = rotated.sign(KeyId(3), &secret(3)).unwrap();
    assert_eq!(held.accept_update(text.as_bytes(), NOW), Ok(rotated.clone()));
    // The retired key no longer signs, even a bundle in which it calls itself active.
    let back = forge(&bundle(4, vec![old(), new()]), 2, 2);
    let refused = Err(BadBundle::Signature("the bundle held"));
    assert_eq!(rotated.accept_update(back.as_bytes(), NOW), refused);
    // A key that is still prepared in the bundle that it signs does not sign.
    let early = bundle(3, vec![old(), in_state(KeyState::Prepared, new())]);
    let early = held.accept_update(forge(&early, 3, 3).as_bytes(), NOW);
    assert_eq!(early, Err(BadBundle::Signature("its own")));
}

#[test]
fn an_update_that_does_not_list_its_own_signer_is_refused() {
    let orphan = bundle(2, vec![key(3, KeyUse::Bundle, 3)]);
    let text = forge(&orphan, 2, 2);
    let refused = Err(BadBundle::Signature("its own"));
    assert_eq!(bundle(1, keys()).accept_update(text.as_bytes(), NOW), refused);
    assert_eq!(TrustBundle::open(text.as_bytes(), NOW), refused);
}

#[test]
fn a_signer_does_not_sign_in_the_name_of_another_key() {
    let bundle = bundle(1, keys());
    assert!(bundle.sign(KeyId(2), &secret(9)).is_err(), "another key");
    assert!(bundle.sign(KeyId(1), &secret(1)).is_err(), "not a bundle key");
    assert!(bundle.sign(KeyId(9), &secret(2)).is_err(), "not listed");
    assert!(bundle.sign(KeyId(2), &secret(2)).is_ok());
}

#[test]
fn a_use_of_a_key_is_called_what_the_bundle_calls_it() {
    let uses = [
        (KeyUse::Delegation, "delegation"),
        (KeyUse::Identity, "identity"),
        (KeyUse::Receipt, "receipt"),
        (KeyUse::Ledger, "ledger"),
        (KeyUse::Feed, "feed"),
        (KeyUse::Bundle, "bundle"),
    ];
    for (use_, name) in uses {
        assert_eq!(use_.name(), name);
        assert_eq!(serde_json::to_value(use_).unwrap(), name);
    }
}

#[test]
fn a_bundle_that_was_not_signed_says_what_that_may_come_from() {
    let stranger = BadBundle::Signature(HELD).to_string();
    assert!(stranger.contains("another broker's") && stranger.contains("rotation"), "{stranger}");
    let altered = BadBundle::Signature("its own").to_string();
    assert!(altered.ends_with("it was altered"), "{altered}");
}

// SPEC 2.11.4.
#[test]
fn a_bundle_may_be_issued_by_a_clock_that_runs_ahead_as_far_as_clocks_may() {
    let bundle = bundle(1, keys());
    let skew = crate::base::limits::CLOCK_SKEW_MS;
    assert_eq!(bundle.check_time(NOW.plus_ms(-skew)), Ok(()));
    assert_eq!(bundle.check_time(NOW.plus_ms(-skew - 1)), Err(BadBundle::FromFuture));
}

#[test]
fn a_prepared_key_whose_time_is_over_is_not_one_that_is_yet_to_come() {
    let prepared = in_state(KeyState::Prepared, key(4, KeyUse::Feed, 4));
    let never = TrustedKey { not_before: NOW, not_after: NOW, ..key(5, KeyUse::Feed, 5) };
    let bundle = bundle(1, vec![prepared, in_state(KeyState::Prepared, never)]);
    let asked = |id, at| bundle.signing_key(KeyUse::Feed, KeyId(id), at).map(drop);
    assert_eq!(asked(4, UnixMillis(2_000_000)), Err(KeyRefusal::OutsideItsTime(KeyId(4))));
    assert_eq!(asked(5, NOW.plus_ms(-1)), Err(KeyRefusal::Prepared(KeyId(5))));
    assert_eq!(asked(5, NOW), Err(KeyRefusal::OutsideItsTime(KeyId(5))));
}

// SPEC 2.11.1.
#[test]
fn a_bundle_may_be_as_large_as_its_bound_and_keeps_its_text() {
    let mut text = sign(&bundle(1, keys()), 2).into_bytes();
    text.resize(BUNDLE_BYTES_MAX, b' ');
    assert_eq!(SignedBundle::read(text.clone()).unwrap().text(), text);
    text.push(b' ');
    assert_eq!(SignedBundle::read(text), Err(BadBundle::TooLarge));
}
