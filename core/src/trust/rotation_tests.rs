use super::*;
use crate::base::sign::{SecretKey, Signer as _};
use crate::base::text::base64url;
use crate::trust::bundle::{KeyRefusal, SignedBundle};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Returns the key with this number.
fn secret(id: u32) -> SecretKey {
    SecretKey::ed25519_from_seed(crate::base::bytes::sha256(&id.to_be_bytes()))
}

/// Returns the first bundle of a broker: six keys, and the next bundle key.
fn first() -> TrustBundle {
    let mut keys: Vec<TrustedKey> = (1..)
        .zip(USES)
        .map(|(id, use_)| new_key(use_, KeyId(id), secret(id).public_key(), NOW, KeyState::Active))
        .collect();
    let next = secret(7);
    keys.push(new_key(KeyUse::Bundle, KeyId(7), next.public_key(), NOW, KeyState::Prepared));
    TrustBundle::new("acme.example".parse().unwrap(), 1, NOW, NOW.plus_ms(KEY_MS), keys).unwrap()
}

/// Takes a step. A holder of the bundle before must accept the one after.
fn step(held: &TrustBundle, step: KeyStep, now: UnixMillis) -> Result<TrustBundle, Deny> {
    let number = held.keys().len() as u32 + 1;
    let made = held.makes(&step).map(|_| secret(number));
    let next = held.step(&step, now, made.as_ref().map(|key| key.public_key()))?;
    let listed =
        made.is_none_or(|made| next.changed.iter().any(|k| k.public == *made.public_key()));
    assert!(listed, "a key is made where one is needed, and only there");
    let signer = secret(next.signer.id.0);
    let text = next.bundle.sign(next.signer.id, &signer).unwrap();
    assert_eq!(held.accept_update(text.as_bytes(), now).unwrap(), next.bundle);
    assert_eq!(SignedBundle::read(text.into_bytes()).unwrap().bundle(), &next.bundle);
    Ok(next.bundle)
}

fn detail(refused: Result<TrustBundle, Deny>) -> String {
    let deny = refused.unwrap_err();
    format!("{}: {deny}", deny.code())
}

fn state(bundle: &TrustBundle, id: u32) -> KeyState {
    bundle.key(KeyId(id)).unwrap().state
}

fn prepare(use_: KeyUse) -> KeyStep {
    KeyStep::Prepare { use_, lead_ms: HOUR }
}

fn activate(id: u32) -> KeyStep {
    KeyStep::Activate { key: KeyId(id), at_once: false }
}

#[test]
fn whoever_heard_of_the_prepared_key_takes_what_it_signs_without_hearing_more() {
    let prepared = step(&first(), prepare(KeyUse::Delegation), NOW).unwrap();
    let later = NOW.plus_ms(HOUR);
    assert_eq!(
        detail(step(&prepared, activate(8), NOW.plus_ms(HOUR - 1_000))),
        format!(
            "key_too_soon: key 8 may sign only from {}, so that verifiers learn of it before",
            crate::base::utc::utc(later.seconds())
        )
    );
    let active = step(&prepared, activate(8), later).unwrap();
    assert_eq!(active.active(KeyUse::Delegation).unwrap().id, KeyId(8));
    assert_eq!(state(&active, 1), KeyState::Retired);
    // By the bundle from before, too.
    let signed = |bundle: &TrustBundle, id, at: UnixMillis| {
        let times = (at, at.plus_ms(DAY));
        bundle.root_key(KeyUse::Delegation, KeyId(id), times).map(|key| base64url(key.bytes()))
    };
    assert!(signed(&prepared, 8, later).is_ok() && signed(&active, 8, later).is_ok());
    let early = signed(&prepared, 8, later.plus_ms(-1));
    assert_eq!(early, Err(KeyRefusal::Prepared(KeyId(8))));
    // What the one before signed holds to its end, and then the key is over.
    assert!(signed(&active, 1, later.plus_ms(-1)).is_ok());
    let long = (later.plus_ms(-1), later.plus_ms(8 * DAY));
    let outlived = active.root_key(KeyUse::Delegation, KeyId(1), long).map(|_| ());
    assert_eq!(outlived, Err(KeyRefusal::Outlived(KeyId(1))));
}

