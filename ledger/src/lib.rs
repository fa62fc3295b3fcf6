//! The ledger as a Merkle log, in public formats. docs/SPEC section 9.
//!
//! Owns: how a leaf is hashed and its size limit; the tree of RFC 6962 ([`tree`]), stored in tiles
//! ([`tile`], C2SP tlog-tiles) under signed checkpoints ([`checkpoint`], C2SP tlog-checkpoint);
//! cosignatures of witnesses ([`cosignature`], [`policy`], [`witness`]); proofs of a fork
//! ([`fork`]). Does not own: the content of a leaf (the wire's record.proto), where leaves and
//! tiles are stored (the stores), the private key that signs checkpoints (the broker).
//!
//! Invariants: bytes are authoritative: a leaf is hashed as it is, and nothing in it is decoded
//! here; no input makes this crate panic, nor causes work beyond its own length.

pub mod checkpoint;
pub mod cosignature;
pub mod fork;
pub mod policy;
pub mod source;
pub mod tile;
pub mod tree;
pub mod witness;

use sha2::{Digest as _, Sha256};

/// The largest leaf, in bytes: 4 KiB. The largest record is a hop: two SPIFFE ids and two helper
/// paths at their limits leave 2 KiB. Longer data goes into the payload.
pub const LEAF_BYTES_MAX: usize = 4 * 1024;

/// A SHA-256 value.
pub type Hash = [u8; 32];

const LEAF_PREFIX: [u8; 1] = [0x00];

/// A leaf has more than [`LEAF_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a leaf of {bytes} bytes exceeds the limit of {LEAF_BYTES_MAX}")]
pub struct TooLarge {
    /// Its size in bytes.
    pub bytes: usize,
}

/// Returns the SHA-256 over the leaf prefix and the leaf (RFC 6962, section 2.1).
pub fn leaf_hash(leaf: &[u8]) -> Result<Hash, TooLarge> {
    if leaf.len() > LEAF_BYTES_MAX {
        return Err(TooLarge { bytes: leaf.len() });
    }
    Ok(Sha256::new().chain_update(LEAF_PREFIX).chain_update(leaf).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_empty_leaf_is_that_of_the_rfc() {
        assert_eq!(
            hex(&leaf_hash(b"").unwrap()),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    // SPEC 9.1.
    #[test]
    fn a_leaf_at_the_bound_fits_and_one_over_it_does_not() {
        assert!(leaf_hash(&[7; LEAF_BYTES_MAX]).is_ok());
        let over = LEAF_BYTES_MAX + 1;
        assert_eq!(leaf_hash(&vec![7; over]), Err(TooLarge { bytes: over }));
    }
}
