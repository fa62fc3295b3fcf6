//! The evidence bundle: on a machine that has the file and the trusted keys, and nothing else.

use std::fs;
use std::path::Path;

use crate::stage::{Run, Stage, sublet_in};
use crate::walk::{enrol, issue};

fn verify(home: &Path, bundle: &str, trust: &str, more: &[&str]) -> Run {
    sublet_in(home, &[&["audit", "verify", bundle, "--trust", trust], more].concat())
}

#[test]
fn what_the_demo_leaves_verifies_and_no_changed_byte_of_it_does() {
    let home = tempfile::tempdir().unwrap();
    sublet_in(home.path(), &["demo", "--keep", "kept"]).ok();
    let (bundle, trust) = ("kept/evidence.sublet", "kept/trust.json");
    let found = verify(home.path(), bundle, trust, &["--output", "json"]).json();
    assert_eq!(found["uses"]["diverged"], 0);
    assert_eq!(found["uses"]["not_shown"], 0);
    assert!(found["uses"]["reproduced"].as_u64().unwrap() > 5, "{found:#}");
    assert!(found["delegations"].as_u64().unwrap() >= 1);
    let bytes = fs::read(home.path().join(bundle)).unwrap();
    for number in 0..60 {
        let mut changed = bytes.clone();
        let at = number * (bytes.len() - 1) / 59;
        changed[at] ^= 1;
        fs::write(home.path().join("changed"), &changed).unwrap();
        let run = verify(home.path(), "changed", trust, &[]);
        assert!(run.code == 40 || run.code == 20, "byte {at}: {run:?}");
    }
    for cut in [0, 100, 512, bytes.len() / 2, bytes.len() - 1] {
        fs::write(home.path().join("cut"), &bytes[..cut]).unwrap();
        let run = verify(home.path(), "cut", trust, &[]);
        assert!(run.code == 40 || run.code == 20, "cut at {cut}: {run:?}");
    }
    verify(home.path(), "nowhere", trust, &[]).fails(1, "nowhere");
    // What was derived is there for people, without anything to fetch.
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        if name.starts_with("derived/") {
            std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
            assert!(!text.contains("http://") && !text.contains("<script"), "{name}");
        }
        names.push(name);
    }
    assert_eq!(names[0], "manifest.json");
    for name in
        ["checkpoint", "trust.json", "payloads/0", "derived/report.html", "derived/report.md"]
    {
        assert!(names.iter().any(|there| there == name), "{name} in {names:?}");
    }
}

#[test]
fn a_bundle_is_believed_under_trusted_keys_alone_and_beside_heads_that_were_kept() {
    let stage = Stage::set();
    enrol(&stage, "planner");
    issue(&stage);
    fs::write(stage.path("kept"), stage.sublet(&["audit", "checkpoint"]).ok()).unwrap();
    stage.sublet(&["audit", "export", "--out", "one.sublet"]).ok();
    let trust = stage.trust.display().to_string();
    let home = stage.home.path();
    verify(home, "one.sublet", &trust, &["--checkpoint", "kept"]).ok();
    // The keys that come with it are not the ones that count.
    let other = Stage::set();
    let foreign = other.trust.display().to_string();
    verify(home, "one.sublet", &foreign, &[]).fails(40, "[ledger_invalid]");
    // A head of the same ledger with another past.
    fs::write(stage.path("foreign"), other.sublet(&["audit", "checkpoint"]).ok()).unwrap();
    verify(home, "one.sublet", &trust, &["--checkpoint", "foreign"]).fails(1, "foreign");
    // A later head than the bundle has.
    stage.sublet(&["agent", "create", "agent/later"]).ok();
    fs::write(stage.path("later"), stage.sublet(&["audit", "checkpoint"]).ok()).unwrap();
    verify(home, "one.sublet", &trust, &["--checkpoint", "later"]).fails(30, "[ledger_forked]");
    // The export is in the ledger itself.
    stage.sublet(&["audit", "export", "--out", "two.sublet"]).ok();
    let two = verify(home, "two.sublet", &trust, &["--output", "json"]).json();
    assert!(two["records"].as_u64().unwrap() > 10);
}
