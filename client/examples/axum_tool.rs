//! A tool over HTTP, guarded in five lines. `cargo run -p sublet-client --example axum_tool -- DIR` with
//! the directory of the tool's own identity (README, "By hand"); then, as an agent that holds a token:
//!
//! ```sh
//! cargo run -p sublet-client --example call_tool -- planner alice.token http://127.0.0.1:8080 fs.read '{"path":"/data/a"}'
//! ```

use std::time::Duration;

use axum::routing::post;
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use sublet_client::{Allowed, Guard, Identity, Options, Tool};

async fn read(Extension(allowed): Extension<Allowed>, Json(arguments): Json<Value>) -> Json<Value> {
    let (who, whom) = (allowed.holder.to_string(), allowed.principal.to_string());
    Json(json!({"read": arguments.get("path"), "by": who, "on_behalf_of": whom}))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("the directory of the tool's identity")?;

    let tool = Tool::start("tool://files", Identity::load(directory)?, Options::default())?;
    tool.ready(Duration::from_secs(10)).await?;
    let app = Router::new().route("/fs/read", post(read)).layer(Guard::json(tool.checker()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
