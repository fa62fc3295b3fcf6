//! The tool of the demo: serves a directory over gRPC and decides every call offline.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sublet_client::agent::identity::Identity;
use sublet_client::broker::connect::Broker;
use sublet_client::ports::Ports;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::runtime::Tool;
use sublet_client::trust::Trust;
use sublet_client::{error, files};
use sublet_core::base::json::Json;
use sublet_core::base::limits;
use sublet_core::evidence::call::safe_path;
use sublet_core::refusal::{Fault, Malformed, Refusal};
use sublet_proto::demo::files_server::{Files, FilesServer};
use sublet_proto::demo::{
    ListRequest, ListResponse, ReadRequest, ReadResponse, WriteRequest, WriteResponse,
};
use sublet_proto::digest::DigestLayer;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::cli_error::CliError;

/// The audience of the tool in tokens.
pub(super) const AUDIENCE: &str = "tool://files";

struct FileTool {
    checker: Arc<Checker>,
    root: PathBuf,
}

/// The files of the tool.
pub(super) struct Home {
    /// Directory of its identity and of the reports that it has not sent yet.
    pub(super) directory: PathBuf,
    /// File with its join token.
    pub(super) join_token: PathBuf,
    /// Directory that it serves.
    pub(super) files: PathBuf,
}

/// Enrolls, prints the address, and serves files until it is killed.
pub(super) async fn serve(
    broker: &str,
    trust: &Path,
    home: Home,
    staleness_ms_max: i64,
) -> Result<(), CliError> {
    let trust = Trust::open(trust, Ports::system().clock.now())?;
    let broker = Broker::lazy(broker)?;
    let join = files::read_text(&home.join_token)?;
    let identity = Identity::enroll_trusting(&broker, &join, home.directory, &trust).await?;
    let options = Options { staleness_ms_max, ..Options::default() };
    let tool = Tool::start(AUDIENCE, identity, options)?;
    tool.ready(Duration::from_secs(10)).await?;
    let (checker, root) = (tool.checker(), home.files);
    let socket =
        |error: std::io::Error| CliError::local(format!("the tool cannot listen: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(socket)?;
    crate::print::line!("http://{}", listener.local_addr().map_err(socket)?);
    tonic::transport::Server::builder()
        .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
        .timeout(Duration::from_secs(10))
        .layer(DigestLayer::new(&["/sublet.demo.v1."]))
        .add_service(FilesServer::new(FileTool { checker, root }))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .map_err(|error| CliError::local(format!("the tool ended: {error}")))
}

#[tonic::async_trait]
impl Files for FileTool {
    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadResponse>, Status> {
        let path = request.get_ref().path.clone();
        self.permit(&request, "fs.read", vec![("path".to_owned(), Json::Str(path.clone()))])?;
        let content =
            tokio::fs::read(self.resolve(&path)?).await.map_err(|error| gone(&path, &error))?;
        Ok(Response::new(ReadResponse { content }))
    }

    async fn write(
        &self,
        request: Request<WriteRequest>,
    ) -> Result<Response<WriteResponse>, Status> {
        let path = request.get_ref().path.clone();
        let length = i64::try_from(request.get_ref().content.len()).unwrap_or(i64::MAX);
        let fields = vec![
            ("path".to_owned(), Json::Str(path.clone())),
            ("bytes".to_owned(), Json::Int(length)),
        ];
        self.permit(&request, "fs.write", fields)?;
        let content = request.into_inner().content;
        tokio::fs::write(self.resolve(&path)?, &content)
            .await
            .map_err(|error| gone(&path, &error))?;
        Ok(Response::new(WriteResponse { bytes_written: content.len() as u64 }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let path = request.get_ref().path.clone();
        self.permit(&request, "fs.list", vec![("path".to_owned(), Json::Str(path.clone()))])?;
        let mut names = Vec::new();
        let mut entries =
            tokio::fs::read_dir(self.resolve(&path)?).await.map_err(|error| gone(&path, &error))?;
        while let Ok(Some(entry)) = entries.next_entry().await {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(Response::new(ListResponse { names }))
    }
}

impl FileTool {
    /// Decides a call offline: token, possession, revocations and scope.
    fn permit<M>(
        &self,
        request: &Request<M>,
        action: &str,
        fields: Vec<(String, Json)>,
    ) -> Result<(), Status> {
        let fields = Json::object(fields)
            .map_err(sublet_core::evidence::call::BadArguments::from)
            .map_err(Malformed::from);
        let fields = fields.map_err(|bad| error::status(&Refusal::from(bad)))?;
        let permit = self.checker.check_request(request, action, &fields);
        permit.map(drop).map_err(|refusal| error::status(&refusal))
    }

    /// Returns the file of a path. The token limits the paths; the tool itself ensures that no path and no link
    /// leaves the root.
    fn resolve(&self, path: &str) -> Result<PathBuf, Status> {
        let bad = || {
            error::status(
                &Malformed::Field {
                    field: "path",
                    detail: format!("{path:?} is not a path of this tool"),
                }
                .into(),
            )
        };
        let relative = safe_path(path).ok_or_else(bad)?.trim_start_matches('/');
        let root = self.root.canonicalize().map_err(|_| bad())?;
        let full = root.join(relative);
        let existing = if full.exists() {
            full.canonicalize()
        } else {
            full.parent().unwrap_or(&root).canonicalize()
        };
        if existing.map_err(|_| bad())?.starts_with(&root) { Ok(full) } else { Err(bad()) }
    }
}

fn gone(path: &str, error: &std::io::Error) -> Status {
    error::status(&Fault::Internal(format!("{path}: {error}")).into())
}
