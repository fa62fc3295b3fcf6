//! The feed as its reader sees it, and the attacks on it.

use super::*;
use crate::base::id::{AgentId, HopId, Principal, UnixMillis};
use crate::base::sign::{SecretKey, Signer as _};
use crate::trust::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};

const NOW: UnixMillis = UnixMillis(1_000_000);
const LATER: UnixMillis = UnixMillis(9_000_000);

fn domain() -> TrustDomain {
    "acme.example".parse().unwrap()
}

fn agent() -> AgentId {
    "spiffe://acme.example/agent/a".parse().unwrap()
}

fn stored(writer: &FeedWriter) -> Vec<Delta> {
    writer.deltas_after(0, 0).map(|(_, bytes)| Delta::decode(bytes).unwrap()).collect()
}

fn signed(head: Head) -> Vec<u8> {
    SignedHead::sign(head, KeyId(5), &signer()).unwrap().encode()
}

fn signer() -> SecretKey {
    SecretKey::ed25519_from_seed([6; 32])
}

fn bundle() -> TrustBundle {
    let key = |use_, id, seed| TrustedKey {
        use_,
        id: KeyId(id),
        alg: "ed25519".into(),
        public: SecretKey::ed25519_from_seed([seed; 32]).public_key().clone(),
        not_before: UnixMillis(0),
        not_after: UnixMillis(i64::MAX),
        state: KeyState::Active,
    };
    let keys = vec![key(KeyUse::Feed, 5, 6), key(KeyUse::Bundle, 6, 7)];
    TrustBundle::new("acme.example".parse().unwrap(), 1, UnixMillis(0), UnixMillis(i64::MAX), keys)
        .unwrap()
}

fn writer() -> FeedWriter {
    FeedWriter::new(domain(), 1)
}

fn head(writer: &FeedWriter, time: UnixMillis) -> Vec<u8> {
    signed(writer.head(time))
}

/// Raises the floor past the deltas that have no effect any more.
fn advance_floor(writer: &mut FeedWriter, now: UnixMillis) {
    let Some(trim) = writer.trim(|delta| !delta.is_over(now), usize::MAX) else { return };
    assert_eq!(trim.again, [], "nothing is outnumbered");
    writer.raise_floor(&trim.floor);
}

fn hop(byte: u8) -> Revocation {
    Revocation::Hop(HopId([byte; 32]))
}

fn feed(view: &mut RevocationView, writer: &FeedWriter, time: UnixMillis) -> Result<(), BadFeed> {
    for (_, delta) in writer.deltas_after(view.epoch(), view.sequence()) {
        view.apply_delta(delta)?;
    }
    view.apply_head(&head(writer, time), &bundle(), time, 0)
}

fn view() -> RevocationView {
    RevocationView::new(domain())
}

#[test]
fn follows_and_resumes() {
    let (mut writer, mut view) = (writer(), view());
    writer.append(hop(1), NOW, LATER);
    let agent: AgentId = "spiffe://acme.example/agent/a".parse().unwrap();
    writer.append(Revocation::AgentSuspended(agent.clone()), NOW, LATER);
    feed(&mut view, &writer, NOW).unwrap();
    assert!(
        view.is_revoked(&hop(1)) && view.is_revoked(&Revocation::AgentSuspended(agent.clone()))
    );
    writer.append(Revocation::AgentResumed(agent.clone()), NOW, LATER);
    feed(&mut view, &writer, NOW.plus_ms(5)).unwrap();
    assert!(!view.is_revoked(&Revocation::AgentSuspended(agent)));
    let again = FeedWriter::resume(domain(), 1, stored(&writer)).unwrap();
    assert_eq!(again.head(NOW), writer.head(NOW));
}

// SPEC 7.6.
#[test]
fn a_delta_counts_only_under_a_head() {
    let (mut writer, mut view) = (writer(), view());
    let delta = writer.append(hop(1), NOW, LATER).encode();
    view.apply_delta(&delta).unwrap();
    assert!(!view.is_revoked(&hop(1)));
    assert_eq!(view.age_ms(NOW, 0), None);
}

