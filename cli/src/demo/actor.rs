//! A process of the demo: the tool, or one agent that does what it is told.
//!
//! An agent process makes its own key, which never leaves it. Requests come as lines of JSON on stdin, answers
//! go as lines of JSON to stdout. Some requests are attacks of a rogue agent or a thief.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::broker::connect::Broker;
use sublet_client::error::{Error, Kind};
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::base::bytes::sha256;
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::capability::Scope;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::token::Presentation;
use sublet_core::token::mint::Recipient;
use sublet_proto::credentials::{self, Credentials};
use sublet_proto::demo::files_client::FilesClient;
use sublet_proto::demo::{ReadRequest, WriteRequest};
use tokio::io::AsyncBufReadExt as _;

use super::tool;
use crate::cli_error::CliError;

/// The kind of process.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// File tool
    Tool {
        #[arg(long)]
        broker_url: String,
        #[arg(long)]
        trust_file: PathBuf,
        #[arg(long)]
        files: PathBuf,
        #[arg(long)]
        staleness_ms: i64,
        /// Directory of its identity and of the reports that it has not sent yet
        #[arg(long)]
        directory: PathBuf,
        /// File with its join token
        #[arg(long)]
        join_token: PathBuf,
    },
    /// Agent
    Agent {
        #[arg(long)]
        directory: PathBuf,
        #[arg(long)]
        broker_url: String,
        #[arg(long)]
        trust_file: PathBuf,
    },
}

/// A request to an agent process. `token` is a token in text form.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Enroll with a join token.
    Enroll { join_token: String },
    /// Make a key, as a helper does; the answer is its public key.
    MakeKey,
    /// Get a delegation from the broker.
    Issue { on_behalf_of: String, allow: String, ttl_seconds: u64, hops: u32, offline_hops: u32 },
    /// Delegate to an enrolled agent, online.
    Delegate { token: String, to: String, allow: String, ttl_seconds: u64 },
    /// Delegate to a helper with this key, offline.
    Spawn { token: String, label: String, key: String, allow: String, ttl_seconds: u64 },
    /// Read a file of the tool.
    Read { token: String, tool: String, path: String },
    /// Write a file of the tool.
    Write { token: String, tool: String, path: String },
    /// Revoke a hop that this agent made.
    Revoke { token: String, hop: String },
    /// Attack: show the token of another agent, with a proof by this process's own key.
    ReadStolen { token: String, tool: String, path: String },
    /// Attack: send the last successful read again, with the same proof.
    ReadAgain { tool: String },
    /// Attack: have a hop recorded that names another agent, with this process's own key.
    Impersonate { token: String, name: String, allow: String },
    /// Attack: replace the last block of a token with that of another, and read with it.
    ReadSpliced { token: String, onto: String, tool: String, path: String },
}

/// The answer of an agent process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// `done`, `allowed` or `denied`; `trouble` when nothing was decided.
    pub(crate) actual: String,
    /// The code of a refusal, or empty.
    pub(crate) code: String,
    /// The message of a refusal, or what was done.
    pub(crate) detail: String,
    /// A token or a key, or empty.
    pub(crate) data: String,
}

impl Answer {
    /// Returns the answer for an act that succeeded.
    pub(crate) fn done(detail: impl Into<String>, data: impl Into<String>) -> Self {
        Answer {
            actual: "done".into(),
            code: String::new(),
            detail: detail.into(),
            data: data.into(),
        }
    }

    fn allowed(detail: impl Into<String>) -> Self {
        Answer {
            actual: "allowed".into(),
            code: String::new(),
            detail: detail.into(),
            data: String::new(),
        }
    }

    /// Returns the answer for a refusal or a failure.
    pub(crate) fn failed(failure: &Error) -> Self {
        let denied = matches!(failure.kind(), Kind::Deny | Kind::Unauthenticated | Kind::Malformed);
        let actual = if denied { "denied" } else { "trouble" };
        Answer {
            actual: actual.into(),
            code: failure.code(),
            detail: failure.message().to_owned(),
            data: String::new(),
        }
    }
}

/// Runs a process of the demo until it is killed or its stdin ends.
pub(crate) async fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Tool { broker_url, trust_file, files, staleness_ms, directory, join_token } => {
            let home = tool::Home { directory, join_token, files };
            tool::serve(&broker_url, &trust_file, home, staleness_ms).await
        }
        Command::Agent { directory, broker_url, trust_file } => {
            let trust = Trust::open(&trust_file, Ports::system().clock.now())?;
            let broker = Broker::lazy(&broker_url)?;
            let mut agent =
                Agent { directory, broker, trust, identity: None, key: None, last: None };
            let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let ask = serde_json::from_str(&line)
                    .map_err(|error| CliError::local(error.to_string()))?;
                let answer =
                    agent.obey(ask).await.unwrap_or_else(|failure| Answer::failed(&failure));
                crate::print::line!("{}", serde_json::to_string(&answer).unwrap_or_default());
            }
            Ok(())
        }
    }
}

