//! Deltas of later kinds. SPEC 7.4.2 to 7.4.4.

use std::sync::Arc;

use sublet_client::ports::{Clock, Ports};
use sublet_client::tool::follow::SharedView;
use sublet_client::trust::Trust;
use sublet_core::base::id::UnixMillis;
use sublet_core::revocation::feed::{
    BadFeed, Delta, FeedFloor, FeedWriter, Revocation, RevocationView, snapshot_text,
};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::later::{delta, head};
use sublet_tests::{Fleet, NOW, Request, Tool, code, key};

/// Kinds of SPEC 7.4: 1 a hop, 7 the last that is known.
const HOP: u8 = 1;
const KNOWN: u8 = 7;

fn token() -> VerifiedToken {
    Fleet::new().root("planner", &["fs.read@tool://files"])
}

fn follow(deltas: &[Vec<u8>]) -> (RevocationView, Result<(), BadFeed>) {
    let mut view = RevocationView::new("acme.example".parse().unwrap());
    let applied = deltas.iter().try_for_each(|delta| view.apply_delta(delta));
    let head = head(deltas, NOW);
    let applied = applied.and_then(|()| view.apply_head(&head, &Fleet::new().bundle, NOW, 0));
    (view, applied)
}

fn answer(view: RevocationView) -> &'static str {
    let mut tool = Tool::new(&Fleet::new());
    tool.view = view;
    code(tool.answer(&Request::new(&token(), &key("planner"), "fs.read", "{}")))
}

// SPEC 7.4.2.
#[test]
fn what_may_be_skipped_is_skipped_and_what_is_behind_it_counts() {
    let hop = token().id();
    let deltas = [
        delta(1, 128, b"anything"),
        delta(2, 255, &[0xff; 512]),
        delta(3, HOP, &hop.0),
        delta(4, 200, b""),
    ];
    let (view, applied) = follow(&deltas);
    assert_eq!(applied, Ok(()));
    assert_eq!((view.len(), view.sequence()), (1, 4));
    assert!(view.is_revoked(&Revocation::Hop(hop)));
    assert_eq!(answer(view), "hop_revoked");
    // By itself a skipped delta revokes nothing and lifts nothing.
    let (view, applied) = follow(&deltas[..2]);
    assert_eq!((applied, view.is_empty(), view.sequence()), (Ok(()), true, 2));
    assert_eq!(answer(view), "granted");
}

#[test]
fn a_reader_goes_on_over_skipped_deltas_from_where_it_is() {
    let all = [delta(1, 130, b"a"), delta(2, HOP, &token().id().0), delta(3, 131, b"b")];
    let (mut view, _) = follow(&all[..1]);
    view.apply_delta(&all[1]).unwrap();
    view.apply_delta(&all[2]).unwrap();
    let bundle = Fleet::new().bundle;
    assert_eq!(view.apply_head(&head(&all[..2], NOW), &bundle, NOW, 0), Ok(()));
    assert_eq!((view.sequence(), view.len()), (2, 1), "the last one waits for its head");
    assert_eq!(view.apply_head(&head(&all, NOW.plus_ms(1)), &bundle, NOW, 0), Ok(()));
    assert_eq!((view.sequence(), view.len()), (3, 1));
}

// SPEC 7.4.2.
#[test]
fn what_must_be_understood_stops_the_view() {
    for kind in (0..128).filter(|kind| !(1..=KNOWN).contains(kind)) {
        let (view, applied) = follow(&[delta(1, kind, b"whatever it takes away")]);
        assert_eq!(applied.map_err(|bad| bad.code()), Err("feed_layout"), "kind {kind}");
        // It has no head, so a tool that asks it refuses.
        assert_eq!(answer(view), "stale_view");
    }
    // Nor is it got over by a head that counts it.
    let deltas = [delta(1, 8, b"x"), delta(2, 128, b"y")];
    let mut view = RevocationView::new("acme.example".parse().unwrap());
    assert!(view.apply_delta(&deltas[0]).is_err());
    view.apply_delta(&deltas[1]).unwrap();
    let applied = view.apply_head(&head(&deltas, NOW), &Fleet::new().bundle, NOW, 0);
    assert_eq!(applied, Err(BadFeed::Gap { found: 2, held: 0 }));
}

