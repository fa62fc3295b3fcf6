//! A broker process and a directory to work in.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// The binary under test.
pub(crate) const SUBLET: &str = env!("CARGO_BIN_EXE_sublet");

/// Held by tests that keep the whole machine busy, or that cannot be done on a busy one, so that no two of
/// them run at once.
pub(crate) static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A broker in `--dev` and its directory; killed when dropped.
pub(crate) struct Stage {
    pub(crate) home: tempfile::TempDir,
    broker: Option<Child>,
    pub(crate) endpoint: String,
    pub(crate) trust: PathBuf,
    pub(crate) admin_key: PathBuf,
}

impl Stage {
    /// Starts a broker on a free port.
    pub(crate) fn set() -> Self {
        let home = tempfile::tempdir().unwrap();
        let stage = Stage {
            home,
            broker: None,
            endpoint: String::new(),
            trust: PathBuf::new(),
            admin_key: PathBuf::new(),
        };
        stage.started("127.0.0.1:0")
    }

    fn started(mut self, listen: &str) -> Self {
        self.start(listen, &[]);
        self
    }

    fn start(&mut self, listen: &str, more: &[&str]) {
        let mut child = Command::new(SUBLET)
            .args(["serve", "--dev", "--listen", listen, "--data"])
            .arg(self.home.path().join("broker"))
            .args(more)
            .current_dir(self.home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut exported = |name: &str| {
            let line = lines.next().expect("the broker ended at once").unwrap();
            line.strip_prefix(&format!("export {name}="))
                .expect("three export lines")
                .trim_matches('\'')
                .to_owned()
        };
        self.endpoint = exported("SUBLET_BROKER");
        self.trust = exported("SUBLET_TRUST").into();
        self.admin_key = exported("SUBLET_ADMIN_KEY").into();
        self.broker = Some(child);
    }

    /// A broker of acme.example on a free port, with more in its configuration and with these files
    /// beside it. Its admin's key is `admin/key.pem`, its data is in `own`.
    pub(crate) fn configured(more: &str, files: &[(&str, &str)]) -> Self {
        let mut stage = Stage::laid_out(more, files);
        stage.start_configured("sublet.toml", "own", "admin/key.pem");
        stage
    }

    /// The same, of a process that may have this many descriptors and no more. Its log is `broker.log`.
    pub(crate) fn limited(descriptors: usize, more: &str, files: &[(&str, &str)]) -> Self {
        let mut stage = Stage::laid_out(more, files);
        let script = format!("ulimit -n {descriptors}; exec \"$0\" serve --config sublet.toml");
        let log = std::fs::File::create(stage.path("broker.log")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &script, SUBLET]).current_dir(stage.home.path()).stderr(log);
        stage.broker = Some(command.spawn().unwrap());
        for _ in 0..3_000 {
            let log = stage.log();
            let told = log.lines().find_map(|line| line.strip_prefix("sublet broker of "));
            if let Some((_, endpoint)) = told.and_then(|told| told.split_once(" on ")) {
                stage.endpoint = endpoint.to_owned();
                return stage;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not serve: {}", stage.log());
    }

    /// What a broker of [`Stage::limited`] has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("broker.log")).unwrap()
    }

    /// The process of the broker.
    pub(crate) fn pid(&self) -> u32 {
        self.broker.as_ref().unwrap().id()
    }

    fn laid_out(more: &str, files: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (trust, admin_key) =
            (home.path().join("own/trust.json"), home.path().join("admin/key.pem"));
        let endpoint = "http://127.0.0.1:0".to_owned();
        let stage = Stage { home, broker: None, endpoint, trust, admin_key };
        stage.sublet(&["key", "create", "--out", "admin"]).ok();
        std::fs::create_dir_all(stage.path("own")).unwrap();
        std::fs::copy(stage.path("admin/key.pub"), stage.path("own/admin.pub")).unwrap();
        let own = "trust_domain = \"acme.example\"\ndata = \"own\"\nlisten = \"127.0.0.1:0\"\n";
        let config = format!("{own}{more}");
        for (name, text) in files.iter().chain([&("sublet.toml", config.as_str())]) {
            std::fs::write(stage.path(name), text).unwrap();
        }
        stage
    }

    /// Starts a broker by its configuration file, in the stage's directory.
    pub(crate) fn start_configured(&mut self, config: &str, data: &str, admin_key: &str) {
        let mut child = Command::new(SUBLET)
            .args(["serve", "--config", config])
            .current_dir(self.home.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        let told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut told = told.inspect(|line| said.push(line.clone()));
        let serves = told.find_map(|line| {
            let told = line.strip_prefix("sublet broker of ")?.split_once(" on ")?;
            Some(told.1.to_owned())
        });
        self.endpoint = serves.unwrap_or_else(|| panic!("it does not serve: {said:?}"));
        self.trust = self.path(data).join("trust.json");
        self.admin_key = self.path(admin_key);
        self.broker = Some(child);
    }

    /// Kills a broker that was configured, and starts it again where its agents look for it.
    pub(crate) fn restart_configured(&mut self) {
        self.kill();
        let listen = self.endpoint.split_once("://").unwrap().1.to_owned();
        let config = self.path("sublet.toml");
        let text = std::fs::read_to_string(&config).unwrap().replace("127.0.0.1:0", &listen);
        std::fs::write(&config, text).unwrap();
        self.start_configured("sublet.toml", "own", "admin/key.pem");
    }

    /// Kills the broker with SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.broker.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks the broker to stop (SIGTERM), and waits until it has.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        let mut child = self.broker.take().unwrap();
        let stopped =
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        child.wait().unwrap()
    }

    /// Kills the broker and starts it again on the same data and address.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill_and_restart_with(&[]);
    }