#[test]
fn a_tainted_key_kills_what_it_signed_and_the_next_takes_over_at_once() {
    let prepared = step(&first(), prepare(KeyUse::Delegation), NOW).unwrap();
    for (held, next) in [(&prepared, 8), (&first(), 8)] {
        let tainted = step(held, KeyStep::Taint { key: KeyId(1) }, NOW.plus_ms(1)).unwrap();
        assert_eq!(state(&tainted, 1), KeyState::Tainted);
        let active = tainted.active(KeyUse::Delegation).unwrap();
        assert_eq!((active.id, active.not_before), (KeyId(next), NOW));
        let by = |id| tainted.signing_key(KeyUse::Delegation, KeyId(id), NOW).map(|_| ());
        assert_eq!(by(1), Err(KeyRefusal::Tainted(KeyId(1))));
        assert_eq!(by(next), Ok(()));
        // Again is no news, and there is no way back.
        assert_eq!(
            state(&step(&tainted, KeyStep::Taint { key: KeyId(1) }, NOW.plus_ms(2)).unwrap(), 1),
            KeyState::Tainted
        );
        assert!(detail(step(&tainted, activate(1), NOW)).starts_with("key_step: key 1 is tainted"));
        assert!(
            detail(step(&tainted, KeyStep::Retire { key: KeyId(1) }, NOW)).starts_with("key_step")
        );
    }
}

#[test]
fn a_bundle_key_gives_way_to_one_that_was_announced_and_to_no_other() {
    let tainted = step(&first(), KeyStep::Taint { key: KeyId(6) }, NOW.plus_ms(1)).unwrap();
    assert_eq!(tainted.active(KeyUse::Bundle).unwrap().id, KeyId(7));
    // There is no next one yet: nobody could follow.
    let again = step(&tainted, KeyStep::Taint { key: KeyId(7) }, NOW.plus_ms(2));
    assert_eq!(
        detail(again),
        "key_step: the next bundle needs a bundle key that was published before and may sign now"
    );
    let schedule = Schedule { rotate_ms: 90 * DAY, lead_ms: DAY };
    let due = due(&tainted, &schedule, NOW.plus_ms(2)).unwrap();
    assert_eq!(due, KeyStep::Prepare { use_: KeyUse::Bundle, lead_ms: 0 });
    let prepared = step(&tainted, due, NOW.plus_ms(2)).unwrap();
    assert!(step(&prepared, KeyStep::Taint { key: KeyId(7) }, NOW.plus_ms(3_000)).is_ok());
}

// SPEC 2.16.3.
#[test]
fn the_key_that_signs_is_not_retired_without_another() {
    let retired = detail(step(&first(), KeyStep::Retire { key: KeyId(3) }, NOW));
    assert!(retired.starts_with("key_step: key 3 is the one that signs"), "{retired}");
    assert!(detail(step(&first(), activate(9), NOW)).starts_with("not_found"));
    let prepared = step(&first(), prepare(KeyUse::Feed), NOW).unwrap();
    let dropped = step(&prepared, KeyStep::Retire { key: KeyId(8) }, NOW.plus_ms(1)).unwrap();
    assert_eq!(state(&dropped, 8), KeyState::Retired);
    assert!(detail(step(&dropped, activate(8), NOW.plus_ms(DAY))).starts_with("key_step"));
    let never = dropped.signing_key(KeyUse::Feed, KeyId(8), NOW.plus_ms(HOUR)).map(|_| ());
    assert_eq!(never, Err(KeyRefusal::OutsideItsTime(KeyId(8))));
}

#[test]
fn a_bundle_does_not_outgrow_its_bound() {
    let mut bundle = first();
    while bundle.keys().len() < KEYS_MAX - EMERGENCIES {
        bundle = step(&bundle, prepare(KeyUse::Delegation), NOW).unwrap();
    }
    assert!(detail(step(&bundle, prepare(KeyUse::Feed), NOW)).starts_with("key_step: the trust"));
    // One that has to be replaced at that moment is not left without a successor.
    let mut signs = KeyId(2);
    for _ in 0..EMERGENCIES {
        bundle = step(&bundle, KeyStep::Taint { key: signs }, NOW).unwrap();
        signs = bundle.active(KeyUse::Identity).unwrap().id;
    }
    let full = detail(step(&bundle, KeyStep::Taint { key: signs }, NOW));
    assert!(full.starts_with("key_step: the trust"), "{full}");
}

