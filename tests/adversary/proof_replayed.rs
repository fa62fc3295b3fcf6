//! A call proof that was used before, shown again.

use sublet_tests::{Fleet, NOW, Request, Tool, code, key};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

fn request(fleet: &Fleet) -> Request {
    Request::new(&fleet.root("planner", READ), &key("planner"), "fs.read", ARGS)
}

// SPEC 5.3.
#[test]
fn it_counts_once_for_as_long_as_it_could_be_valid() {
    let fleet = Fleet::new();
    let (mut tool, request) = (Tool::new(&fleet), request(&fleet));
    assert_eq!(code(tool.answer(&request)), "granted");
    for ms in [0, 1, 29_999, 30_000] {
        let now = NOW.plus_ms(ms);
        tool.follow(now);
        assert_eq!(code(tool.answer_at(now, &request)), "proof_replayed", "after {ms} ms");
    }
    tool.follow(NOW.plus_ms(30_001));
    assert_eq!(code(tool.answer_at(NOW.plus_ms(30_001), &request)), "proof_expired");
}

// SPEC 5.3.2.
#[test]
fn a_tool_that_restarted_refuses_proofs_from_before() {
    let fleet = Fleet::new();
    let restarted = Tool::restarted(&fleet, NOW.plus_ms(1));
    assert_eq!(code(restarted.answer_at(NOW.plus_ms(1), &request(&fleet))), "proof_before_start");
}

// SPEC 5.3.3.
#[test]
fn a_second_replica_of_another_audience_refuses_it() {
    let fleet = Fleet::new();
    let mut replica = Tool::new(&fleet);
    replica.audience = "tool://files-2".to_owned();
    assert_eq!(code(replica.answer(&request(&fleet))), "wrong_audience");
}

#[test]
fn a_refused_call_spends_no_proof() {
    let fleet = Fleet::new();
    let tool = Tool::new(&fleet);
    let good = request(&fleet);
    let stale = NOW.plus_ms(10_001);
    assert_eq!(code(tool.answer_at(stale, &good)), "stale_view");
    assert_eq!(code(tool.answer(&good)), "granted");
}

// SPEC 5.3.1.
#[test]
fn a_holder_that_floods_is_refused_before_it_is_forgotten() {
    let fleet = Fleet::new();
    let tool = Tool::with_quota(&fleet, 2);
    let token = fleet.root("planner", READ);
    let call = |ms| Request::at(NOW.plus_ms(ms), &token, &key("planner"), "fs.read", ARGS);
    assert_eq!(code(tool.answer(&call(0))), "granted");
    assert_eq!(code(tool.answer(&call(1))), "granted");
    assert_eq!(code(tool.answer(&call(2))), "proof_quota_exceeded");
    assert_eq!(code(tool.answer(&call(0))), "proof_replayed");
}
