//! What goes wrong most often, and whether the message names the cause: the wrong key, address, bundle, file.

use std::fs;
use std::time::Duration;

use sublet_client::ports::Ports;

use crate::pki::Authority;
use crate::stage::{Run, Stage};
use crate::transport::{broker, by_tls};
use crate::walk::{CALL, enroll, issue, run};

/// It failed with this code, and says all of this.
#[track_caller]
fn detail(run: Run, code: i32, words: &[&str]) {
    for word in words {
        assert!(run.err.contains(word), "no {word:?} in {run:?}");
    }
    run.fails(code, "");
}

#[test]
fn a_wrong_key_is_called_one() {
    let (stage, other) = (Stage::set(), Stage::set());
    let admin = other.admin_key.display().to_string();
    let status = |more: &[&str]| stage.sublet(&[&["status"], more].concat());
    detail(status(&["--admin-key", &admin]), 2, &["admin key", "admin.pub", "[not_admin]"]);
    // Public for private, and private for public.
    stage.sublet(&["key", "create", "--out", "scout"]).ok();
    detail(
        status(&["--admin-key", "scout/key.pub"]),
        1,
        &["scout/key.pub", "a public key", "key.pem"],
    );
    enroll(&stage, "planner");
    issue(&stage);
    let spawn = |key: &str| {
        let words = ["delegate", "--as", "planner", "--token", "root.token", "--helper", "scout"];
        let more = ["--to-key", key, "--allow", "fs.read@tool://files path=under:/data/q3"];
        stage.sublet(&[&words[..], &more, &["--out", "no.token"]].concat())
    };
    detail(spawn("scout/key.pem"), 3, &["scout/key.pem", "a private key", "key.pub"]);
    assert!(!spawn("scout/key.pem").err.contains("BEGIN"), "it is not shown");
    fs::write(stage.path("noise"), "noise").unwrap();
    detail(spawn("noise"), 3, &["noise", "no public key"]);
}

#[test]
fn another_brokers_trust_bundle_is_called_one() {
    let (stage, twin) = (Stage::set(), Stage::set());
    enroll(&stage, "planner");
    issue(&stage);
    let named = Stage::configured("", &[]);
    let (twins, names) = (twin.trust.display().to_string(), named.trust.display().to_string());
    // Of another domain: the broker hears a proof that is for another.
    detail(
        stage.sublet(&["status", "--trust", &names]),
        2,
        &["trust bundle of another trust domain", "[wrong_audience]"],
    );
    // Of the same domain, with other keys.
    let inspected = stage.sublet(&["inspect", "root.token", "--trust", &twins]).ok();
    assert!(inspected.contains("of two brokers"), "{inspected}");
    let other = stage.sublet(&["inspect", "root.token", "--trust", &names]).ok();
    assert!(other.contains("the trust bundle is of acme.example"), "{other}");
    let join = stage.sublet(&["agent", "create", "agent/reader"]).ok();
    fs::write(stage.path("join"), join).unwrap();
    let enroll = ["agent", "enroll", "--join-token", "join", "--out", "no", "--trust", &twins];
    detail(stage.sublet(&enroll), 1, &["bundle", "another broker's"]);
    detail(stage.sublet(&["trust", "update", "--trust", &twins]), 3, &["another broker's"]);
    let head = stage.sublet(&["audit", "checkpoint", "--trust", &twins]);
    detail(head, 1, &["the trust bundle is another broker's"]);
}

#[test]
fn an_agent_that_has_not_enrolled_has_no_key_to_delegate_to() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    stage.sublet(&["agent", "create", "agent/late"]).ok();
    let to = ["--token", "root.token", "--to", "agent/late", "--allow", crate::records::SCOPE[0]];
    let delegate = [&["delegate", "--as", "planner"], &to[..], &["--out", "late.token"]].concat();
    detail(stage.sublet(&delegate), 1, &["agent/late", "[agent_without_key]"]);
}

