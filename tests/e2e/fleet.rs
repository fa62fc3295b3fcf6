//! A fleet as a file declares it, who may do what in it, and the broker's numbers.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::stage::Stage;

const FLEET: &str = r#"
[[profile]]
name = "readers"
principals = ["user:alice@acme.example"]
ttl_seconds_max = 600
hops_max = 2
offline_hops_max = 0
allow = ["fs.read@tool://files path=under:/data"]

[[agent]]
id = "agent/reader"
profile = "readers"
"#;

#[test]
fn a_fleet_becomes_what_its_file_declares_and_again_changes_nothing() {
    let stage = Stage::configured("", &[("fleet.toml", FLEET)]);
    let differs = stage.sublet(&["diff", "fleet.toml"]).ok();
    assert!(differs.contains("+ profile readers"), "{differs}");
    assert!(differs.contains("+ agent spiffe://acme.example/agent/reader (readers)"), "{differs}");
    // Secrets are not printed, and nothing is made before it is known where they go.
    stage.sublet(&["apply", "fleet.toml"]).fails(64, "--out DIR");
    assert_eq!(stage.sublet(&["diff", "fleet.toml"]).ok(), differs);
    let applied = stage.sublet(&["apply", "fleet.toml", "--out", "joins"]).ok();
    assert!(!applied.contains("sublet-join1."), "{applied}");
    let join = "joins/agent/reader.join";
    assert!(applied.contains(join) && is_private(&stage.path(join)), "{applied}");
    stage.sublet(&["agent", "enroll", "--join-token", join, "--out", "reader"]).ok();
    assert_eq!(stage.sublet(&["diff", "fleet.toml"]).ok(), "");
    assert_eq!(stage.sublet(&["apply", "fleet.toml"]).ok(), "");
    let wider = FLEET.replace("under:/data", "under:/").replace("= 600", "= 60");
    fs::write(stage.path("wider.toml"), wider).unwrap();
    let differs = stage.sublet(&["diff", "wider.toml"]).ok();
    for line in [
        "~ profile readers",
        "- allow fs.read@tool://files path=under:/data",
        "+ allow fs.read@tool://files path=under:/",
        "- limits lifetime 600 s",
        "+ limits lifetime 60 s",
    ] {
        assert!(differs.contains(line), "{line}: {differs}");
    }
    stage.sublet(&["apply", "wider.toml"]).ok();
    let who = stage.sublet(&["who-can", "fs.read", "tool://files"]).ok();
    assert!(who.contains("agent/reader") && who.contains("path=under:/"), "{who}");
    let who = stage.sublet(&["who-can", "fs.write", "tool://files"]).ok();
    assert!(!who.contains("agent/reader"), "{who}");
    let other = FLEET.replace("profile = \"readers\"", "profile = \"others\"");
    fs::write(stage.path("other.toml"), other).unwrap();
    let refused = stage.sublet(&["apply", "other.toml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.out.contains("CONFLICT") && refused.out.contains("cannot change"),
        "{refused:?}"
    );
    for (wrong, detail) in [
        ("[[agent]]\nid = \"agent/a\"\n[[agent]]\nid = \"agent/a\"\n", "is declared twice"),
        ("[[agents]]\nid = \"agent/a\"\n", "unknown field"),
        ("[[agent]]\nid = \"agent//a\"\n", "agent//a"),
    ] {
        fs::write(stage.path("wrong.toml"), wrong).unwrap();
        stage.sublet(&["apply", "wrong.toml"]).fails(3, detail);
    }
}

/// Whether a file is for its owner alone.
pub(crate) fn is_private(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777 == 0o600
}

#[test]
fn a_file_that_is_wider_than_it_has_to_be_is_told_so_offline() {
    let stage = Stage::configured("", &[("fleet.toml", FLEET)]);
    assert_eq!(stage.sublet(&["lint", "fleet.toml"]).ok(), "");
    let allow = "\"fs.read@tool://files path=under:/data\"";
    let wide = FLEET
        .replace("user:alice@", "user:*@")
        .replace(allow, &format!("\"fs.@tool:// *=any\", {allow}"))
        .replace("= 600", "= 604800")
        .replace("profile = \"readers\"\n", "");
    fs::write(stage.path("wide.toml"), wide).unwrap();
    let told = stage.sublet(&["lint", "wide.toml"]);
    assert_eq!(told.code, 2, "{told:?}");
    for detail in [
        "permits any argument",
        "every tool of this URI scheme",
        "is already covered by",
        "act for every user",
        "more than a day",
        "no agent has this profile",
        "is not in this file",
    ] {
        assert!(told.out.contains(detail), "{detail}: {}", told.out);
    }
}

#[test]
fn the_brokers_numbers_name_nobody() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stage = Stage::configured(&format!("metrics = \"{socket}\"\n"), &[("fleet.toml", FLEET)]);
    stage.sublet(&["apply", "fleet.toml", "--out", "joins"]).ok();
    stage.sublet(&["agent", "show", "agent/nobody"]).fails(2, "[unknown_agent]");
    let mut stream = TcpStream::connect(socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    for line in [
        "sublet_calls_total{method=\"Admin/CreateAgent\",outcome=\"ok\"} 1",
        "sublet_calls_total{method=\"Admin/GetAgent\",outcome=\"deny\"} 1",
        "sublet_agents 1",
        "sublet_key_seconds_left{use=\"delegation\"}",
        "sublet_call_seconds_bucket",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    for name in ["reader", "alice", "nobody", "acme.example"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
}
