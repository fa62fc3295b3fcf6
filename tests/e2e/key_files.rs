//! Keys on disk: under a password, and for their owner alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::stage::Stage;

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

fn private(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn password(stage: &Stage, name: &str, text: &str) {
    fs::write(stage.path(name), text).unwrap();
    private(&stage.path(name), 0o600);
}

#[test]
fn the_brokers_keys_open_with_their_password_and_to_their_owner_alone() {
    let mut stage = Stage::set();
    stage.stop();
    let config = "trust_domain = \"acme.example\"\ndata = \"locked\"\nlisten = \"127.0.0.1:0\"\n\
        [keys]\npassword_file = \"password\"\n";
    fs::write(stage.path("locked.toml"), config).unwrap();
    fs::write(stage.path("password"), "correct horse battery\n").unwrap();
    let serve = |stage: &Stage| stage.sublet(&["serve", "--config", "locked.toml"]);
    private(&stage.path("password"), 0o644);
    serve(&stage).fails(1, "chmod 600");
    private(&stage.path("password"), 0o600);
    stage.start_configured("locked.toml", "locked", "admin/key.pem");
    stage.stop();
    let key = stage.path("locked/keys/feed.pem");
    let pem = fs::read_to_string(&key).unwrap();
    assert!(pem.contains("ENCRYPTED PRIVATE KEY"), "{pem}");
    stage.start_configured("locked.toml", "locked", "admin/key.pem");
    stage.stop();
    private(&key, 0o640);
    serve(&stage).fails(1, "chmod 600");
    private(&key, 0o600);
    fs::write(stage.path("password"), "another horse battery\n").unwrap();
    serve(&stage).fails(1, "does not decrypt it");
    fs::write(stage.path("password"), "short\n").unwrap();
    serve(&stage).fails(1, "at least 12 bytes");
    fs::write(stage.path("locked.toml"), config.replace("password_file = \"password\"\n", ""))
        .unwrap();
    serve(&stage).fails(1, "it is encrypted, and no password");
}

/// An agent's keys, whose directory says where the password is: nobody has to say it again.
#[test]
fn an_agents_keys_lie_under_a_password_through_its_whole_life() {
    let stage = Stage::set();
    password(&stage, "password", "correct horse battery\n");
    let join = stage.sublet(&["agent", "create", "agent/planner"]).ok();
    fs::write(stage.path("join"), join).unwrap();
    let enroll = ["agent", "enroll", "--join-token", "join", "--out", "planner"];
    let locked = [&enroll[..], &["--key-password-file", "password"]].concat();
    password(&stage, "short", "short\n");
    let short = [&enroll[..], &["--key-password-file", "short"]].concat();
    stage.sublet(&short).fails(1, "at least 12 bytes");
    stage.sublet(&locked).ok();
    let pem = |name: &str| fs::read_to_string(stage.path("planner").join(name)).unwrap();
    assert!(pem("key.pem").contains(ENCRYPTED));
    let issue = ["issue", "--as", "planner", "--on-behalf-of", "user:alice", "--allow"];
    let issue = [&issue[..], &["fs.read@tool://files path=under:/data", "--out", "a"]].concat();
    stage.sublet(&issue).ok();
    // What a rotation makes and what it keeps of before are under it too, and a token of before works.
    stage.sublet(&["agent", "rotate-key", "--as", "planner"]).ok();
    stage.sublet(&["agent", "renew", "--as", "planner"]).ok();
    let files = fs::read_dir(stage.path("planner")).unwrap().map(|file| file.unwrap().path());
    let keys: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "pem")).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys.iter().all(|path| fs::read_to_string(path).unwrap().contains(ENCRYPTED)));
    let call = ["--audience", "tool://files", "--action", "fs.read", "--arg", "path=/data/a"];
    let call = [&["prove", "call", "--as", "planner", "--token", "a"][..], &call, &["--out", "c"]]
        .concat();
    stage.sublet(&call).ok();
    // Another password, none, and a file that others read.
    let whoami = ["whoami", "--as", "planner"];
    stage.sublet(&whoami).ok();
    password(&stage, "password", "another horse battery\n");
    stage.sublet(&whoami).fails(1, "does not decrypt it");
    private(&stage.path("password"), 0o644);
    stage.sublet(&whoami).fails(1, "chmod 600");
    fs::remove_file(stage.path("password")).unwrap();
    stage.sublet(&whoami).fails(1, "password");
}

#[test]
fn the_keys_of_admins_and_helpers_open_with_their_own_password_and_no_other() {
    let mut stage = Stage::configured("", &[]);
    password(&stage, "mine", "correct horse battery\n");
    password(&stage, "other", "another horse battery\n");
    let made = ["key", "create", "--out", "scout", "--key-password-file", "mine"];
    stage.sublet(&made).ok();
    let key = stage.path("scout/key.pem");
    assert!(fs::read_to_string(&key).unwrap().contains(ENCRYPTED));
    let call = ["prove", "call", "--as", "scout", "--token", "none", "--audience", "tool://files"];
    let call = [&call[..], &["--action", "fs.read", "--arg", "path=/a", "--out", "c"]].concat();
    let by = |password: &str| {
        let call = [&call[..], &["--key-password-file", password]].concat();
        stage.sublet(&call)
    };
    fs::write(stage.path("none"), "").unwrap();
    stage.sublet(&call).fails(1, "it is encrypted, and no password is configured");
    by("other").fails(1, "does not decrypt it");
    by("mine").fails(3, "");
    // An open key in its place is not taken for it.
    fs::copy(&stage.admin_key, &key).unwrap();
    by("mine").fails(1, "it is not encrypted");
    // The admin's key, whose broker knows its public half.
    stage.sublet(&["key", "create", "--out", "locked", "--key-password-file", "mine"]).ok();
    stage.stop();
    fs::copy(stage.path("locked/key.pub"), stage.path("own/admin.pub")).unwrap();
    stage.start_configured("sublet.toml", "own", "locked/key.pem");
    stage.sublet(&["status"]).fails(1, "it is encrypted, and no password");
    let status = ["status", "--admin-key-password-file", "mine"];
    stage.sublet(&status).ok();
    private(&stage.path("locked/key.pem"), 0o604);
    stage.sublet(&status).fails(1, "others may read it (mode 604): chmod 600");
}