/// An agent, a helper or a thief.
struct Agent {
    directory: PathBuf,
    broker: Broker,
    trust: Trust,
    identity: Option<Identity>,
    key: Option<Arc<SecretKey>>,
    last: Option<(Credentials, String)>,
}

impl Agent {
    async fn obey(&mut self, ask: Ask) -> Result<Answer, Error> {
        match ask {
            Ask::Enroll { join_token } => {
                let identity = Identity::enroll_trusting(
                    &self.broker,
                    &join_token,
                    &self.directory,
                    &self.trust,
                )
                .await?;
                let detail = format!(
                    "{} with key {}",
                    identity.id(),
                    identity.token().holder_key().thumbprint()
                );
                self.identity = Some(identity);
                Ok(Answer::done(detail, ""))
            }
            Ask::MakeKey => {
                std::fs::create_dir_all(&self.directory)
                    .map_err(|error| Error::io("create", &self.directory, &error))?;
                let key = files::create_key(
                    &self.directory.join("key.pem"),
                    &KeyLock::open(),
                    &Ports::system(),
                )?;
                let public = key.public_key().to_string();
                self.key = Some(Arc::new(key));
                Ok(Answer::done("a key of its own", public))
            }
            Ask::Issue { on_behalf_of, allow, ttl_seconds, hops, offline_hops } => {
                let principal =
                    on_behalf_of.parse().map_err(sublet_core::refusal::Malformed::from)?;
                let grant = Grant::new(principal, scope(&allow)?, Duration::from_secs(ttl_seconds));
                let held =
                    self.identity()?.ask(&grant.hops(hops).offline_hops(offline_hops)).await?;
                Ok(Answer::done(
                    format!("delegation {}", held.delegation()),
                    held.presentation().to_text(),
                ))
            }
            Ask::Delegate { token, to, allow, ttl_seconds } => {
                let terms = Attenuation::new(scope(&allow)?, Duration::from_secs(ttl_seconds));
                let to = to.parse().map_err(sublet_core::refusal::Malformed::from)?;
                let presentation = self.open(&token)?.delegate_to_agent(&to, &terms).await?;
                Ok(Answer::done(format!("{to} may {allow}"), presentation.to_text()))
            }
            Ask::Spawn { token, label, key, allow, ttl_seconds } => {
                let terms = Attenuation::new(scope(&allow)?, Duration::from_secs(ttl_seconds));
                let key = key.parse().map_err(|_| Error::local("bad_key", "no key"))?;
                let to = Recipient::Helper { label, key };
                let presentation = self.open(&token)?.delegate_offline(to, &terms)?;
                Ok(Answer::done(
                    format!("its helper may {allow}; made without the broker"),
                    presentation.to_text(),
                ))
            }
            Ask::Read { token, tool, path } => {
                let message = ReadRequest { path: path.clone() };
                let held = self.open(&token)?;
                let digest = sha256(&prost::Message::encode_to_vec(&message));
                let proof = held.prove_digest(tool::AUDIENCE, "fs.read", digest)?;
                let credentials = held.credentials_with(&proof);
                let answer = read(&tool, &path, credentials.clone()).await?;
                self.last = Some((credentials, path));
                Ok(answer)
            }
            Ask::Write { token, tool, path } => {
                let message = WriteRequest { path, content: b"overwritten".to_vec() };
                let request = self.open(&token)?.request(tool::AUDIENCE, "fs.write", message)?;
                let mut client = connect(&tool).await?;
                let written =
                    client.write(request).await.map_err(|status| Error::from_status(&status))?;
                Ok(Answer::allowed(format!("{} bytes written", written.get_ref().bytes_written)))
            }
            Ask::Revoke { token, hop } => {
                let hop = hop.parse().map_err(sublet_core::refusal::Malformed::from)?;
                self.open(&token)?.revoke(hop, "demo").await?;
                Ok(Answer::done(format!("hop {hop} and everything below it"), ""))
            }
            attack => self.attack(attack).await,
        }
    }

