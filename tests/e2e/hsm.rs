//! The broker's keys in a PKCS#11 token: SoftHSM (Debian: softhsm2), the real binary.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::stage::{Run, SUBLET};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PROFILE: &str = "name = \"default\"\nprincipals = [\"user:*@acme.example\"]\n\
    ttl_seconds_max = 900\nhops_max = 4\noffline_hops_max = 1\n\
    allow = [\"fs.@tool://files path=under:/data\"]\n";

/// A directory with a token in it, and a broker whose keys lie there.
struct Hsm {
    home: tempfile::TempDir,
    broker: Option<std::process::Child>,
    endpoint: String,
}

impl Drop for Hsm {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Hsm {
    /// With these lines in SoftHSM's configuration and in the broker's.
    fn new(softhsm: &str, keys: &str) -> Self {
        let hsm = Hsm { home: tempfile::tempdir().unwrap(), broker: None, endpoint: String::new() };
        fs::create_dir(hsm.path("tokens")).unwrap();
        let config = format!("directories.tokendir = {}\n{softhsm}", hsm.path("tokens").display());
        fs::write(hsm.path("softhsm2.conf"), config).unwrap();
        fs::write(hsm.path("pin"), "123456\n").unwrap();
        fs::set_permissions(hsm.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
        let args = [
            "--init-token",
            "--free",
            "--label",
            "sublet",
            "--pin",
            "123456",
            "--so-pin",
            "12345678",
        ];
        let made = hsm.command("softhsm2-util").args(args).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let config = format!(
            "trust_domain = \"acme.example\"\ndata = \"own\"\nlisten = \"127.0.0.1:0\"\n\
             [keys]\npkcs11 = \"{}\"\n{keys}",
            hsm.uri("")
        );
        fs::write(hsm.path("sublet.toml"), config).unwrap();
        fs::write(hsm.path("default.toml"), PROFILE).unwrap();
        hsm
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn uri(&self, object: &str) -> String {
        let pin = self.path("pin").display().to_string();
        format!("pkcs11:token=sublet{object}?module-path={MODULE}&pin-source={pin}")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.home.path()).env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    fn run(&self, admin: &str, args: &[&str]) -> Run {
        let mut command = self.command(SUBLET);
        command.args(args).env("SUBLET_BROKER", &self.endpoint);
        command.env("SUBLET_TRUST", self.path("own/trust.json")).env("SUBLET_ADMIN_KEY", admin);
        Run::of(args, command.output().unwrap())
    }

    /// By the admin, whose key is in the token too.
    fn sublet(&self, args: &[&str]) -> Run {
        self.run(&self.uri(";object=admin"), args)
    }

    fn start(&mut self) {
        use std::io::BufRead as _;
        let mut serve = self.command(SUBLET);
        serve.args(["serve", "--config", "sublet.toml"]).stderr(std::process::Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        self.broker = Some(child);
        // What it warns of about the device may stand above the line that says where it is.
        let is_warning = |line: &String| line.contains("WARN");
        let line = lines.map(Result::unwrap).find(|line| !is_warning(line)).unwrap();
        self.endpoint = line.split_once(" on ").unwrap_or_else(|| panic!("{line}")).1.to_owned();
        // Started again it is where its agents look for it.
        let config = fs::read_to_string(self.path("sublet.toml")).unwrap();
        let listen = self.endpoint.trim_start_matches("http://");
        let config = config.replace("127.0.0.1:0", listen);
        fs::write(self.path("sublet.toml"), config).unwrap();
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.broker.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The admin's key is made in the token, the broker starts, and an agent is issued a token.
    fn walk(&mut self) {
        let uri = self.uri(";object=admin");
        self.sublet(&["key", "create", "--out", "admin", "--pkcs11", &uri]).ok();
        assert!(!self.path("admin/key.pem").exists());
        fs::create_dir(self.path("own")).unwrap();
        fs::copy(self.path("admin/key.pub"), self.path("own/admin.pub")).unwrap();
        self.start();
        self.sublet(&["profile", "apply", "default.toml"]).ok();
        let join = self.sublet(&["agent", "create", "agent/planner"]).ok();
        fs::write(self.path("join"), join).unwrap();
        self.sublet(&["agent", "enroll", "--join-token", "join", "--out", "planner"]).ok();
        self.issue("a.token").ok();
    }

    fn issue(&self, out: &str) -> Run {
        let scope = "fs.read@tool://files path=under:/data";
        let who = ["issue", "--as", "planner", "--on-behalf-of", "user:alice@acme.example"];
        self.sublet(&[&who[..], &["--allow", scope, "--out", out]].concat())
    }

    /// What a tool says that goes by the trust bundle alone.
    fn calls(&self, token: &str) -> Run {
        let call = ["--audience", "tool://files", "--action", "fs.read", "--arg", "path=/data/a"];
        let shown = ["prove", "call", "--as", "planner", "--token", token, "--out", "call"];
        self.sublet(&[&shown[..], &call].concat()).ok();
        self.sublet(&[&["authorize", "--token", token, "--proof", "call"][..], &call].concat())
    }

    fn keys(&self) -> Vec<serde_json::Value> {
        let bundle = fs::read_to_string(self.path("own/trust.json")).unwrap();
        let bundle: serde_json::Value = serde_json::from_str(&bundle).unwrap();
        let found = bundle["keys"].as_array().or_else(|| bundle["bundle"]["keys"].as_array());
        found.unwrap_or_else(|| panic!("{bundle}")).clone()
    }

    /// Key files of the broker.
    fn files(&self) -> Vec<String> {
        let files = fs::read_dir(self.path("own/keys")).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_brokers_keys_lie_in_a_token_through_their_whole_life() {
    let mut hsm = Hsm::new("", "");
    hsm.walk();
    assert_eq!(hsm.files(), [""; 0], "no private half is a file");
    assert!(hsm.keys().iter().all(|key| key["alg"] == "ed25519"));
    hsm.calls("a.token").ok();
    // A key of each kind of step: announced, taken into use, compromised.
    hsm.sublet(&["trust", "prepare", "delegation", "--lead", "1s"]).ok();
    hsm.sublet(&["trust", "activate", "8", "--now"]).ok();
    hsm.sublet(&["trust", "taint", "8", "--reason", "a test", "--yes"]).ok();
    hsm.issue("b.token").ok();
    hsm.calls("b.token").ok();
    // A refusal leaves no key behind in the token.
    let count = |hsm: &Hsm| {
        let list = ["--module", MODULE, "--login", "--pin", "123456", "--list-objects"];
        let said = hsm.command("pkcs11-tool").args(list).args(["--type", "privkey"]).output();
        String::from_utf8(said.unwrap().stdout).unwrap().matches("Private Key").count()
    };
    let before = count(&hsm);
    hsm.sublet(&["trust", "taint", "99", "--yes"]).fails(2, "[not_found]");
    let agent = ["trust", "prepare", "feed"];
    hsm.run(&hsm.path("planner/key.pem").display().to_string(), &agent).fails(2, "[not_admin]");
    assert_eq!(count(&hsm), before);
    assert_eq!(before, 10, "seven of the first start, two of the steps, the admin's");
    // Killed and started again it finds them; without the token it does not start.
    hsm.kill();
    hsm.start();
    hsm.issue("c.token").ok();
    hsm.sublet(&["audit", "mirror", "copy"]).ok();
    hsm.sublet(&["audit", "verify", "copy"]).ok();
    hsm.kill();
    fs::write(hsm.path("pin"), "654321\n").unwrap();
    let serve = || {
        Run::of(
            &[],
            hsm.command(SUBLET).args(["serve", "--config", "sublet.toml"]).output().unwrap(),
        )
    };
    serve().fails(1, "keys.pkcs11");
    fs::write(hsm.path("pin"), "123456\n").unwrap();
    fs::rename(hsm.path("tokens"), hsm.path("gone")).unwrap();
    fs::create_dir(hsm.path("tokens")).unwrap();
    serve().fails(1, "no token is labelled");
    // A first start that did not end finds the keys that it had made.
    fs::remove_dir(hsm.path("tokens")).unwrap();
    fs::rename(hsm.path("gone"), hsm.path("tokens")).unwrap();
    fs::rename(hsm.path("own"), hsm.path("before")).unwrap();
    fs::create_dir(hsm.path("own")).unwrap();
    fs::copy(hsm.path("admin/key.pub"), hsm.path("own/admin.pub")).unwrap();
    hsm.start();
    assert_eq!(count(&hsm), 10);
}

#[test]
fn a_token_without_ed25519_signs_with_secp256r1_and_leaves_the_ledger_to_a_file() {
    let without = "slots.mechanisms = -CKM_EDDSA,CKM_EC_EDWARDS_KEY_PAIR_GEN\n";
    let mut hsm = Hsm::new(without, "");
    hsm.walk();
    assert_eq!(hsm.files(), ["ledger.pem"], "signed notes know Ed25519 alone");
    for key in hsm.keys() {
        let expected = if key["use"] == "ledger" { "ed25519" } else { "secp256r1" };
        assert_eq!(key["alg"], expected, "{key}");
    }
    hsm.calls("a.token").ok();
    hsm.sublet(&["trust", "prepare", "identity", "--lead", "1s"]).ok();
    hsm.sublet(&["trust", "activate", "8", "--now"]).ok();
    hsm.sublet(&["agent", "renew", "--as", "planner"]).ok();
    hsm.issue("b.token").ok();
    hsm.calls("b.token").ok();
}

#[test]
fn a_broker_with_files_moves_into_a_token_key_by_key() {
    let mut hsm = Hsm::new("", "pkcs11_uses = [\"delegation\", \"identity\"]\n");
    hsm.walk();
    assert_eq!(
        hsm.files(),
        ["bundle-next.pem", "bundle.pem", "feed.pem", "ledger.pem", "receipt.pem"]
    );
    hsm.kill();
    let config = fs::read_to_string(hsm.path("sublet.toml")).unwrap();
    fs::write(hsm.path("sublet.toml"), config.replace("pkcs11_uses", "pkcs11_uses = []\n#"))
        .unwrap();
    hsm.start();
    // What lies in the token stays in use there; what is made from now on is a file.
    hsm.issue("b.token").ok();
    hsm.sublet(&["trust", "prepare", "delegation", "--lead", "1s"]).ok();
    assert_eq!(hsm.files().len(), 6);
    hsm.sublet(&["trust", "activate", "8", "--now"]).ok();
    hsm.issue("c.token").ok();
    hsm.calls("c.token").ok();
}

#[test]
fn what_is_no_uri_is_told() {
    let mut hsm = Hsm::new("", "");
    let config = fs::read_to_string(hsm.path("sublet.toml")).unwrap();
    fs::write(hsm.path("sublet.toml"), config.replace("token=sublet", "token=sublet;serial=7"))
        .unwrap();
    let serve = hsm.command(SUBLET).args(["serve", "--config", "sublet.toml"]).output().unwrap();
    Run::of(&[], serve).fails(1, "serial is not understood");
    hsm.sublet(&["key", "create", "--out", "x", "--pkcs11", &hsm.uri("")])
        .fails(64, "object=LABEL");
    fs::write(hsm.path("sublet.toml"), &config).unwrap();
    hsm.start();
    hsm.run(&hsm.uri(";object=none"), &["status"]).fails(1, "has no key with the label \"none\"");
}
