//! The wire: generated types of `proto/sublet/**.proto`, and how messages become domain types.
//!
//! Owns: the shapes that travel. Does not own: what they mean (`sublet-core`).

pub mod convert;
pub mod credentials;
pub mod digest;
pub mod leaf;
pub mod records;
pub mod status;

/// Generated code.
#[allow(missing_docs, clippy::all, reason = "generated from the documented .proto files")]
mod generated {
    pub mod v1 {
        tonic::include_proto!("sublet.v1");
    }
    pub mod record {
        tonic::include_proto!("sublet.record.v1");
    }
    pub mod spiffe {
        tonic::include_proto!("_");
    }
    pub mod demo {
        tonic::include_proto!("sublet.demo.v1");
    }
}

pub use generated::{demo, record, spiffe, v1};

/// The compiled descriptors of all files, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/sublet_descriptor.bin"));

/// Metadata that carries the token.
pub const TOKEN_METADATA: &str = "sublet-token-bin";
/// Metadata that carries the receipt.
pub const RECEIPT_METADATA: &str = "sublet-receipt-bin";
/// Metadata that carries the call proof.
pub const PROOF_METADATA: &str = "sublet-proof-bin";
/// That the hops are in the ledger, where a tool demands it (`sublet.v1.Inclusion`).
pub const INCLUSION_METADATA: &str = "sublet-inclusion-bin";
/// A further part of a presentation, reserved: refused today.
pub const FURTHER_METADATA: &str = "sublet-further-bin";
/// How far a cluster's caller has read. Known, so that it is not refused; nobody reads it yet.
pub const POSITION_METADATA: &str = "sublet-position";
/// Metadata of an answer that says whether it is kept for the same request.
pub const ANSWER_METADATA: &str = "sublet-answer";
/// That it is not, so that the same request sent again would be decided again.
pub const NOT_KEPT: &str = "not-kept";
