//! A tool over gRPC, guarded by the same layer: `cargo run -p sublet-client --example tonic_tool -- DIR`
//! with the directory of the tool's own identity.

use std::time::Duration;

use prost::Message as _;
use sublet_client::tool::guard::Meaning;
use sublet_client::{Allowed, Guard, Identity, Options, Tool};
use sublet_core::base::json::Json;
use sublet_core::refusal::Malformed;
use sublet_proto::demo::files_server::{Files, FilesServer};
use sublet_proto::demo::{
    ListRequest, ListResponse, ReadRequest, ReadResponse, WriteRequest, WriteResponse,
};
use tonic::{Request, Response, Status};
use tower::Layer as _;

struct Reader;

#[tonic::async_trait]
impl Files for Reader {
    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadResponse>, Status> {
        let allowed = request.extensions().get::<Allowed>().cloned();
        let who = allowed.map(|allowed| allowed.holder.to_string()).unwrap_or_default();
        Ok(Response::new(ReadResponse { content: who.into_bytes() }))
    }

    async fn write(&self, _: Request<WriteRequest>) -> Result<Response<WriteResponse>, Status> {
        Err(Status::unimplemented("this tool reads"))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Err(Status::unimplemented("this tool reads"))
    }
}

/// What a message means: the action, and its arguments by name.
fn reads(method: &str, message: &[u8]) -> Result<Meaning, Malformed> {
    let unknown = |detail: String| Malformed::Field { field: "method", detail };
    match method {
        "/sublet.demo.v1.Files/Read" => {
            let read = ReadRequest::decode(message).map_err(|bad| unknown(bad.to_string()))?;
            Meaning::message("fs.read", message, vec![("path", Json::Str(read.path))])
        }
        other => Err(unknown(format!("{other} is no method of this tool"))),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("the directory of the tool's identity")?;

    let tool = Tool::start("tool://files", Identity::load(directory)?, Options::default())?;
    tool.ready(Duration::from_secs(10)).await?;
    let guarded = Guard::grpc(tool.checker(), reads).layer(FilesServer::new(Reader));
    let server = tonic::transport::Server::builder().add_service(guarded);
    server.serve("127.0.0.1:8081".parse()?).await?;
    Ok(())
}