#[test]
fn withheld_swapped_and_altered_deltas_are_noticed() {
    let mut writer = writer();
    writer.append(hop(1), NOW, LATER);
    writer.append(hop(2), NOW, LATER);
    let deltas: Vec<Vec<u8>> = writer.deltas_after(0, 0).map(|(_, bytes)| bytes.to_vec()).collect();
    let signed = head(&writer, NOW);
    let play = |deltas: &[&Vec<u8>]| {
        let mut view = view();
        deltas.iter().try_for_each(|delta| view.apply_delta(delta))?;
        view.apply_head(&signed, &bundle(), NOW, 0)
    };
    assert_eq!(play(&[&deltas[0], &deltas[1]]), Ok(()));
    assert_eq!(play(&[&deltas[0]]), Err(BadFeed::Incomplete { head: 2, held: 1 }));
    assert!(matches!(play(&[&deltas[1]]), Err(BadFeed::Gap { .. })));
    assert!(matches!(play(&[&deltas[1], &deltas[0]]), Err(BadFeed::Incomplete { .. })));
    let other = Delta { revocation: hop(9), ..Delta::decode(&deltas[1]).unwrap() }.encode();
    assert_eq!(play(&[&deltas[0], &other]), Err(BadFeed::Forked { sequence: 2 }));
}

// SPEC 7.6, 7.6.1.
#[test]
fn never_goes_back_and_never_forks() {
    let (mut writer, mut view) = (writer(), view());
    let old = head(&writer, NOW);
    writer.append(hop(1), NOW, LATER);
    let mut fork = self::writer();
    fork.append(hop(7), NOW, LATER);
    feed(&mut view, &writer, NOW).unwrap();
    assert!(matches!(view.apply_head(&old, &bundle(), NOW, 0), Err(BadFeed::RolledBack { .. })));
    let forked = view.apply_head(&head(&fork, NOW.plus_ms(1)), &bundle(), NOW, 0);
    assert_eq!(forked, Err(BadFeed::Forked { sequence: 1 }));
    assert!(view.is_revoked(&hop(1)));
}

// SPEC 7.7.
#[test]
fn age_is_on_the_issuers_clock_and_never_shrinks() {
    let (writer, mut view) = (writer(), view());
    let signed = head(&writer, NOW);
    view.apply_head(&signed, &bundle(), NOW, 100).unwrap();
    assert_eq!(view.age_ms(NOW.plus_ms(3_000), 3_100), Some(3_000));
    // The same head played again does not become younger, nor does a clock set back help.
    view.apply_head(&signed, &bundle(), NOW.plus_ms(3_000), 3_100).unwrap();
    assert_eq!(view.age_ms(NOW.plus_ms(-60_000), 4_100), Some(4_000));
    let ahead = view.apply_head(&head(&writer, NOW.plus_ms(60_000)), &bundle(), NOW, 0);
    assert_eq!(ahead, Err(BadFeed::FromFuture { ahead_ms: 60_000 }));
}

#[test]
fn only_a_feed_key_signs_heads() {
    let other = SecretKey::ed25519_from_seed([7; 32]);
    let wrong_use = SignedHead::sign(writer().head(NOW), KeyId(6), &other).unwrap().encode();
    assert!(matches!(view().apply_head(&wrong_use, &bundle(), NOW, 0), Err(BadFeed::Key(_))));
    let wrong_key = SignedHead::sign(writer().head(NOW), KeyId(5), &other).unwrap().encode();
    assert_eq!(view().apply_head(&wrong_key, &bundle(), NOW, 0), Err(BadFeed::Signature));
}

#[test]
fn the_floor_spares_fresh_readers_what_has_expired() {
    let mut writer = writer();
    writer.append(hop(1), NOW, NOW.plus_ms(10));
    writer.append(hop(2), NOW, LATER);
    advance_floor(&mut writer, NOW.plus_ms(60_000));
    let mut view = view();
    feed(&mut view, &writer, NOW.plus_ms(60_000)).unwrap();
    assert!(!view.is_revoked(&hop(1)) && view.is_revoked(&hop(2)));
}

