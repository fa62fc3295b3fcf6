//! The wire: generated types of `proto/sublet/**.proto`, and their conversion to domain types.
//!
//! Owns: the form of messages. Does not own: their meaning (`sublet-core`).

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

/// The metadata key of the token.
pub const TOKEN_METADATA: &str = "sublet-token-bin";
/// The metadata key of the receipt.
pub const RECEIPT_METADATA: &str = "sublet-receipt-bin";
/// The metadata key of the call proof.
pub const PROOF_METADATA: &str = "sublet-proof-bin";
/// The metadata key of the proof that the hops are in the ledger (`sublet.v1.Inclusion`), for tools
/// that require it.
pub const INCLUSION_METADATA: &str = "sublet-inclusion-bin";
/// The metadata key of a further part of a presentation. It is reserved, and refused today.
pub const FURTHER_METADATA: &str = "sublet-further-bin";
/// The metadata key of a position that a caller in a cluster has read. It is accepted, and not used
/// yet.
pub const POSITION_METADATA: &str = "sublet-position";
/// The metadata key of an answer that tells whether the answer is stored for a repeated request.
pub const ANSWER_METADATA: &str = "sublet-answer";
/// The value that tells that it is not stored, so a repeated request would be decided again.
pub const NOT_KEPT: &str = "not-kept";