#[test]
fn a_year_goes_by_and_somebody_who_looks_once_a_day_takes_every_bundle() {
    let schedule = Schedule { rotate_ms: 30 * DAY, lead_ms: 2 * DAY };
    let (mut bundle, mut held, mut now, mut steps) = (first(), first(), NOW, 0);
    while now < NOW.plus_ms(2 * KEY_MS / 2 + DAY) {
        while let Some(next) = due(&bundle, &schedule, now) {
            bundle = step(&bundle, next, now).unwrap();
            steps += 1;
            assert!(steps < 10_000, "a step that is due again at once: {next:?}");
        }
        for use_ in USES {
            let signs = bundle.active(use_).unwrap();
            // By yesterday's bundle as well, and for as long as anything may be good.
            let times = (now, now.plus_ms(longest_ms(use_)));
            assert!(held.root_key(use_, signs.id, times).is_ok(), "{use_:?} {now:?}");
            assert_eq!(bundle.of(use_, KeyState::Active).count(), 1);
        }
        assert!(bundle.check_time(now).is_ok());
        held = bundle.clone();
        now = now.plus_ms(DAY);
    }
    let rotations = bundle.of(KeyUse::Delegation, KeyState::Retired).count();
    assert!((11..=13).contains(&rotations), "{rotations}");
}

#[test]
fn a_step_is_said_in_words() {
    let detail = [
        (prepare(KeyUse::Feed), "prepare a feed key"),
        (activate(3), "activate key 3"),
        (KeyStep::Retire { key: KeyId(3) }, "retire key 3"),
        (KeyStep::Taint { key: KeyId(3) }, "taint key 3"),
        (KeyStep::Reissue, "issue the trust bundle anew"),
    ];
    detail.iter().for_each(|(step, words)| assert_eq!(step.to_string(), *words));
}

#[test]
fn keys_of_the_ledger_are_of_ed25519_and_the_others_of_either() {
    let curve = SecretKey::secp256r1_from_seed(&[7; 32]).unwrap();
    for use_ in USES {
        let next = first().step(&prepare(use_), NOW, Some(curve.public_key()));
        assert_eq!(next.is_ok(), use_ != KeyUse::Ledger, "{use_:?}");
        assert!(can_be(use_, Algorithm::Ed25519));
        assert_eq!(can_be(use_, Algorithm::Secp256r1), use_ != KeyUse::Ledger);
    }
}

#[test]
fn a_bundle_is_issued_anew_when_half_of_its_time_is_over() {
    let schedule = Schedule { rotate_ms: 2 * KEY_MS, lead_ms: HOUR };
    let half = NOW.plus_ms(KEY_MS / 2);
    assert_eq!(due(&first(), &schedule, half.plus_ms(-1)), None);
    assert_eq!(due(&first(), &schedule, half), Some(KeyStep::Reissue));
}

#[test]
fn a_bundle_key_signs_no_bundle_before_the_time_that_was_announced() {
    let lead = KeyStep::Prepare { use_: KeyUse::Bundle, lead_ms: HOUR };
    let prepared = step(&first(), lead, NOW).unwrap();
    let at_once = KeyStep::Activate { key: KeyId(8), at_once: true };
    let early = detail(step(&prepared, at_once, NOW.plus_ms(HOUR - 1)));
    assert!(early.starts_with("key_step: the next bundle needs a bundle key"), "{early}");
    assert!(step(&prepared, at_once, NOW.plus_ms(HOUR)).is_ok());
}

#[test]
fn of_two_keys_that_sign_one_is_retired() {
    let second = new_key(KeyUse::Feed, KeyId(9), secret(99).public_key(), NOW, KeyState::Active);
    let keys = [first().keys().to_vec(), vec![second]].concat();
    let domain = first().trust_domain().clone();
    let both = TrustBundle::new(domain, 1, NOW, NOW.plus_ms(KEY_MS), keys).unwrap();
    let retired = step(&both, KeyStep::Retire { key: KeyId(9) }, NOW).unwrap();
    assert_eq!(state(&retired, 9), KeyState::Retired);
    // One that is only prepared is no other that signs.
    let prepared = step(&retired, prepare(KeyUse::Feed), NOW).unwrap();
    let left = prepared.active(KeyUse::Feed).unwrap().id;
    assert!(detail(step(&prepared, KeyStep::Retire { key: left }, NOW)).starts_with("key_step"));
}