    /// The same with more arguments.
    pub(crate) fn kill_and_restart_with(&mut self, more: &[&str]) {
        self.kill();
        let listen = self.endpoint.trim_start_matches("http://").to_owned();
        self.start(&listen, more);
    }

    /// A path in the stage's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs `sublet` in the stage's directory with the three variables set.
    pub(crate) fn sublet(&self, args: &[&str]) -> Run {
        self.sublet_with(&[], args)
    }

    /// The same with more variables.
    pub(crate) fn sublet_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Run {
        let mut command = Command::new(SUBLET);
        command
            .args(args)
            .current_dir(self.home.path())
            .env("SUBLET_BROKER", &self.endpoint)
            .env("SUBLET_TRUST", &self.trust)
            .env("SUBLET_ADMIN_KEY", &self.admin_key)
            .envs(variables.iter().copied());
        Run::of(args, output(&mut command))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Run {
    #[expect(dead_code, reason = "shown by Debug when an assertion fails")]
    pub(crate) args: String,
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(args: &[&str], output: Output) -> Self {
        Run {
            args: args.join(" "),
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It succeeded; its output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// It ended with this exit code and these words.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(words), "no {words:?} in {self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
    }

    /// It succeeded; its output as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

/// Runs a command to its end, which it has two minutes for.
pub(crate) fn output(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let id = child.id().to_string();
    let (ended, end) = std::sync::mpsc::sync_channel::<()>(1);
    std::thread::spawn(move || {
        if end.recv_timeout(Duration::from_secs(120)) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-9", &id]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    output
}

/// Runs `sublet` outside any stage.
pub(crate) fn sublet_in(directory: &Path, args: &[&str]) -> Run {
    let mut command = Command::new(SUBLET);
    command
        .args(args)
        .current_dir(directory)
        .env_remove("SUBLET_BROKER")
        .env_remove("SUBLET_TRUST")
        .env_remove("SUBLET_ADMIN_KEY");
    Run::of(args, output(&mut command))
}
