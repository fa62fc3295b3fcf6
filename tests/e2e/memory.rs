//! What others of the host see of a process that holds keys.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::stage::SUBLET;

/// Nobody's user: who runs the tests as root is asked as another.
const NOBODY: u32 = 65_534;

/// A broker of an ordinary user, once it serves.
fn broker(home: &std::path::Path) -> Child {
    let binary = home.join("sublet");
    std::fs::copy(SUBLET, &binary).unwrap();
    let mut command = Command::new(&binary);
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data", "broker"]);
    command.current_dir(home).stdout(Stdio::piped()).stderr(Stdio::null());
    if std::fs::metadata(home).unwrap().uid() == 0 {
        chown(home, Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().starts_with("export SUBLET_BROKER="));
    child
}

// SPEC 2.9.1.
#[test]
fn a_process_with_keys_writes_no_core_dump_and_shows_its_memory_to_nobody() {
    let home = tempfile::tempdir().unwrap();
    let mut broker = broker(home.path());
    let about = std::path::PathBuf::from(format!("/proc/{}", broker.id()));
    let limits = std::fs::read_to_string(about.join("limits")).unwrap();
    let status = std::fs::read_to_string(about.join("status")).unwrap();
    // The kernel gives what only root may look into to root.
    let owner = std::fs::metadata(about.join("mem")).unwrap().uid();
    broker.kill().unwrap();
    broker.wait().unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let core: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(core, ["0", "0"], "{limits}");
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    let user: u32 = user.split_whitespace().next().unwrap().parse().unwrap();
    assert_ne!(user, 0);
    assert_ne!(owner, user, "another process of the same user can read its memory");
}