#[test]
fn snapshots_are_text() {
    let mut writer = writer();
    let delta = writer.append(hop(1), NOW, LATER).encode();
    let text = snapshot_text([delta.as_slice()], &head(&writer, NOW));
    let lines = read_snapshot(&text).unwrap();
    assert_eq!(lines, [SnapshotLine::Delta(delta), SnapshotLine::Head(head(&writer, NOW))]);
    assert_eq!(read_snapshot("x"), Err(BadFeed::Text { line: 1 }));
}

// SPEC 7.8.
#[test]
fn a_clock_set_ahead_ends_no_revocation_early() {
    let (mut writer, mut view) = (writer(), view());
    writer.append(hop(1), NOW, NOW.plus_ms(60_000));
    feed(&mut view, &writer, NOW).unwrap();
    view.prune(LATER);
    assert!(view.is_revoked(&hop(1)));
    let over = NOW.plus_ms(60_000 + crate::base::limits::CLOCK_SKEW_MS);
    feed(&mut view, &writer, over.plus_ms(-1)).unwrap();
    view.prune(LATER);
    assert!(view.is_revoked(&hop(1)), "not over by the issuer's time");
    feed(&mut view, &writer, over).unwrap();
    view.prune(over.plus_ms(-1));
    assert!(view.is_revoked(&hop(1)), "not over by our own");
    view.prune(LATER);
    assert!(view.is_empty());
}

#[test]
fn a_second_revocation_does_not_shorten_the_first() {
    let (mut writer, mut view) = (writer(), view());
    writer.append(hop(1), NOW, LATER);
    writer.append(hop(1), NOW, NOW.plus_ms(1));
    writer.append(hop(2), NOW, NOW.plus_ms(1));
    writer.append(hop(2), NOW, LATER);
    feed(&mut view, &writer, NOW).unwrap();
    feed(&mut view, &writer, NOW.plus_ms(60_000)).unwrap();
    view.prune(NOW.plus_ms(60_000));
    assert!(view.is_revoked(&hop(1)) && view.is_revoked(&hop(2)));
}

#[test]
fn a_new_epoch_makes_no_live_revocation_vanish() {
    let (mut writer, mut view) = (writer(), view());
    writer.append(hop(1), NOW, LATER);
    writer.append(Revocation::AgentSuspended(agent()), NOW, LATER);
    feed(&mut view, &writer, NOW).unwrap();
    let mut anew = FeedWriter::new(domain(), 2);
    feed(&mut view, &anew, NOW.plus_ms(1)).unwrap();
    assert!(view.is_revoked(&hop(1)));
    assert!(view.is_revoked(&Revocation::AgentSuspended(agent())));
    anew.append(Revocation::AgentResumed(agent()), NOW, LATER);
    feed(&mut view, &anew, NOW.plus_ms(2)).unwrap();
    assert!(!view.is_revoked(&Revocation::AgentSuspended(agent())));
    feed(&mut view, &anew, LATER.plus_ms(60_000)).unwrap();
    view.prune(LATER.plus_ms(60_000));
    assert!(view.is_empty());
}

#[test]
fn a_reader_below_a_raised_floor_begins_again_there() {
    let (mut writer, mut view) = (writer(), view());
    writer.append(hop(1), NOW, NOW.plus_ms(10));
    feed(&mut view, &writer, NOW).unwrap();
    writer.append(hop(2), NOW, NOW.plus_ms(10));
    writer.append(hop(3), NOW, LATER);
    advance_floor(&mut writer, NOW.plus_ms(60_000));
    assert_eq!(writer.head(NOW).floor_sequence, 2);
    feed(&mut view, &writer, NOW.plus_ms(60_000)).unwrap();
    assert_eq!(view.sequence(), 3);
    assert!(view.is_revoked(&hop(1)), "entries go by expiry alone");
    assert!(view.is_revoked(&hop(3)));
    // Also when nothing at all is above the floor.
    writer.append(hop(4), NOW, LATER);
    advance_floor(&mut writer, LATER.plus_ms(60_000));
    feed(&mut view, &writer, LATER.plus_ms(60_000)).unwrap();
    assert_eq!(view.sequence(), 4);
}

