//! The revocation feed frozen, forked, rolled back, its deltas swapped: the tool notices, and what
//! it holds stays in force.

use sublet_core::base::id::UnixMillis;
use sublet_core::revocation::feed::{BadFeed, Delta, FeedWriter, Revocation, SignedHead};
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::KeyUse;
use sublet_tests::{Fleet, NOW, Request, Tool, code, key, key_id};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

/// A tool that knows that this token's hop was revoked.
fn informed(fleet: &Fleet) -> (Tool, VerifiedToken) {
    let token = fleet.root("planner", READ);
    let mut tool = Tool::new(fleet);
    tool.revoke(Revocation::Hop(token.id()));
    (tool, token)
}

fn call_at(now: UnixMillis, tool: &Tool, token: &VerifiedToken) -> &'static str {
    code(tool.answer_at(now, &Request::at(now, token, &key("planner"), "fs.read", ARGS)))
}

/// Another history from the same broker key.
fn other_feed(epoch: u64, revoked: &[&VerifiedToken]) -> FeedWriter {
    let mut feed = FeedWriter::new("acme.example".parse().unwrap(), epoch);
    for token in revoked {
        feed.append(Revocation::Hop(token.id()), NOW, NOW.plus_ms(86_400_000));
    }
    feed
}

fn head_of(feed: &FeedWriter, time: UnixMillis) -> Vec<u8> {
    let signer = Fleet::signer(KeyUse::Feed);
    SignedHead::sign(feed.head(time), key_id(KeyUse::Feed), &signer).unwrap().encode()
}

fn offer(tool: &mut Tool, deltas: &[Vec<u8>], head: &[u8]) -> &'static str {
    let applied = deltas.iter().try_for_each(|delta| tool.view.apply_delta(delta));
    let bundle = tool.bundle.clone();
    let offered = applied.and_then(|()| tool.view.apply_head(head, &bundle, NOW, 0));
    offered.map_or_else(|bad: BadFeed| bad.code(), |()| "granted")
}

fn deltas(feed: &FeedWriter, epoch: u64, after: u64) -> Vec<Vec<u8>> {
    feed.deltas_after(epoch, after).map(|(_, bytes)| bytes.to_vec()).collect()
}

// SPEC 7.7, 7.7.1.
#[test]
fn frozen_it_goes_stale_on_either_clock() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let mut tool = Tool::new(&fleet);
    assert_eq!(call_at(NOW.plus_ms(10_000), &tool, &token), "granted");
    assert_eq!(call_at(NOW.plus_ms(10_001), &tool, &token), "stale_view");
    // The same head played again makes nothing younger.
    let head = tool.head(NOW);
    let again = tool.view.apply_head(&head, &fleet.bundle, NOW.plus_ms(10_001), 10_001);
    assert_eq!(again, Ok(()));
    assert_eq!(call_at(NOW.plus_ms(10_001), &tool, &token), "stale_view");
    // Nor does a clock set back.
    tool.monotonic_ms = 10_001;
    assert_eq!(call_at(NOW, &tool, &token), "stale_view");
}

// SPEC 7.7.1.
#[test]
fn a_tool_that_never_heard_of_it_decides_nothing() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let mut tool = Tool::new(&fleet);
    tool.view =
        sublet_core::revocation::feed::RevocationView::new(fleet.bundle.trust_domain().clone());
    assert_eq!(call_at(NOW, &tool, &token), "stale_view");
}

// SPEC 7.6.1.
#[test]
fn rolled_back_or_forked_it_is_refused_and_what_is_held_stays() {
    let fleet = Fleet::new();
    let (mut tool, token) = informed(&fleet);
    let innocent = fleet.root("writer", READ);
    let fork = other_feed(1, &[&innocent]);
    let empty = other_feed(1, &[]);
    let earlier_epoch = other_feed(0, &[&innocent, &token]);
    let cases = [
        ("an empty list", head_of(&empty, NOW.plus_ms(1)), "feed_rolled_back"),
        ("an earlier epoch", head_of(&earlier_epoch, NOW.plus_ms(1)), "feed_rolled_back"),
        ("an earlier time", head_of(&tool.feed, NOW.plus_ms(-1)), "feed_rolled_back"),
        ("a second head at one number", head_of(&fork, NOW.plus_ms(1)), "feed_forked"),
    ];
    for (what, head, refusal) in cases {
        assert_eq!(offer(&mut tool, &[], &head), refusal, "{what}");
        assert_eq!(call_at(NOW, &tool, &token), "hop_revoked", "{what}");
    }
}

