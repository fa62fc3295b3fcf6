//! `sublet witness`: cosigns checkpoints of ledgers. C2SP tlog-witness.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use sublet_client::audit::published::SignedCheckpoint;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_core::base::bytes::sha256;
use sublet_core::base::key::Algorithm;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::base::text::base64url;
use sublet_ledger::checkpoint::{Checkpoint, CheckpointKey};
use sublet_ledger::cosignature::{WitnessKey, message};
use sublet_ledger::fork::Fork;
use sublet_ledger::witness::{
    ADD_CHECKPOINT, AddCheckpoint, REQUEST_BYTES_MAX, Refusal, SIZE_TYPE, judge,
};
use tokio::net::TcpListener;

use crate::cli_error::CliError;
use crate::context::Context;

/// Run a witness, which cosigns checkpoints of ledgers
///
/// It cosigns a checkpoint only if the checkpoint extends the one that it cosigned before.
/// With witnesses, a broker cannot show different ledgers to different readers (split view). On the first start
/// it makes its key in the directory and prints: witness NAME KEY URL. Two checkpoints that contradict each
/// other are refused, and the proof is written to the directory.
///
/// Example: sublet witness --data w --name witness.example/w1 --log "$(sublet audit key)"
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:7374")]
    listen: SocketAddr,
    /// Directory for its key, the last checkpoint of each ledger, and proofs of forks
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Name of the witness: a URL without a scheme, such as witness.example/w1
    #[arg(long)]
    name: String,
    /// Key of a ledger to cosign, as sublet audit key prints it; may be given more than once
    #[arg(long = "log", value_name = "KEY", required = true)]
    logs: Vec<CheckpointKey>,
}

/// The state of a witness.
struct Witness {
    data: PathBuf,
    key: SecretKey,
    public: WitnessKey,
    logs: Vec<CheckpointKey>,
    ports: Ports,
    /// Held from reading the last checkpoint until the next one is on disk, so that two requests cannot both
    /// extend the same one.
    alone: Mutex<()>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    std::fs::create_dir_all(&args.data)
        .map_err(|error| CliError::local(format!("{}: {error}", args.data.display())))?;
    let (path, ports) = (args.data.join("witness.pem"), Ports::system());
    // Two witnesses on one directory could cosign two contradicting checkpoints.
    let detail = || {
        CliError::local(format!(
            "{}: another witness is running on this directory",
            args.data.display()
        ))
    };
    let _alone = files::claim(&args.data.join("witness.lock"))?.ok_or_else(detail)?;
    let lock = context.key_lock()?;
    let key = match path.exists() {
        true => files::read_key(&path, &lock)?,
        false => files::create_key(&path, &lock, &ports)?,
    };
    let ed25519 = key.public_key().algorithm() == Algorithm::Ed25519;
    let public = WitnessKey::new(&args.name, key.public_key().bytes()).filter(|_| ed25519);
    let none = || {
        CliError::local(
            "the name or the key cannot be used for cosignatures: the name must be a URL without a scheme, and the key Ed25519",
        )
    };
    let public = public.ok_or_else(none)?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener
        .map_err(|error| CliError::local(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(|error| CliError::local(error.to_string()))?;
    crate::print::line!("witness {} {public} http://{address}/", public.name());
    let witness =
        Witness { data: args.data, key, public, logs: args.logs, ports, alone: Mutex::new(()) };
    let routes = axum::Router::new()
        .route(&format!("/{ADD_CHECKPOINT}"), post(add_checkpoint))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(Arc::new(witness));
    let served = axum::serve(listener, routes).with_graceful_shutdown(crate::signals::stopped());
    served.await.map_err(|error| CliError::local(error.to_string()))
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    let answered = tokio::task::spawn_blocking(move || witness.answer(&body)).await;
    match answered {
        Ok(Ok(line)) => line.into_response(),
        Ok(Err(Answer::Refusal(refusal))) => refused(&refusal),
        Ok(Err(Answer::Failed(failed))) => {
            eprintln!("{failed}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal {
        Refusal::Size(size) => {
            (status, [(header::CONTENT_TYPE, SIZE_TYPE)], format!("{size}\n")).into_response()
        }
        other => (status, format!("{other}\n")).into_response(),
    }
}

/// Why no cosignature was made.
enum Answer {
    Refusal(Refusal),
    Failed(CliError),
}

impl<E: Into<CliError>> From<E> for Answer {
    fn from(error: E) -> Self {
        Answer::Failed(error.into())
    }
}

impl Witness {
    fn answer(&self, body: &[u8]) -> Result<String, Answer> {
        let request = AddCheckpoint::decode(body).ok_or(Answer::Refusal(Refusal::Malformed))?;
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.last(request.origin())?;
        let head = match judge(&request, &self.logs, last.as_ref().map(|last| &last.head)) {
            Ok(head) => head,
            Err(refusal) => {
                if let (Refusal::Forked, Some(last)) = (&refusal, last) {
                    self.keep_fork(last.note, request.note)?;
                }
                return Err(Answer::Refusal(refusal));
            }
        };
        // Stored before it signs: a witness that lost its last checkpoint could cosign a contradicting one.
        files::replace(&self.path(&head.origin), &request.note)?;
        let seconds = u64::try_from(self.ports.clock.now().0 / 1000).unwrap_or(0);
        let signature = self.key.sign(message(&head, seconds).as_bytes());
        let signature = signature.map_err(|fault| CliError::local(fault.to_string()))?;
        let line = self.public.line(seconds, &signature);
        line.map_err(|bad| CliError::local(bad.to_string()).into())
    }

    /// Returns the checkpoint that was cosigned last; `None` for a new ledger. An unreadable file is an error
    /// and never a new start.
    fn last(&self, origin: &str) -> Result<Option<SignedCheckpoint>, CliError> {
        let path = self.path(origin);
        if !path.exists() {
            return Ok(None);
        }
        let head = SignedCheckpoint::open(files::read(&path)?, &self.logs);
        let bad = |bad| CliError::local(format!("{}: {bad}", path.display()));
        head.map(Some).map_err(bad)
    }

    fn path(&self, origin: &str) -> PathBuf {
        self.data.join(format!("{}.checkpoint", base64url(sha256(origin.as_bytes()))))
    }

    /// Writes the proof of a fork. Two checkpoints of one size prove it without more.
    fn keep_fork(&self, last: Vec<u8>, other: Vec<u8>) -> Result<(), CliError> {
        let root = Checkpoint::open(&other, &self.logs).map(|head| head.root);
        let root = root.map_err(|bad| CliError::local(bad.to_string()))?;
        let fork = Fork { smaller: last, larger: other, root, proof: Vec::new() };
        let bytes = fork.encode();
        let path = self.data.join(format!("{}.fork", base64url(sha256(&bytes))));
        files::replace(&path, &bytes)?;
        eprintln!(
            "forked: a ledger signed two checkpoints that contradict each other; the proof is in {}",
            path.display()
        );
        Ok(())
    }
}