#[test]
fn a_reader_follows_a_new_epoch_from_one_or_from_a_floor() {
    let (mut writer, mut view) = (writer(), view());
    writer.append(hop(1), NOW, LATER);
    writer.append(hop(2), NOW, LATER);
    feed(&mut view, &writer, NOW).unwrap();
    // A delta of the old epoch is still waiting when the new one begins.
    view.apply_delta(&writer.append(hop(9), NOW, LATER).encode()).unwrap();
    let mut second = FeedWriter::new(domain(), 2);
    second.append(hop(3), NOW, LATER);
    feed(&mut view, &second, NOW.plus_ms(1)).unwrap();
    assert_eq!((view.epoch(), view.sequence()), (2, 1));
    let mut third = FeedWriter::new(domain(), 3);
    third.append(hop(4), NOW, NOW.plus_ms(10));
    third.append(hop(5), NOW, LATER);
    advance_floor(&mut third, NOW.plus_ms(60_000));
    feed(&mut view, &third, NOW.plus_ms(60_000)).unwrap();
    assert_eq!((view.epoch(), view.sequence()), (3, 2));
    assert!([1, 2, 3, 5].iter().all(|&byte| view.is_revoked(&hop(byte))));
    assert!(![4, 9].iter().any(|&byte| view.is_revoked(&hop(byte))), "no head bound these");
    assert!(matches!(feed(&mut view, &second, NOW), Err(BadFeed::RolledBack { epoch: 2, .. })));
}

#[test]
fn a_delta_ahead_of_its_head_waits_and_is_no_fork() {
    let (mut writer, mut view) = (writer(), view());
    let first = writer.append(hop(1), NOW, LATER).encode();
    let early = head(&writer, NOW);
    let second = writer.append(hop(2), NOW, LATER).encode();
    view.apply_delta(&first).unwrap();
    view.apply_delta(&second).unwrap();
    view.apply_head(&early, &bundle(), NOW, 0).unwrap();
    assert!(view.is_revoked(&hop(1)) && !view.is_revoked(&hop(2)));
    view.apply_head(&head(&writer, NOW.plus_ms(1)), &bundle(), NOW, 0).unwrap();
    assert!(view.is_revoked(&hop(2)));
}

#[test]
fn a_flood_of_deltas_without_a_head_is_bounded() {
    let mut view = view();
    let delta = |sequence| Delta { sequence, at: NOW, expires: LATER, revocation: hop(1) }.encode();
    for sequence in 1..=PENDING_MAX as u64 {
        view.apply_delta(&delta(sequence)).unwrap();
    }
    let flood = view.apply_delta(&delta(PENDING_MAX as u64 + 1));
    assert_eq!(flood.map_err(|bad| bad.code()), Err("feed_too_many"));
    // A reader that asks again from its position is not stuck.
    let mut writer = writer();
    writer.append(hop(2), NOW, LATER);
    assert_eq!(feed(&mut view, &writer, NOW), Ok(()));
}

#[test]
fn deltas_sent_twice_do_no_harm() {
    let (mut writer, mut view) = (writer(), view());
    writer.append(Revocation::AgentSuspended(agent()), NOW, LATER);
    writer.append(Revocation::AgentResumed(agent()), NOW, LATER);
    feed(&mut view, &writer, NOW).unwrap();
    writer.append(hop(1), NOW, LATER);
    for _ in 0..2 {
        for (_, delta) in writer.deltas_after(0, 0) {
            view.apply_delta(delta).unwrap();
        }
    }
    view.apply_head(&head(&writer, NOW), &bundle(), NOW, 0).unwrap();
    assert!(view.is_revoked(&hop(1)) && view.len() == 1);
}

