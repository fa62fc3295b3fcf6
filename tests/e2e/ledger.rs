//! The ledger as others see it: over HTTP, as a copy, and when somebody has been at it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sublet_client::audit::mirror::Mirror;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_core::base::key_file::KeyLock;
use sublet_ledger::tile::leaves;
use sublet_proto::v1;

use crate::stage::{Stage, sublet_in};
use crate::walk::{enroll, issue};

/// Grows the ledger by two records for each agent.
pub(crate) fn grow(stage: &Stage, agents: std::ops::Range<u32>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
        let key = files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
        let admin = Credential::admin(Arc::new(key), trust.domain());
        let broker = Broker::connect(&stage.endpoint).await.unwrap();
        for number in agents {
            let request = v1::CreateAgentRequest {
                agent_id: format!("spiffe://dev.sublet.example/agent/n{number}"),
                profile: "default".into(),
                join_ttl_seconds: 600,
                idempotency_key: Vec::new(),
            };
            broker.create_agent(&admin, request).await.unwrap();
        }
    });
}

/// One GET: the status line, the headers, the body.
fn get(stage: &Stage, path: &str, bearer: Option<&str>) -> (String, String, Vec<u8>) {
    let host = stage.endpoint.trim_start_matches("http://");
    let mut socket = TcpStream::connect(host).unwrap();
    let bearer = bearer.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{}Connection: close\r\n\r\n",
        bearer.unwrap_or_default()
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.to_owned(), headers.to_owned(), answer[end + 4..].to_vec())
}

fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut files, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push((
                    path.strip_prefix(directory).unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                ));
            }
        }
    }
    files.sort();
    files
}

/// Verifies a copy where no broker is to be found.
pub(crate) fn verify(stage: &Stage, copy: &str, more: &[&str]) -> crate::stage::Run {
    let trust = stage.trust.display().to_string();
    let args = [&["audit", "verify", copy, "--trust", &trust], more].concat();
    sublet_in(stage.home.path(), &args)
}

#[test]
fn a_copy_grows_with_the_ledger_and_verifies_without_the_broker() {
    let mut stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    let first = stage.sublet(&["audit", "mirror", "copy", "--output", "json"]).json();
    let records = first["records"].as_u64().unwrap();
    assert_eq!(first["new"], records);
    let head = stage.sublet(&["audit", "checkpoint", "--as", "planner"]).ok();
    fs::write(stage.path("kept"), head).unwrap();
    grow(&stage, 0..400);
    let second = stage.sublet(&["audit", "mirror", "copy", "--output", "json"]).json();
    assert_eq!(second["records"], second["new"].as_u64().unwrap() + records);
    assert!(second["records"].as_u64().unwrap() > 512);
    let again = stage.sublet(&["audit", "mirror", "copy", "--output", "json"]).json();
    assert_eq!(again["new"], 0, "an export of bare records leaves no record itself");
    stage.kill();
    let verified = verify(&stage, "copy", &["--checkpoint", "kept", "--output", "json"]).json();
    assert_eq!((&verified["records"], &verified["root"]), (&second["records"], &second["root"]));
    // The same from nothing: a copy does not depend on when it was pulled.
    stage.kill_and_restart();
    stage.sublet(&["audit", "mirror", "other"]).ok();
    assert_eq!(tree(&stage.path("copy")), tree(&stage.path("other")));
}

