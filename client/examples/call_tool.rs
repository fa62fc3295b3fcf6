//! An agent that calls a tool over HTTP: the directory of its identity, a token's file, where the tool
//! is, the action, the arguments.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use sublet_client::Identity;
use sublet_proto::credentials;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, token, tool, action, body] = arguments.as_slice() else {
        return Err("DIRECTORY TOKEN http://TOOL ACTION ARGUMENTS".into());
    };
    let held = Identity::load(directory)?.open(std::fs::read_to_string(token)?.trim())?;
    let shown = held.credentials_for("tool://files", action, body)?;

    let (host, path) = (tool.trim_start_matches("http://"), action.replace('.', "/"));
    let mut request = format!("POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in credentials::to_headers(&shown) {
        request += &format!("{name}: {value}\r\n");
    }
    request +=
        &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut socket = TcpStream::connect(host)?;
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}