#[test]
fn a_writer_resumes_from_its_floor() {
    let mut writer = writer();
    writer.append(hop(1), NOW, NOW.plus_ms(10));
    writer.append(hop(2), NOW, LATER);
    advance_floor(&mut writer, NOW.plus_ms(60_000));
    let Head { floor_sequence, floor_hash, .. } = writer.head(NOW);
    let resume = |sequence, hash, deltas: Vec<Delta>| {
        FeedWriter::resume_from(domain(), 1, FeedFloor { sequence, hash }, deltas)
    };
    let again = resume(floor_sequence, floor_hash, stored(&writer)).unwrap();
    assert_eq!(again.head(NOW), writer.head(NOW));
    assert_eq!(stored(&again), stored(&writer));
    let gap = resume(floor_sequence + 1, floor_hash, stored(&writer));
    assert_eq!(gap.unwrap_err(), BadFeed::Gap { found: 2, held: 2 });
    let no_genesis = resume(0, [7; 32], Vec::new());
    assert_eq!(no_genesis.unwrap_err(), BadFeed::Forked { sequence: 0 });
}

#[test]
fn a_floor_neither_sinks_nor_changes_its_hash_nor_passes_its_head() {
    let (mut writer, mut view) = (writer(), view());
    for byte in 1..=3 {
        writer.append(hop(byte), NOW, NOW.plus_ms(10));
    }
    writer.append(hop(4), NOW, LATER);
    let low = writer.head(NOW.plus_ms(60_001));
    advance_floor(&mut writer, NOW.plus_ms(60_000));
    feed(&mut view, &writer, NOW.plus_ms(60_000)).unwrap();
    let good = writer.head(NOW.plus_ms(60_001));
    let apply = |head: Head| view.clone().apply_head(&signed(head), &bundle(), LATER, 0);
    assert_eq!(apply(good.clone()), Ok(()));
    assert_eq!(apply(low), Err(BadFeed::RolledBack { epoch: 1, sequence: 4 }));
    let forked = |sequence| Err(BadFeed::Forked { sequence });
    assert_eq!(apply(Head { floor_hash: [7; 32], ..good.clone() }), forked(3));
    assert_eq!(apply(Head { floor_sequence: 4, floor_hash: [7; 32], ..good.clone() }), forked(4));
    assert_eq!(apply(Head { floor_sequence: 5, ..good.clone() }), forked(4));
    let beyond = Head { floor_sequence: 5, floor_hash: good.hash, ..good.clone() };
    assert_eq!(apply(beyond), forked(4));
    let other = Head { sequence: 5, floor_sequence: 4, floor_hash: [7; 32], ..good.clone() };
    assert_eq!(apply(other), forked(4));
    assert_eq!(apply(Head { epoch: 2, floor_sequence: 0, ..good }), forked(0));
}

#[test]
fn a_refused_head_costs_nothing_that_is_in_force() {
    let (mut writer, mut view) = (writer(), view());
    writer.append(hop(1), NOW, LATER);
    let old = writer.head(NOW.plus_ms(-1));
    feed(&mut view, &writer, NOW).unwrap();
    let waiting = writer.append(hop(2), NOW, LATER).encode();
    view.apply_delta(&waiting).unwrap();
    let good = writer.head(NOW);
    let foreign = "evil.example".parse().unwrap();
    let heads = [
        signed(old),
        signed(Head { time: LATER, ..good.clone() }),
        signed(Head { feed: foreign, ..good.clone() }),
        signed(Head { sequence: 9, ..good.clone() }),
        signed(Head { epoch: 2, sequence: 7, ..good.clone() }),
        SignedHead::sign(good.clone(), KeyId(9), &signer()).unwrap().encode(),
        SignedHead { head: good.clone(), key: KeyId(5), signature: vec![0; 64] }.encode(),
        b"no head".to_vec(),
    ];
    for head in heads {
        assert!(view.apply_head(&head, &bundle(), NOW, 0).is_err());
        assert_eq!((view.epoch(), view.sequence(), view.len()), (1, 1, 1));
    }
    assert_eq!(view.clone().apply_head(&signed(good.clone()), &bundle(), NOW, 0), Ok(()));
    // A head that contradicts what waits makes the reader ask again.
    let forked =
        view.apply_head(&signed(Head { hash: [7; 32], ..good.clone() }), &bundle(), NOW, 0);
    assert_eq!(forked, Err(BadFeed::Forked { sequence: 2 }));
    assert!(view.is_revoked(&hop(1)) && view.sequence() == 1);
    view.apply_delta(&waiting).unwrap();
    assert_eq!(view.apply_head(&signed(good), &bundle(), NOW, 0), Ok(()));
    assert!(view.is_revoked(&hop(2)));
}