#[test]
fn the_log_is_served_over_http_to_whoever_has_the_token() {
    let stage = Stage::set();
    grow(&stage, 0..200);
    stage.sublet(&["audit", "mirror", "copy"]).ok();
    let bearer = fs::read_to_string(stage.path("broker/ledger.bearer")).unwrap();
    let bearer = bearer.trim_end();
    for (path, bytes) in tree(&stage.path("copy")) {
        let path = format!("/{}", path.display());
        let (status, headers, body) = get(&stage, &path, Some(bearer));
        assert!(status.contains("200"), "{path}: {status}");
        assert!(body == bytes, "{path} is what the copy has");
        let for_ever = headers.contains("immutable");
        assert_eq!(for_ever, !path.contains(".p/") && path != "/checkpoint", "{path}: {headers}");
        for wrong in [None, Some(""), Some("x"), Some(&bearer[1..])] {
            let (status, _, body) = get(&stage, &path, wrong);
            assert!(status.contains("401") && body.len() < 64, "{path}: {status}");
        }
    }
    let (_, _, bundle) = get(&stage, "/tile/entries/000", Some(bearer));
    assert_eq!(leaves(&bundle).unwrap().len(), 256);
    for path in [
        "/tile/0/999",
        "/tile/0/001.p/255",
        "/tile/0/0",
        "/tile/7/000",
        "/tile/entries/x001/000",
        "/tile/entries/000.p/257",
        "/tile/../broker/admin.pem",
        "/tile/",
        "/",
        "/metrics",
    ] {
        let (status, ..) = get(&stage, path, Some(bearer));
        assert!(status.contains("404"), "{path}: {status}");
    }
    // A part of what is full by now is still there for whoever saw the head of then.
    let (status, _, part) = get(&stage, "/tile/0/000.p/3", Some(bearer));
    assert!(status.contains("200") && part.len() == 96, "{status}");
}

#[test]
fn one_process_pulls_into_a_copy_at_a_time() {
    let stage = Stage::set();
    grow(&stage, 0..3);
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let pulling = Mirror::open(&stage.path("copy"), &trust).unwrap();
    stage.sublet(&["audit", "mirror", "copy"]).fails(1, "[copy_in_use]");
    drop(pulling);
    stage.sublet(&["audit", "mirror", "copy"]).ok();
}

#[test]
fn every_change_to_a_copy_is_found() {
    let stage = Stage::set();
    grow(&stage, 0..160);
    stage.sublet(&["audit", "mirror", "copy"]).ok();
    let copy = stage.path("copy");
    for (path, bytes) in tree(&copy) {
        let at = copy.join(&path);
        for position in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1;
            fs::write(&at, &flipped).unwrap();
            let run = verify(&stage, "copy", &[]);
            assert_eq!(run.code, 40, "{} at {position}: {run:?}", path.display());
            fs::write(&at, &bytes[..position]).unwrap();
            let run = verify(&stage, "copy", &[]);
            assert_eq!(run.code, 40, "{} cut at {position}: {run:?}", path.display());
        }
        fs::remove_file(&at).unwrap();
        let run = verify(&stage, "copy", &[]);
        assert_eq!(run.code, 20, "{} gone: {run:?}", path.display());
        fs::write(&at, &bytes).unwrap();
    }
    verify(&stage, "copy", &[]).ok();
}

/// Copies a directory with its files' modes, as a backup does.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    for (path, _) in tree(from) {
        let (from, to) = (from.join(&path), to.join(&path));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

// SPEC 9.7.1.
#[test]
fn a_ledger_that_was_rolled_back_or_tells_another_past_is_found_and_kept_as_evidence() {
    let mut stage = Stage::set();
    grow(&stage, 0..5);
    stage.stop();
    copy_all(&stage.path("broker"), &stage.path("backup"));
    stage.kill_and_restart();
    grow(&stage, 5..10);
    stage.sublet(&["audit", "mirror", "copy"]).ok();
    let kept = stage.sublet(&["audit", "checkpoint"]).ok();
    fs::write(stage.path("kept"), &kept).unwrap();
    // The whole backup is put in place: for itself it is a whole ledger.
    stage.stop();
    fs::remove_dir_all(stage.path("broker")).unwrap();
    copy_all(&stage.path("backup"), &stage.path("broker"));
    stage.kill_and_restart();
    let before = tree(&stage.path("copy"));
    let forked = stage.sublet(&["audit", "mirror", "copy"]);
    assert!(forked.err.contains("[ledger_forked]"), "{forked:?}");
    forked.fails(30, "both checkpoints are kept in");
    let evidence = fs::read_to_string(stage.path("copy/fork.txt")).unwrap();
    assert!(
        evidence.starts_with(&kept) && evidence.matches("dev.sublet.example/sublet\n").count() == 2
    );
    // And it goes on: other records at the same places, more of them than the copy has.
    grow(&stage, 20..40);
    // Now two histories were signed, and that can be shown to anybody.
    stage.sublet(&["audit", "mirror", "copy"]).fails(30, "the proof is kept in");
    verify(&stage, "copy/fork.txt", &[]).fails(30, "contradict each other");
    fs::remove_file(stage.path("copy/fork.txt")).unwrap();
    assert_eq!(tree(&stage.path("copy")), before, "nothing of it went into the copy");
    verify(&stage, "copy", &["--checkpoint", "kept"]).ok();
    stage.sublet(&["audit", "mirror", "other"]).ok();
    verify(&stage, "other", &[]).ok();
    verify(&stage, "other", &["--checkpoint", "kept"]).fails(30, "does not extend a checkpoint");
    verify(&stage, "other.fork", &[]).fails(30, "contradict each other");
    let mut forged = fs::read(stage.path("other.fork")).unwrap();
    let last = forged.len() - 20;
    forged[last] ^= 1;
    fs::write(stage.path("forged.fork"), forged).unwrap();
    verify(&stage, "forged.fork", &[]).fails(40, "");
}