    async fn attack(&mut self, attack: Ask) -> Result<Answer, Error> {
        match attack {
            Ask::ReadStolen { token, tool, path } => {
                let stolen = Presentation::from_text(&token)?;
                read(&tool, &path, self.forged(stolen, &path)?).await
            }
            Ask::ReadAgain { tool } => {
                let (credentials, path) = self
                    .last
                    .clone()
                    .ok_or_else(|| Error::local("nothing", "nothing to replay"))?;
                read(&tool, &path, credentials).await
            }
            Ask::Impersonate { token, name, allow } => {
                let own = Ports::system().new_key().map_err(Error::from)?;
                let id = name.parse().map_err(sublet_core::refusal::Malformed::from)?;
                let to = Recipient::Agent { id, key: own.public_key().clone() };
                let terms = Attenuation::new(scope(&allow)?, Duration::from_secs(60));
                self.open(&token)?.delegate_online(to, &terms).await?;
                Ok(Answer::done("the broker recorded a hop in the name of another agent", ""))
            }
            Ask::ReadSpliced { token, onto, tool, path } => {
                let (from, onto) =
                    (Presentation::from_text(&token)?, Presentation::from_text(&onto)?);
                let spliced = splice(&onto.token, &from.token);
                let spliced = spliced
                    .ok_or_else(|| Error::local("nothing", "the tokens have no such blocks"))?;
                read(
                    &tool,
                    &path,
                    self.forged(Presentation { token: spliced, receipt: None }, &path)?,
                )
                .await
            }
            _ => Err(Error::local("not_an_attack", "not an attack")),
        }
    }

    /// Returns credentials with a proof by this process's own key, whoever holds the token.
    fn forged(&self, token: Presentation, path: &str) -> Result<Credentials, Error> {
        let ports = Ports::system();
        // A token that does not verify has no id; any id will do.
        let hop = self
            .trust
            .verify(&token.token)
            .map_or(sublet_core::base::id::HopId([7; 32]), |token| token.id());
        let digest = sha256(&prost::Message::encode_to_vec(&ReadRequest { path: path.to_owned() }));
        let (now, nonce) = (ports.clock.now(), ports.entropy.nonce()?);
        let claims = CallClaims::of_digest(hop, tool::AUDIENCE, "fs.read", digest, now, nonce);
        let key = match (&self.key, &self.identity) {
            (Some(key), _) => key.clone(),
            (None, Some(identity)) => identity.key(),
            (None, None) => Arc::new(ports.new_key().map_err(Error::from)?),
        };
        let proof = CallProof::sign(claims, key.as_ref())?;
        Ok(Credentials {
            token: Some(token.token),
            receipt: token.receipt,
            proof: proof.encode(),
            ..Credentials::default()
        })
    }

    fn identity(&self) -> Result<&Identity, Error> {
        self.identity
            .as_ref()
            .ok_or_else(|| Error::local("not_enrolled", "this process did not enroll"))
    }

    fn open(&self, token: &str) -> Result<Delegation, Error> {
        match (&self.identity, &self.key) {
            (Some(identity), _) => identity.open(token),
            (None, Some(key)) => Delegation::open(token, key.clone(), &self.trust),
            (None, None) => Err(Error::local("no_key", "this process has no key")),
        }
    }
}

fn scope(text: &str) -> Result<Scope, Error> {
    let texts: Vec<&str> = text.split(" | ").collect();
    Ok(Scope::from_texts(&texts).map_err(sublet_core::refusal::Malformed::from)?)
}

async fn connect(tool: &str) -> Result<FilesClient<tonic::transport::Channel>, Error> {
    let client = FilesClient::connect(tool.to_owned()).await;
    client.map_err(|error| Error::local("tool_unreachable", error.to_string()))
}

async fn read(tool: &str, path: &str, credentials: Credentials) -> Result<Answer, Error> {
    let mut request = tonic::Request::new(ReadRequest { path: path.to_owned() });
    credentials::into_metadata(&credentials, request.metadata_mut());
    let answer =
        connect(tool).await?.read(request).await.map_err(|status| Error::from_status(&status))?;
    let text = String::from_utf8_lossy(&answer.get_ref().content).trim_end().to_owned();
    Ok(Answer::allowed(format!("{path} says {text:?}")))
}

/// Returns the first token with its last block replaced by that of the second.
fn splice(onto: &[u8], from: &[u8]) -> Option<Vec<u8>> {
    const BLOCKS: u8 = 3 << 3 | 2;
    let (mut onto, from) = (fields(onto)?, fields(from)?);
    let is_block = |field: &&[u8]| field.first() == Some(&BLOCKS);
    let last = onto.iter().rposition(is_block)?;
    *onto.get_mut(last)? = from.iter().copied().rfind(is_block)?;
    Some(onto.concat())
}

/// Returns the top-level protobuf fields of a Biscuit, each with its tag; `None` for malformed bytes.
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while let Some(tag) = bytes.first() {
        let mut length = 1 + varint_bytes(bytes.get(1..)?)?;
        if tag & 7 == 2 {
            let (mut value, mut shift) = (0usize, 0);
            for byte in bytes.get(1..length)? {
                value |= usize::from(byte & 0x7f).checked_shl(shift)?;
                shift += 7;
            }
            length = length.checked_add(value)?;
        }
        let (field, rest) = bytes.split_at_checked(length)?;
        fields.push(field);
        bytes = rest;
    }
    Some(fields)
}

fn varint_bytes(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| byte & 0x80 == 0).map(|at| at + 1)
}