// SPEC 7.4.2.
#[test]
fn no_revocation_hides_behind_a_kind_that_is_skipped() {
    let bundle = Fleet::new().bundle;
    let honest = [delta(1, 128, b"a"), delta(2, HOP, &token().id().0), delta(3, 129, b"b")];
    let signed = head(&honest, NOW);
    let play = |deltas: &[Vec<u8>]| {
        let mut view = RevocationView::new("acme.example".parse().unwrap());
        let applied = deltas.iter().try_for_each(|delta| view.apply_delta(delta));
        applied.and_then(|()| view.apply_head(&signed, &bundle, NOW, 0)).map_err(|bad| bad.code())
    };
    assert_eq!(play(&honest), Ok(()));
    let mut relabelled = honest.clone();
    relabelled[1] = delta(2, 128, &token().id().0);
    assert_eq!(play(&relabelled), Err("feed_forked"), "a revocation called something else");
    let mut altered = honest.clone();
    altered[0] = delta(1, 128, b"c");
    assert_eq!(play(&altered), Err("feed_forked"), "what is skipped is bound as well");
    assert_eq!(play(&honest[1..]), Err("feed_gap"), "and is not left out");
    assert_eq!(play(&honest[..2]), Err("feed_incomplete"));
    let swapped = [honest[1].clone(), honest[0].clone(), honest[2].clone()];
    assert!(play(&swapped).is_err());
}

#[test]
fn a_skipped_delta_is_bounded() {
    let (_, applied) = follow(&[delta(1, 128, &[7; 513])]);
    assert_eq!(applied.map_err(|bad| bad.code()), Err("feed_layout"));
}

struct Now;

impl Clock for Now {
    fn now(&self) -> UnixMillis {
        NOW
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

/// A tool's view on its disk is the bytes that were sent, so a later version of the tool finds in it what
/// this one skipped.
#[test]
fn a_snapshot_keeps_what_is_skipped() {
    let ports = Ports { clock: Arc::new(Now), ..Ports::system() };
    let trust = Trust::new(Fleet::new().bundle);
    let read = |deltas: &[Vec<u8>]| {
        let text = snapshot_text(deltas.iter().map(Vec::as_slice), &head(deltas, NOW));
        let view = SharedView::from_snapshot(&text, &trust, &ports);
        view.map(|view| {
            let revoked = view.read(&ports, |view, _| view.len());
            (view.position(), revoked)
        })
    };
    let hop = delta(2, HOP, &token().id().0);
    let later = [delta(1, 128, b"a"), hop.clone(), delta(3, 129, b"b")];
    assert_eq!(read(&later).unwrap(), (sublet_core::revocation::feed::FeedPosition::new(1, 3), 1));
    let stops = [delta(1, 127, b"a"), hop];
    assert_eq!(read(&stops).unwrap_err().code(), "feed_layout");
}

/// A broker goes on from deltas that it understands, each, or not at all; so it writes no other.
// SPEC 7.4.4.
#[test]
fn a_writer_has_none_of_them() {
    for kind in [8, 127, 128, 255] {
        assert_eq!(
            Delta::decode(&delta(1, kind, b"a")).map_err(|bad| bad.code()),
            Err("feed_layout")
        );
    }
    let mut writer = FeedWriter::new("acme.example".parse().unwrap(), 1);
    writer.append(Revocation::Hop(token().id()), NOW, NOW.plus_ms(86_400_000));
    let written: Vec<Vec<u8>> =
        writer.deltas_after(0, 0).map(|(_, delta)| delta.to_vec()).collect();
    assert_eq!(written, [delta(1, HOP, &token().id().0)], "as SPEC 7.4 says it");
    let FeedFloor { sequence, .. } = writer.floor();
    assert_eq!(sequence, 0);
}