/// A restored principal is valid for what is issued later, however the reader learns of it.
#[test]
fn what_was_issued_before_a_principals_return_stays_revoked() {
    let (mut writer, mut view) = (writer(), view());
    let alice: Principal = "user:alice@acme.example".parse().unwrap();
    let bob: Principal = "user:bob@acme.example".parse().unwrap();
    let (ends, back) =
        (Revocation::Principal(alice.clone()), Revocation::PrincipalRestored(alice.clone()));
    let of = |view: &RevocationView, ms: &[i64]| -> Vec<bool> {
        ms.iter().map(|ms| view.ends(&alice, NOW.plus_ms(*ms))).collect()
    };
    writer.append(ends.clone(), NOW, UnixMillis(i64::MAX));
    feed(&mut view, &writer, NOW).unwrap();
    assert_eq!(of(&view, &[-5_000, 0, 5_000]), [true; 3], "all of it, whenever it was issued");
    writer.append(back.clone(), NOW.plus_ms(1_000), LATER);
    feed(&mut view, &writer, NOW.plus_ms(1_000)).unwrap();
    assert_eq!(of(&view, &[-5_000, 0, 1_000, 1_001]), [true, true, true, false]);
    assert!(!view.ends(&bob, NOW));
    // A reader that knows nothing hears the same.
    let mut fresh = self::view();
    feed(&mut fresh, &writer, NOW.plus_ms(1_000)).unwrap();
    assert_eq!(of(&fresh, &[0, 1_000, 1_001]), [true, true, false]);
    // Again, and back again: of two returns the later one counts, in whichever order they are heard.
    writer.append(ends, NOW.plus_ms(2_000), UnixMillis(i64::MAX));
    feed(&mut view, &writer, NOW.plus_ms(2_000)).unwrap();
    assert_eq!(of(&view, &[1_001, 9_000]), [true; 2]);
    writer.append(back.clone(), NOW.plus_ms(3_000), LATER);
    writer.append(back, NOW.plus_ms(1_000), LATER);
    feed(&mut view, &writer, NOW.plus_ms(3_000)).unwrap();
    assert_eq!(of(&view, &[3_000, 3_001]), [true, false]);
    // A return that is stated again behind a later revocation lifts nothing: it has its own time.
    writer.append(Revocation::Principal(alice.clone()), NOW.plus_ms(4_000), UnixMillis(i64::MAX));
    writer.append(Revocation::PrincipalRestored(alice.clone()), NOW.plus_ms(3_000), LATER);
    for mut reader in [view, self::view()] {
        feed(&mut reader, &writer, NOW.plus_ms(4_000)).unwrap();
        assert_eq!(of(&reader, &[3_001, 9_000]), [true; 2]);
    }
    let written = stored(&writer);
    assert_eq!(FeedWriter::resume(domain(), 1, written).unwrap().head(NOW), writer.head(NOW));
}

/// A reader that was away until the restoration of a principal was no longer sent does not keep the
/// principal revoked.
#[test]
fn a_revocation_of_a_principal_that_the_floor_has_passed_was_lifted() {
    let (mut writer, mut view) = (writer(), view());
    let alice: Principal = "user:alice@acme.example".parse().unwrap();
    writer.append(Revocation::Principal(alice.clone()), NOW, UnixMillis(i64::MAX));
    feed(&mut view, &writer, NOW).unwrap();
    writer.append(Revocation::PrincipalRestored(alice.clone()), NOW, NOW.plus_ms(10));
    writer.append(hop(1), NOW, LATER);
    // The revocation itself says nothing any more: its return does.
    let lifted = |delta: &Delta| {
        !matches!(delta.revocation, Revocation::Principal(_)) && !delta.is_over(NOW.plus_ms(60_000))
    };
    let trim = writer.trim(lifted, usize::MAX).unwrap();
    writer.raise_floor(&trim.floor);
    assert_eq!(writer.head(NOW).floor_sequence, 2);
    feed(&mut view, &writer, NOW.plus_ms(60_000)).unwrap();
    assert!(!view.ends(&alice, NOW.plus_ms(30_000)));
    assert!(view.is_revoked(&hop(1)));
}