// SPEC 7.6.
#[test]
fn deltas_withheld_swapped_or_altered_are_refused_and_what_is_held_stays() {
    let fleet = Fleet::new();
    let innocent = |name: &str| Revocation::Hop(fleet.root(name, READ).id());
    let (tool, token) = informed(&fleet);
    let mut feed = tool.feed.clone();
    for name in ["a", "b"] {
        feed.append(innocent(name), NOW, NOW.plus_ms(86_400_000));
    }
    let (head, new) = (head_of(&feed, NOW), deltas(&feed, 1, 1));
    let altered = Delta { revocation: innocent("c"), ..Delta::decode(&new[1]).unwrap() }.encode();
    let cases: [(&str, Vec<Vec<u8>>); 5] = [
        ("none", vec![]),
        ("the last withheld", vec![new[0].clone()]),
        ("the first withheld", vec![new[1].clone()]),
        ("swapped", vec![new[1].clone(), new[0].clone()]),
        ("altered", vec![new[0].clone(), altered]),
    ];
    for (what, sent) in cases {
        let view = tool.view.clone();
        let mut tool = Tool::new(&fleet);
        tool.view = view;
        let refused = offer(&mut tool, &sent, &head);
        let known = ["feed_gap", "feed_incomplete", "feed_forked"];
        assert!(known.contains(&refused), "{what}: {refused}");
        assert_eq!(call_at(NOW, &tool, &token), "hop_revoked", "{what}");
        assert_eq!(offer(&mut tool, &new, &head), "granted", "the honest answer is taken after");
    }
}

/// A delta with the number of the last one held is bound by no head that comes after.
// SPEC 7.6.
#[test]
fn a_delta_in_the_place_of_one_that_is_held_is_not_counted() {
    let fleet = Fleet::new();
    let (mut tool, token) = informed(&fleet);
    let innocent = fleet.root("writer", READ);
    let mut feed = tool.feed.clone();
    feed.append(Revocation::Hop(fleet.root("a", READ).id()), NOW, NOW.plus_ms(86_400_000));
    let sent = [deltas(&other_feed(1, &[&innocent]), 1, 0), deltas(&feed, 1, 1)].concat();
    assert_eq!(offer(&mut tool, &sent, &head_of(&feed, NOW)), "granted");
    assert_eq!(call_at(NOW, &tool, &token), "hop_revoked");
    assert!(!tool.view.is_revoked(&Revocation::Hop(innocent.id())));
    assert_eq!((tool.view.sequence(), tool.view.len()), (2, 2));
}

// SPEC 7.5, 7.6.1.
#[test]
fn only_the_feed_key_of_this_domain_signs_heads() {
    let fleet = Fleet::new();
    let (mut tool, token) = informed(&fleet);
    let head = |use_, signer: &sublet_core::base::sign::SecretKey| {
        let head = tool.feed.head(NOW.plus_ms(1));
        SignedHead::sign(head, key_id(use_), signer).unwrap().encode()
    };
    let by_thief = head(KeyUse::Feed, &key("thief"));
    let by_bundle_key = head(KeyUse::Bundle, &Fleet::signer(KeyUse::Bundle));
    let foreign = FeedWriter::new("evil.example".parse().unwrap(), 9);
    let foreign = head_of(&foreign, NOW);
    let future = head_of(&tool.feed, NOW.plus_ms(5_001));
    let cases = [
        (by_thief, "feed_signature"),
        (by_bundle_key, "unknown_key"),
        (foreign, "feed_of_another"),
        (future, "feed_from_future"),
        (vec![1, 2, 3], "feed_layout"),
    ];
    for (head, refusal) in cases {
        assert_eq!(offer(&mut tool, &[], &head), refusal);
        assert_eq!(call_at(NOW, &tool, &token), "hop_revoked");
    }
}

#[test]
fn a_new_epoch_forgets_nothing_that_was_revoked() {
    let fleet = Fleet::new();
    let (mut tool, token) = informed(&fleet);
    let innocent = fleet.root("writer", READ);
    let restarted = other_feed(2, &[&innocent]);
    let sent = deltas(&restarted, 0, 0);
    assert_eq!(offer(&mut tool, &sent, &head_of(&restarted, NOW)), "granted");
    assert_eq!(call_at(NOW, &tool, &token), "hop_revoked");
}
