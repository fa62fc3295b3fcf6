//! The demo is the main job: every outcome as expected.

use crate::stage::sublet_in;

#[test]
fn the_demo_ends_as_it_should() {
    let home = tempfile::tempdir().unwrap();
    let run = sublet_in(home.path(), &["demo", "--keep", "kept", "--output", "json"]);
    let told = run.json();
    assert_eq!(told["ok"], true, "{told:#}");
    let outcomes = told["outcomes"].as_array().unwrap();
    assert!(outcomes.len() >= 25);
    for outcome in outcomes {
        assert_eq!(outcome["expected"], outcome["actual"], "{outcome}");
        let denied = outcome["actual"] == "denied";
        assert_eq!(
            denied,
            outcome["code"] != "",
            "a refusal, and only a refusal, has a code: {outcome}"
        );
    }
    assert!(home.path().join("kept/broker/trust.json").exists());
    sublet_in(home.path(), &["demo", "--keep", "kept"]).fails(64, "not empty");
}
