//! Starts the processes of the demo and talks to them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::actor::{Answer, Ask};
use crate::cli_error::CliError;

/// The longest time to wait for an answer of a process.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process of this program.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    name: String,
}

impl Process {
    /// Starts `sublet` with these arguments. It is killed when this is dropped.
    pub(crate) fn start(name: &str, args: &[&str]) -> Result<Self, CliError> {
        let lost = |what: &str| CliError::local(format!("{name} has no {what}"));
        let program = std::env::current_exe().map_err(|error| {
            CliError::local(format!("the path of this program is not known: {error}"))
        })?;
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

    /// Returns the next line that it prints. Fails when it ends or does not answer in time.
    pub(crate) async fn line(&mut self) -> Result<String, CliError> {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
        match line {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(CliError::local(format!("{} has ended", self.name))),
            Ok(Err(error)) => Err(CliError::local(format!("{}: {error}", self.name))),
            Err(_) => Err(CliError::local(format!("{} did not answer in time", self.name))),
        }
    }

    /// Sends a request and returns the answer.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Result<Answer, CliError> {
        let bad = |error: &dyn std::fmt::Display| CliError::local(format!("{error}"));
        let line = serde_json::to_string(ask).map_err(|error| bad(&error))? + "\n";
        self.input.write_all(line.as_bytes()).await.map_err(|error| bad(&error))?;
        serde_json::from_str(&self.line().await?).map_err(|error| bad(&error))
    }

    /// Kills it with SIGKILL and waits for its end.
    pub(crate) async fn kill(&mut self) -> Result<(), CliError> {
        self.child.kill().await.map_err(|error| CliError::local(format!("{}: {error}", self.name)))
    }
}

/// A broker in `--dev`, as a process.
pub(crate) struct BrokerProcess {
    process: Process,
    /// The address that it serves.
    pub(crate) endpoint: String,
    /// The path of its trust bundle.
    pub(crate) trust: String,
    /// The path of its admin key.
    pub(crate) admin_key: String,
}

impl BrokerProcess {
    /// Returns the id of its process; `None` once it has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.child.id()
    }

    /// Starts a broker on a data directory. Port 0 picks a free port.
    pub(crate) async fn start(data: &Path, listen: &str) -> Result<Self, CliError> {
        let data = data.display().to_string();
        let mut process =
            Process::start("the broker", &["serve", "--dev", "--data", &data, "--listen", listen])?;
        let mut exported = async |name: &str| -> Result<String, CliError> {
            let line = process.line().await?;
            let value = line
                .strip_prefix(&format!("export {name}="))
                .map(|value| value.trim_matches('\'').to_owned());
            value.ok_or_else(|| {
                CliError::local(format!(
                    "the broker printed {line:?}, expected the export of {name}"
                ))
            })
        };
        let endpoint = exported("SUBLET_BROKER").await?;
        let trust = exported("SUBLET_TRUST").await?;
        let admin_key = exported("SUBLET_ADMIN_KEY").await?;
        Ok(BrokerProcess { process, endpoint, trust, admin_key })
    }

    /// Returns the address without the scheme.
    pub(crate) fn address(&self) -> String {
        self.endpoint.trim_start_matches("http://").to_owned()
    }

    /// Kills it with SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<(), CliError> {
        self.process.kill().await
    }
}