#[test]
fn random_bytes_are_called_no_bundle() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    let noise: Vec<u8> = (0..2_000u32).map(|n| (n * n % 251) as u8).collect();
    fs::write(stage.path("noise"), noise).unwrap();
    detail(
        stage.sublet(&["inspect", "root.token", "--trust", "noise"]),
        1,
        &["noise", "not acceptable"],
    );
    let verify = stage.sublet(&["audit", "verify", "noise"]);
    detail(verify, 40, &["noise", "not an evidence bundle", "[ledger_invalid]"]);
    let replay = stage.sublet(&["audit", "replay", "--all", "--bundle", "noise"]);
    detail(replay, 1, &["noise", "not an evidence bundle"]);
}

#[test]
fn anothers_token_with_ones_own_key_is_called_that() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    enroll(&stage, "reader");
    issue(&stage);
    let call = ["prove", "call", "--as", "reader", "--token", "root.token", "--out", "no.proof"];
    let planner = "spiffe://dev.sublet.example/agent/planner";
    detail(run(&stage, &call, &CALL), 2, &[&format!("held by {planner}"), "[not_the_holder]"]);
    fs::copy(stage.path("planner/identity.token"), stage.path("reader/identity.token")).unwrap();
    let renew = stage.sublet(&["agent", "renew", "--as", "reader"]);
    detail(
        renew,
        1,
        &["reader", "no private key", "the token is for another agent", "[no_such_key]"],
    );
}

#[test]
fn the_wrong_scheme_and_a_certificate_that_is_missing_are_named() {
    let authority = Authority::new();
    let mut stage = broker(&authority, "", &[("other.pem", &Authority::new().pem)]);
    let plain = stage.endpoint.replace("https", "http");
    detail(stage.sublet(&["status", "--broker", &plain]), 1, &["https://", "[unreachable]"]);
    detail(stage.sublet(&["status", "--ca", "other.pem"]), 1, &["certificate", "--ca"]);
    let open = Stage::set();
    let tls = open.endpoint.replace("http", "https");
    detail(open.sublet(&["status", "--broker", &tls]), 1, &["does not speak TLS", "http://"]);
    stage.kill();
    let config = fs::read_to_string(stage.path("sublet.toml")).unwrap();
    let issuer = "[[issuer]]\nname = \"spiffe://prod.example\"\nx509_bundle = \"ca.pem\"\n";
    let config =
        config.replace("[tls]", &format!("{issuer}[tls]\nclient_certificates = \"required\""));
    fs::write(stage.path("sublet.toml"), config).unwrap();
    stage.start_configured("sublet.toml", "own", "admin/key.pem");
    detail(
        by_tls(&stage, &["status"]),
        1,
        &["requires a client certificate", "--client-certificate"],
    );
    // One that it does not believe.
    let leaf = Authority::new().old_svid("spiffe://prod.example/ns/shop/sa/web");
    fs::write(stage.path("web.pem"), &leaf.certificate).unwrap();
    fs::write(stage.path("web-key.pem"), &leaf.key).unwrap();
    let shown = ["--client-certificate", "web.pem", "--client-key", "web-key.pem"];
    let refused = by_tls(&stage, &[&["status"], &shown[..]].concat());
    detail(refused, 1, &["refuses the client certificate"]);
}

/// A time in a message is one that people read: RFC 3339, and no number of seconds.
// SPEC 8.6.
#[test]
fn the_end_of_a_token_is_a_date() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    let issue = ["issue", "--as", "planner", "--on-behalf-of", "user:alice", "--out", "root.token"];
    let allow = ["--allow", "fs.read@tool://files path=under:/data", "--ttl", "2s"];
    let made = stage.sublet(&[&issue[..], &allow, &["--output", "json"]].concat()).json();
    let until = made["expires"].as_str().unwrap();
    let form: String = until.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00Z");
    let clock = Ports::system().clock;
    let longer = ["delegate", "--as", "planner", "--token", "root.token", "--to", "agent/planner"];
    let more = ["--allow", "fs.read@tool://files path=under:/data", "--ttl", "1h", "--out", "no"];
    let refused = stage.sublet(&[&longer[..], &more].concat());
    detail(refused, 2, &["[outlives_parent]", &format!("which ends at {until}")]);
    let began = clock.monotonic_ms();
    while clock.monotonic_ms() - began < 2_500 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let record = stage.sublet(&["record", "--as", "planner", "--token", "root.token"]);
    detail(record, 2, &["[expired]", &format!("expired at {until}")]);
}