// SPEC 9.6.
#[test]
fn an_empty_store_is_not_taken_for_a_new_ledger() {
    let mut stage = Stage::set();
    grow(&stage, 0..1);
    stage.stop();
    fs::remove_dir_all(stage.path("broker/store")).unwrap();
    let data = stage.path("broker").display().to_string();
    let args = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &data];
    sublet_in(stage.home.path(), &args).fails(1, "a ledger was begun in this data directory");
}

/// The tiles of a log over HTTP, for a library that is not ours.
struct OverHttp<'a> {
    stage: &'a Stage,
    bearer: &'a str,
}

impl tlog_tiles::TileReader for OverHttp<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &tlog_tiles::Tile| {
            // Its paths name the height of a tile, as Go's sumdb does.
            let path = tile.path().replacen("tile/8/", "/tile/", 1);
            let (status, _, bytes) = get(self.stage, &path, Some(self.bearer));
            assert!(status.contains("200"), "{path}: {status}");
            bytes
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// Cloudflare's port of Go's tlog and note, which knows nothing of Sublet: the head opens under the
/// key in its text form, and every record is proven from the tiles that are served.
#[test]
fn a_public_library_accepts_the_log_as_it_is_served() {
    let stage = Stage::set();
    grow(&stage, 0..350);
    let bearer = fs::read_to_string(stage.path("broker/ledger.bearer")).unwrap();
    let bearer = bearer.trim_end();
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let key = sublet_client::audit::published::checkpoint_keys(&trust.current())[0].to_string();
    let (_, _, note) = get(&stage, "/checkpoint", Some(bearer));
    let note = signed_note::Note::from_bytes(&note).unwrap();
    let verifier = signed_note::StandardVerifier::new(&key).unwrap();
    let (verified, unverified) =
        note.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    let head = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(head.origin(), "dev.sublet.example/sublet");
    assert!(head.size() > 512 && head.extension().is_empty());
    let http = OverHttp { stage: &stage, bearer };
    let reader = tlog_tiles::TileHashReader::new(head.size(), *head.hash(), &http);
    let bundles = head.size().div_ceil(256);
    let mut proven = 0;
    for bundle in 0..bundles {
        let width = (head.size() - bundle * 256).min(256);
        let part = if width < 256 { format!(".p/{width}") } else { String::new() };
        let (_, _, bytes) = get(&stage, &format!("/tile/entries/{bundle:03}{part}"), Some(bearer));
        for (at, leaf) in leaves(&bytes).unwrap().into_iter().enumerate() {
            let index = bundle * 256 + at as u64;
            if !index.is_multiple_of(37) && index + 1 != head.size() {
                continue;
            }
            let proof = tlog_tiles::prove_record(head.size(), index, &reader).unwrap();
            let hash = tlog_tiles::record_hash(leaf);
            tlog_tiles::check_record(&proof, head.size(), *head.hash(), index, hash).unwrap();
            proven += 1;
        }
    }
    assert!(proven > 18, "{proven} records proven");
    for old in [1, 255, 256, 300] {
        let then = tlog_tiles::tree_hash(old, &reader).unwrap();
        let proof = tlog_tiles::prove_tree(head.size(), old, &reader).unwrap();
        tlog_tiles::check_tree(&proof, head.size(), *head.hash(), old, then).unwrap();
    }
}
