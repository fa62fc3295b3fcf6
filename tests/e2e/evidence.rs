//! The evidence bundle: on a machine that has the file and the trusted keys, and nothing else.

use std::fs;
use std::path::Path;

use crate::stage::{Run, Stage, sublet_in};
use crate::walk::{enroll, issue};

fn verify(home: &Path, bundle: &str, trust: &str, more: &[&str]) -> Run {
    sublet_in(home, &[&["audit", "verify", bundle, "--trust", trust], more].concat())
}

#[test]
fn what_the_demo_leaves_verifies_and_no_changed_byte_of_it_does() {
    let home = tempfile::tempdir().unwrap();
    sublet_in(home.path(), &["demo", "--patience", "5", "--keep", "kept"]).ok();
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
        if name == "derived/events.jsonl" {
            text.lines().for_each(attested);
            assert!(text.lines().count() > 5);
        }
        names.push(name);
    }
    assert_eq!(names[0], "manifest.json");
    for name in [
        "checkpoint",
        "trust.json",
        "payloads/0",
        "derived/report.html",
        "derived/report.md",
        "derived/uses.csv",
    ] {
        assert!(names.iter().any(|there| there == name), "{name} in {names:?}");
    }
}

/// What OCSF 1.9 demands of API Activity and its two profiles, and the fingerprint over all of it.
fn attested(line: &str) {
    let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
    for path in [
        "/metadata/version",
        "/actor/user/name",
        "/api/operation",
        "/src_endpoint/uid",
        "/ai_agent/uid",
        "/delegation/uid",
        "/delegation/issuer_uid",
        "/attestation/chain_uid",
    ] {
        assert!(event.pointer(path).is_some_and(|value| value.is_string()), "{path}: {line}");
    }
    assert_eq!(event["type_uid"], 600_399);
    let attestation = event["attestation"].as_object_mut().unwrap();
    let found = attestation.remove("fingerprint").unwrap()["value"].as_str().unwrap().to_owned();
    let canonical = sublet_core::base::json::Json::parse(event.to_string().as_bytes()).unwrap();
    let digest = sublet_core::base::bytes::sha256(&canonical.canonical());
    assert_eq!(digest.map(|byte| format!("{byte:02x}")).concat(), found);
}

#[test]
fn a_bundle_is_believed_under_trusted_keys_alone_and_beside_heads_that_were_kept() {
    let stage = Stage::set();
    enroll(&stage, "planner");
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
    verify(home, "one.sublet", &trust, &["--checkpoint", "later"])
        .fails(20, "and a checkpoint over");
    // The export is in the ledger itself.
    stage.sublet(&["audit", "export", "--out", "two.sublet"]).ok();
    let two = verify(home, "two.sublet", &trust, &["--output", "json"]).json();
    assert!(two["records"].as_u64().unwrap() > 10);
}

#[test]
fn what_is_erased_is_gone_everywhere_and_every_proof_still_holds() {
    let mut stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    let said = "who-would-want-this-forgotten";
    stage
        .sublet(&["revoke", "principal", "user:bob", "--reason", said, "--yes", "--unknown-too"])
        .ok();
    fs::write(stage.path("kept"), stage.sublet(&["audit", "checkpoint"]).ok()).unwrap();
    let trust = stage.trust.display().to_string();
    stage.sublet(&["audit", "export", "--out", "before.sublet"]).ok();
    let holds = |bundle: &str, text: &str| {
        let bytes = fs::read(stage.home.path().join(bundle)).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    assert!(holds("before.sublet", said) && holds("before.sublet", "user:bob"));
    let revoked = stage.sublet(&["audit", "replay", "--all", "--output", "json"]).json();
    let record = revoked["revocations"][0]["record"].to_string();
    stage.sublet(&["audit", "erase", "999999", "--reason", "x", "--yes"]).fails(3, "[bad_field]");
    stage.sublet(&["audit", "erase", &record, "--reason", "asked to", "--yes"]).ok();
    stage.sublet(&["audit", "export", "--out", "after.sublet"]).ok();
    assert!(!holds("after.sublet", said) && !holds("after.sublet", "user:bob"));
    // Whole as a ledger, and it says that something is not disclosed.
    let run = verify(
        stage.home.path(),
        "after.sublet",
        &trust,
        &["--checkpoint", "kept", "--output", "json"],
    );
    assert_eq!(run.code, 20, "{run:?}");
    let found: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(found["not_disclosed"].to_string(), format!("[{record}]"));
    assert_eq!(found["problems"].as_array().unwrap().len(), 0);
    // And it stays so over a restart, which still knows what was revoked.
    stage.kill_and_restart();
    stage.sublet(&["audit", "mirror", "copy"]).ok();
    let copy = stage.path("copy").display().to_string();
    verify(stage.home.path(), &copy, &trust, &["--checkpoint", "kept"]).ok();
    let args = ["issue", "--as", "planner", "--on-behalf-of", "user:bob", "--allow"];
    let args =
        [&args[..], &["fs.read@tool://files path=under:/data", "--out", "bob.token"]].concat();
    stage.sublet(&args).fails(2, "[principal_revoked]");
}

#[test]
fn a_decision_of_the_command_line_is_reported_and_a_bundle_is_replayed_offline() {
    let mut stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "tool");
    issue(&stage);
    let call = ["prove", "call", "--as", "planner", "--token", "root.token", "--out", "proof"];
    crate::walk::run(&stage, &call, &crate::walk::CALL).ok();
    let verify_call = ["authorize", "--as", "tool", "--token", "root.token", "--proof", "proof"];
    let said = crate::walk::run(&stage, &verify_call, &crate::walk::CALL);
    assert!(!said.err.contains("sent next time"), "{said:?}");
    said.ok();
    let silent = [&verify_call[..], &["--no-report"]].concat();
    crate::walk::run(&stage, &silent, &crate::walk::CALL).ok();
    let table = stage.sublet(&["audit", "replay", "--all", "--table"]).ok();
    assert!(table.starts_with("RECORD") && table.contains("reproduced"), "{table}");
    stage.sublet(&["audit", "export", "--out", "all.sublet"]).ok();
    stage.kill();
    let trust = stage.trust.display().to_string();
    let args = ["audit", "replay", "--bundle", "all.sublet", "--trust", &trust, "--output", "json"];
    let told = sublet_in(stage.home.path(), &args).json();
    let uses = told["uses"].as_array().unwrap();
    assert_eq!(uses.len(), 1, "{told:#}");
    assert_eq!(uses[0]["decided_again"], "reproduced");
    assert_eq!(uses[0]["reported_by"], "spiffe://dev.sublet.example/agent/tool");
    let none = ["audit", "replay", "--bundle", "none", "--trust", &trust];
    sublet_in(stage.home.path(), &none).fails(1, "none");
}
