//! Compiles the .proto files with protox, so that no protoc has to be installed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 7] = [
    "sublet/v1/identity.proto",
    "sublet/v1/delegation.proto",
    "sublet/v1/revocation.proto",
    "sublet/v1/audit.proto",
    "sublet/v1/admin.proto",
    "sublet/record/v1/record.proto",
    "sublet/demo/v1/files.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=sublet");
    println!("cargo:rerun-if-changed=spiffe");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("sublet_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    // Not ours, so not among what reflection lists.
    let spiffe = protox::compile(["spiffe/workload.proto"], ["."])?;
    tonic_prost_build::configure().compile_fds(spiffe)?;
    Ok(())
}
