//! Witnesses as processes: what they cosign, what they refuse, and that nobody waits for them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::ledger::{copy_all, grow, verify};
use crate::stage::{SUBLET, Stage};
use crate::walk::{enroll, issue};

/// A witness process; killed when dropped.
struct Witness {
    process: Child,
    /// Its line for a policy.
    line: String,
    address: String,
}

impl Witness {
    fn start(stage: &Stage, name: &str, listen: &str) -> Self {
        let log = stage.sublet(&["audit", "key"]).ok();
        let mut process = Command::new(SUBLET)
            .args(["witness", "--listen", listen, "--name", name, "--log", log.trim(), "--data"])
            .arg(stage.path(name))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once("http://").unwrap().1.trim_end_matches('/').into();
        Witness { process, line, address }
    }

    /// Asks for a cosignature: the status, and the answer.
    fn ask(&self, body: &[u8]) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // One that is too large is answered before it was read, and the connection closed on the rest.
        let _ = socket.write_all(&[head.as_bytes(), body].concat());
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until so many records are witnessed: the broker shows a head every second.
fn witnessed(stage: &Stage, records: u64) -> bool {
    (0..600).any(|_| {
        let head = stage.sublet(&["audit", "checkpoint", "--witnessed", "--output", "json"]);
        let there = head.code == 0 && head.json()["size"].as_u64().unwrap() >= records;
        if !there {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        there
    })
}

fn size(stage: &Stage) -> u64 {
    let head = stage.sublet(&["audit", "checkpoint", "--output", "json"]).json();
    head["size"].as_u64().unwrap()
}

#[test]
fn two_witnesses_cosign_a_ledger_that_grows_and_nobody_waits_for_one_that_is_gone() {
    let mut stage = Stage::set();
    let one = Witness::start(&stage, "w1.example", "127.0.0.1:0");
    let two = Witness::start(&stage, "w2.example", "127.0.0.1:0");
    let log = stage.sublet(&["audit", "key"]).ok();
    let again = ["witness", "--listen", "127.0.0.1:0", "--name", "w2.example", "--log", log.trim()];
    let again = [&again[..], &["--data", "w2.example"]].concat();
    stage.sublet(&again).fails(1, "another witness is running");
    let policy = format!("{}{}group both all w1.example w2.example\n", one.line, two.line);
    fs::write(stage.path("both"), format!("{policy}quorum both\n")).unwrap();
    fs::write(stage.path("bad"), format!("{policy}quorum three\n")).unwrap();
    stage
        .sublet(&["audit", "checkpoint", "--witnessed"])
        .fails(1, "no checkpoint has been cosigned");
    let data = stage.path("broker").display().to_string();
    let bad =
        ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &data, "--witness-policy", "bad"];
    stage.sublet(&bad).fails(1, "line 4: \"three\" is not defined before");
    stage.kill_and_restart_with(&["--witness-policy", "both"]);
    assert!(witnessed(&stage, size(&stage)));
    grow(&stage, 0..30);
    let grown = size(&stage);
    assert!(witnessed(&stage, grown));
    // A copy and a bundle have the head that was witnessed, and are held against it.
    stage.sublet(&["audit", "mirror", "copy"]).ok();
    stage.sublet(&["audit", "export", "--out", "evidence.sublet"]).ok();
    let other = fs::read_to_string(stage.path("both")).unwrap();
    let third = Witness::start(&stage, "w3.example", "127.0.0.1:0");
    let strict =
        other.replace("group both all", &format!("{}group both all w3.example", third.line));
    fs::write(stage.path("strict"), strict).unwrap();
    for what in ["copy", "evidence.sublet"] {
        verify(&stage, what, &["--policy", "both"]).ok();
        verify(&stage, what, &["--policy", "strict"]).fails(20, "the policy requires more");
        verify(&stage, what, &["--policy", "bad"]).fails(1, "not defined before");
    }
    // One is gone: what was witnessed stays, and calls go on.
    drop(two);
    let args = ["agent", "create", "agent/after"];
    stage.sublet(&args).ok();
    enroll(&stage, "planner");
    issue(&stage);
    stage.kill_and_restart_with(&["--witness-policy", "both"]);
    let kept = stage.sublet(&["audit", "checkpoint", "--witnessed", "--output", "json"]).json();
    assert!(kept["size"].as_u64().unwrap() >= grown, "also after a restart");
    assert!(size(&stage) > grown);
}

#[test]
fn a_witness_never_cosigns_two_histories_and_keeps_the_proof() {
    let mut stage = Stage::set();
    let witness = Witness::start(&stage, "w1.example", "127.0.0.1:0");
    fs::write(stage.path("one"), format!("{}quorum w1.example\n", witness.line)).unwrap();
    // The operator keeps a copy of all there is, and goes on with both.
    stage.stop();
    copy_all(&stage.path("broker"), &stage.path("second"));
    stage.kill_and_restart_with(&["--witness-policy", "one"]);
    grow(&stage, 0..5);
    let first = size(&stage);
    assert!(witnessed(&stage, first));
    stage.stop();
    fs::rename(stage.path("broker"), stage.path("first")).unwrap();
    fs::rename(stage.path("second"), stage.path("broker")).unwrap();
    stage.kill_and_restart();
    grow(&stage, 10..15);
    assert_eq!(size(&stage), first, "as many records, and others");
    let note = stage.sublet(&["audit", "checkpoint"]).ok();
    let ask = |old: u64| witness.ask(format!("old {old}\n\n{note}").as_bytes());
    assert_eq!(ask(0), (409, format!("{first}\n")), "it says what it knows");
    assert_eq!(ask(first).0, 409, "another root of one size");
    assert_eq!(ask(first + 1).0, 400);
    assert_eq!(witness.ask(b"old 0\n").0, 400);
    assert_eq!(witness.ask(&vec![b'x'; 1 << 20]).0, 413);
    let mut entries = fs::read_dir(stage.path("w1.example")).unwrap();
    let fork = entries.find_map(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|kind| kind == "fork").then_some(path)
    });
    verify(&stage, &fork.unwrap().display().to_string(), &[]).fails(30, "contradict each other");
    // And it does not follow when the other history grows.
    grow(&stage, 20..25);
    stage.kill_and_restart_with(&["--witness-policy", "one"]);
    let note = stage.sublet(&["audit", "checkpoint"]).ok();
    let longer = witness.ask(format!("old {first}\n\n{note}").as_bytes());
    assert_eq!(longer.0, 422);
}