#[test]
fn a_writer_says_where_it_stands() {
    let mut writer = FeedWriter::new(domain(), 7);
    assert!(writer.is_empty());
    assert_eq!((writer.epoch(), writer.sequence(), writer.len()), (7, 0, 0));
    for byte in 1..4 {
        writer.append(hop(byte), NOW, LATER);
    }
    assert!(!writer.is_empty());
    assert_eq!((writer.epoch(), writer.sequence(), writer.len()), (7, 3, 3));
    assert_eq!(writer.position(), FeedPosition::new(7, 3));
    assert_eq!(writer.head(NOW).position(), writer.position());
    writer.raise_floor(&FeedFloor { sequence: 1, hash: [0; 32] });
    assert_eq!((writer.sequence(), writer.len()), (3, 2));
    // Who stands in this epoch is sent what it lacks, and anyone else all that there is.
    for (epoch, sequence, sent) in
        [(7, 2, 1), (7, 3, 0), (7, 0, 2), (7, 4, 2), (6, 2, 2), (8, 3, 2)]
    {
        assert_eq!(writer.deltas_after(epoch, sequence).count(), sent, "{epoch}, {sequence}");
    }
}

#[test]
fn a_view_says_which_head_it_holds() {
    let (mut writer, mut view) = (writer(), view());
    assert!(view.head().is_none());
    writer.append(hop(1), NOW, LATER);
    feed(&mut view, &writer, NOW).unwrap();
    assert_eq!(view.head(), Some(&writer.head(NOW)));
}

#[test]
fn a_view_of_what_is_recorded_stands_where_that_was() {
    let recorded =
        RevocationView::recorded(domain(), FeedPosition::new(3, 9), [(hop(1), NOW), (hop(2), NOW)]);
    assert_eq!((recorded.epoch(), recorded.sequence(), recorded.len()), (3, 9, 2));
    assert!(recorded.is_revoked(&hop(2)) && recorded.head().is_none());
}

#[test]
fn a_suspension_stays_while_the_reader_misses_nothing() {
    let (mut writer, mut view) = (writer(), view());
    let suspended = Revocation::AgentSuspended(agent());
    writer.append(suspended.clone(), NOW, LATER);
    feed(&mut view, &writer, NOW).unwrap();
    writer.append(hop(1), NOW, LATER);
    feed(&mut view, &writer, NOW.plus_ms(1)).unwrap();
    assert!(view.is_revoked(&suspended) && !view.is_empty());
    assert_eq!(view.len(), 2);
    // A floor that is where the reader stands has passed nothing that it lacks.
    let floor = FeedFloor { sequence: view.sequence(), hash: writer.head(NOW).hash };
    writer.raise_floor(&floor);
    writer.append(hop(2), NOW, LATER);
    feed(&mut view, &writer, NOW.plus_ms(2)).unwrap();
    assert!(view.is_revoked(&suspended));
}

#[test]
fn a_return_at_the_very_time_of_a_revocation_lifts_nothing() {
    let (mut writer, mut view) = (writer(), view());
    let alice: Principal = "user:alice@acme.example".parse().unwrap();
    writer.append(Revocation::Principal(alice.clone()), NOW, LATER);
    writer.append(Revocation::PrincipalRestored(alice.clone()), NOW, LATER);
    feed(&mut view, &writer, NOW).unwrap();
    assert!(view.is_revoked(&Revocation::Principal(alice)));
}

// SPEC 7.6.3.
#[test]
fn what_holds_is_stated_again_once_the_others_outnumber_it() {
    let trim = |idle: u64| {
        let mut writer = writer();
        writer.append(hop(1), NOW, LATER);
        (0..idle).for_each(|_| drop(writer.append(hop(2), NOW, NOW)));
        writer.trim(|delta| delta.revocation == hop(1), usize::MAX).map(|trim| trim.again.len())
    };
    // One that holds, and 1,024 more than it, are not outnumbered.
    assert_eq!((trim(1_025), trim(1_026), trim(1_027)), (None, Some(1), Some(1)));
}
