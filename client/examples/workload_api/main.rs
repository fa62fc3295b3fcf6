//! A Workload API to try things with where there is no SPIRE: gives whoever asks at a socket what is in
//! the files of a directory. docs/ENROL, "Through the Workload API".
//!
//! ```sh
//! cargo run -p sublet-client --example workload_api -- api.sock .
//! ```

mod host;

use std::path::PathBuf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [socket, directory] = arguments.as_slice() else {
        return Err("SOCKET DIRECTORY".into());
    };
    let socket = tokio::net::UnixListener::bind(socket)?;
    Ok(host::serve(socket, directory).await?)
}
