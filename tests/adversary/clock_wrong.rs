//! A clock that is ahead, behind, or set back: the holder's, the tool's, the broker's.

use sublet_tests::{Fleet, NOW, Request, Tool, code, key};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

// SPEC 5.2.
#[test]
fn a_holder_is_given_the_window_behind_and_the_skew_ahead() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let dated = |ms: i64| {
        let request = Request::at(NOW.plus_ms(ms), &token, &key("planner"), "fs.read", ARGS);
        code(Tool::new(&fleet).answer(&request))
    };
    assert_eq!(dated(-30_000), "granted");
    assert_eq!(dated(-30_001), "proof_expired");
    assert_eq!(dated(5_000), "granted");
    assert_eq!(dated(5_001), "proof_from_future");
    assert_eq!(dated(i64::MAX - NOW.0), "proof_from_future");
}

#[test]
fn a_tokens_window_has_no_leeway() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let at = |ms: i64| {
        let now = NOW.plus_ms(ms);
        let mut tool = Tool::new(&fleet);
        if ms > 0 {
            tool.follow(now);
        }
        let request = Request::at(now, &token, &key("planner"), "fs.read", ARGS);
        code(tool.answer_at(now, &request))
    };
    assert_eq!(at(3_599_999), "granted");
    assert_eq!(at(3_600_000), "expired");
    assert_eq!(at(-10_000), "granted");
    assert_eq!(at(-10_001), "not_yet_valid");
}

// SPEC 5.3.2.
#[test]
fn a_clock_set_back_revives_no_proof() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let mut tool = Tool::new(&fleet);
    let first = Request::at(NOW, &token, &key("planner"), "fs.read", ARGS);
    assert_eq!(code(tool.answer(&first)), "granted");
    let later = NOW.plus_ms(60_000);
    tool.follow(later);
    let second = Request::at(later, &token, &key("planner"), "fs.read", ARGS);
    assert_eq!(code(tool.answer_at(later, &second)), "granted");
    // Back at NOW the first proof is in its window again, and was forgotten.
    assert_eq!(code(tool.answer_at(NOW, &first)), "proof_before_start");
}

// SPEC 7.7.
#[test]
fn a_broker_ahead_of_the_tool_makes_no_view_younger() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let mut tool = Tool::new(&fleet);
    let ahead = tool.head(NOW.plus_ms(5_000));
    tool.view.apply_head(&ahead, &fleet.bundle, NOW, 0).unwrap();
    // Held for 10 s on the monotonic clock it is 10 s old, whatever its date says.
    tool.monotonic_ms = 10_001;
    let now = NOW.plus_ms(10_001);
    let request = Request::at(now, &token, &key("planner"), "fs.read", ARGS);
    assert_eq!(code(tool.answer_at(now, &request)), "stale_view");
}
