//! `sublet witness`: cosigns heads of ledgers for whoever asks. C2SP tlog-witness.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use sublet_client::audit::published::SignedHead;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_core::base::bytes::sha256;
use sublet_core::base::key::Algorithm;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::base::text::base64url;
use sublet_ledger::checkpoint::{Checkpoint, HeadKey};
use sublet_ledger::cosignature::{WitnessKey, message};
use sublet_ledger::fork::Fork;
use sublet_ledger::witness::{
    ADD_CHECKPOINT, AddCheckpoint, REQUEST_BYTES_MAX, Refusal, SIZE_TYPE, judge,
};
use tokio::net::TcpListener;

use crate::cli_error::CliError;
use crate::context::Context;

/// Run a witness: it cosigns each head of a ledger that goes on from the one that it cosigned last.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:7374")]
    listen: SocketAddr,
    /// The directory of what it cosigned last, its key (made on the first start), and forks that it saw
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Its name, a URL without its scheme
    #[arg(long)]
    name: String,
    /// The key of a ledger that it cosigns, as `sublet audit key` prints it; may be given again
    #[arg(long = "log", value_name = "KEY", required = true)]
    logs: Vec<HeadKey>,
}

/// What a witness has.
struct Witness {
    data: PathBuf,
    key: SecretKey,
    public: WitnessKey,
    logs: Vec<HeadKey>,
    ports: Ports,
    /// Held from the look at what was cosigned last until the next is on disk.
    alone: Mutex<()>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    std::fs::create_dir_all(&args.data)
        .map_err(|error| CliError::local(format!("{}: {error}", args.data.display())))?;
    let (path, ports) = (args.data.join("witness.pem"), Ports::system());
    // Two that share what was cosigned last could cosign two histories.
    let detail = || CliError::local(format!("{}: another witness is at work", args.data.display()));
    let _alone = files::claim(&args.data.join("witness.lock"))?.ok_or_else(detail)?;
    let lock = context.key_lock()?;
    let key = match path.exists() {
        true => files::read_key(&path, &lock)?,
        false => files::create_key(&path, &lock, &ports)?,
    };
    let ed25519 = key.public_key().algorithm() == Algorithm::Ed25519;
    let public = WitnessKey::new(&args.name, key.public_key().bytes()).filter(|_| ed25519);
    let none = || CliError::local("the name or the key is none that cosignatures know");
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
    let served =
        axum::serve(listener, routes).with_graceful_shutdown(crate::command::serve::stopped());
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

/// Why there is no cosignature.
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
        // A witness that forgot what it cosigned would cosign another history.
        files::replace(&self.path(&head.origin), &request.note)?;
        let seconds = u64::try_from(self.ports.clock.now().0 / 1000).unwrap_or(0);
        let signature = self.key.sign(message(&head, seconds).as_bytes());
        let signature = signature.map_err(|fault| CliError::local(fault.to_string()))?;
        let line = self.public.line(seconds, &signature);
        line.map_err(|bad| CliError::local(bad.to_string()).into())
    }

    /// The head that was cosigned last. What is there and cannot be read is no reason to begin anew.
    fn last(&self, origin: &str) -> Result<Option<SignedHead>, CliError> {
        let path = self.path(origin);
        if !path.exists() {
            return Ok(None);
        }
        let head = SignedHead::open(files::read(&path)?, &self.logs);
        let bad = |bad| CliError::local(format!("{}: {bad}", path.display()));
        head.map(Some).map_err(bad)
    }

    fn path(&self, origin: &str) -> PathBuf {
        self.data.join(format!("{}.checkpoint", base64url(sha256(origin.as_bytes()))))
    }

    /// Two heads of one size are a proof by themselves.
    fn keep_fork(&self, last: Vec<u8>, other: Vec<u8>) -> Result<(), CliError> {
        let root = Checkpoint::open(&other, &self.logs).map(|head| head.root);
        let root = root.map_err(|bad| CliError::local(bad.to_string()))?;
        let fork = Fork { smaller: last, larger: other, root, proof: Vec::new() };
        let bytes = fork.encode();
        let path = self.data.join(format!("{}.fork", base64url(sha256(&bytes))));
        files::replace(&path, &bytes)?;
        eprintln!("a ledger signed two histories: the proof is kept in {}", path.display());
        Ok(())
    }
}
