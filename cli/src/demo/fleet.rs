//! The processes of the demo, and how the story talks to them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::actor::{Answer, Ask};
use crate::cli_error::CliError;

/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process of this very program.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    name: String,
}

impl Process {
    /// Starts `sublet` with these arguments. It is killed when this is dropped.
    pub(crate) fn start(name: &str, args: &[&str]) -> Result<Self, CliError> {
        let lost = |what: &str| CliError::local(format!("{name}: no {what}"));
        let program = std::env::current_exe()
            .map_err(|error| CliError::local(format!("where am I? {error}")))?;
        let child = Command::new(program)
            .args(args)
            .env_remove("SUBLET_BROKER")
            .env_remove("SUBLET_TRUST")
            .env_remove("SUBLET_ADMIN_KEY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("SUBLET_LOG").is_some() {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .kill_on_drop(true)
            .spawn();
        let mut child =
            child.map_err(|error| CliError::local(format!("{name} did not start: {error}")))?;
        let input = child.stdin.take().ok_or_else(|| lost("input"))?;
        let output = child.stdout.take().ok_or_else(|| lost("output"))?;
        Ok(Process { child, input, output: BufReader::new(output).lines(), name: name.to_owned() })
    }

    /// The next line that it prints.
    pub(crate) async fn line(&mut self) -> Result<String, CliError> {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
        match line {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(CliError::local(format!("{} has ended", self.name))),
            Ok(Err(error)) => Err(CliError::local(format!("{}: {error}", self.name))),
            Err(_) => Err(CliError::local(format!("{} does not answer", self.name))),
        }
    }

    /// Has it do something.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Result<Answer, CliError> {
        let bad = |error: &dyn std::fmt::Display| CliError::local(format!("{error}"));
        let line = serde_json::to_string(ask).map_err(|error| bad(&error))? + "\n";
        self.input.write_all(line.as_bytes()).await.map_err(|error| bad(&error))?;
        serde_json::from_str(&self.line().await?).map_err(|error| bad(&error))
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<(), CliError> {
        self.child.kill().await.map_err(|error| CliError::local(format!("{}: {error}", self.name)))
    }
}

/// A broker in `--dev`, a process of its own.
pub(crate) struct BrokerProcess {
    process: Process,
    /// Its address.
    pub(crate) endpoint: String,
    /// Its trust bundle.
    pub(crate) trust: String,
    /// Its admin key.
    pub(crate) admin_key: String,
}

impl BrokerProcess {
    /// Starts one on a data directory; port 0 takes a free one.
    pub(crate) async fn start(data: &Path, listen: &str) -> Result<Self, CliError> {
        let data = data.display().to_string();
        let mut process =
            Process::start("the broker", &["serve", "--dev", "--data", &data, "--listen", listen])?;
        let mut exported = async |name: &str| -> Result<String, CliError> {
            let line = process.line().await?;
            let value = line
                .strip_prefix(&format!("export {name}="))
                .map(|value| value.trim_matches('\'').to_owned());
            value.ok_or_else(|| CliError::local(format!("the broker said {line:?}, not {name}")))
        };
        let endpoint = exported("SUBLET_BROKER").await?;
        let trust = exported("SUBLET_TRUST").await?;
        let admin_key = exported("SUBLET_ADMIN_KEY").await?;
        Ok(BrokerProcess { process, endpoint, trust, admin_key })
    }

    /// Its address without the scheme.
    pub(crate) fn address(&self) -> String {
        self.endpoint.trim_start_matches("http://").to_owned()
    }

    /// Kills it with SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<(), CliError> {
        self.process.kill().await
    }
}
